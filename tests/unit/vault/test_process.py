"""Whether a process has certainly ended."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from knowngood.vault.process import Process, is_gone, this_process


def _fork(code: int = 0) -> int:
    child = os.fork()
    if not child:
        os._exit(code)
    return child


def test_this_process_is_here() -> None:
    assert not is_gone(this_process())


def test_another_process_under_the_same_number_is_another() -> None:
    here = this_process()
    assert is_gone(replace(here, start_ticks=here.start_ticks - 1))


def test_a_process_that_was_reaped_is_gone() -> None:
    child = _fork()
    os.waitpid(child, 0)
    assert is_gone(replace(this_process(), process=child))


def test_a_process_that_ended_and_was_not_reaped_is_gone() -> None:
    """A zombie does nothing any more, however long its parent takes to notice."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        report = repr(this_process().start_ticks).encode()
        os.write(writing, report)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        ticks = int(pipe.read())
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert is_gone(replace(this_process(), process=child, start_ticks=ticks))
    finally:
        os.waitpid(child, 0)


@pytest.mark.parametrize(
    "other",
    [{"host": "elsewhere"}, {"machine": "another"}, {"namespace": "pid:[1]"}, {"host": "?", "boot": "", "process": 0}],
    ids=str,
)
def test_of_another_machine_or_namespace_nobody_here_can_know(other: dict[str, str]) -> None:
    here = this_process()
    changed: Process = replace(here, **{"start_ticks": here.start_ticks - 1, **other})
    assert not is_gone(changed)
