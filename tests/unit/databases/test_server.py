"""Throw-away servers: started on recovered files, ended with all that they started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from knowngood.core.errors import KnowngoodError, NotFound
from knowngood.databases.server import Server
from tests.leaks import nothing_left_behind
from tests.servers.following import open_folder
from tests.servers.waiting import until

__all__ = ["nothing_left_behind"]

_CHILD = "sleep 600 & echo user $(id -u); touch ready; wait"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Recovered files."""
    with open_folder() as found:
        (found / "file").write_text("content")
        yield found


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """It is stopped at the end."""
    found = Server(str(folder))
    try:
        yield found
    finally:
        found.stop()


def group_of(program: str) -> list[int]:
    """Processes whose command has these words."""
    found = []
    for each in Path("/proc").iterdir():
        with suppress(OSError):
            if each.name.isdigit() and program.encode() in (each / "cmdline").read_bytes():
                found.append(int(each.name))
    return found


def test_it_runs_as_nobody_and_ends_with_its_children(folder: Path, is_root: bool) -> None:
    """Its sockets' folder goes; the files stay."""
    program = f"{_CHILD} # {folder}"
    with server(folder) as found:
        found.start(["sh", "-c", program], (folder / "ready").exists, 60)
        until(lambda: "user" in found.said())
        user = int(found.said().split()[1])
        assert user == (65534 if is_root else os.geteuid())
        assert (folder / "file").stat().st_uid == user
        assert group_of(str(folder))
        assert os.path.isdir(found.sockets)
    until(lambda: not group_of(str(folder)))
    assert not os.path.exists(found.sockets)
    assert (folder / "file").read_text() == "content"


def test_one_that_does_not_start(folder: Path) -> None:
    """What it said is in the error."""
    with server(folder) as found, pytest.raises(KnowngoodError, match="no such luck"):
        found.start(["sh", "-c", "echo no such luck"], lambda: False, 60)


def test_one_that_is_not_installed(folder: Path) -> None:
    """Its name."""
    with server(folder) as found, pytest.raises(NotFound, match="knowngood-no-such-program"):
        found.start(["knowngood-no-such-program"], lambda: False, 60)


def test_one_that_never_gets_ready(folder: Path) -> None:
    """It is ended."""
    with server(folder) as found, pytest.raises(KnowngoodError, match="does not start"):
        found.start(["sh", "-c", f"sleep 600 # {folder}"], lambda: False, 0.2)
    assert not group_of(str(folder))
