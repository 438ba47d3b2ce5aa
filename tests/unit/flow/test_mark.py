"""The common instant: who holds, who does not, and that everybody is let go."""

from __future__ import annotations

import threading
import time

import pytest

from knowngood.core.errors import Busy, KnowngoodError
from knowngood.flow.mark import ATTEMPTS, Held, mark


class Holding:
    """A holder (port) that does as it is told; `writes` says whether writes go on."""

    def __init__(self, *, refuses: int = 0, no_mark: bool = False, lapses: bool = False) -> None:
        self.refuses = refuses
        self.no_mark = no_mark
        self.lapses = lapses
        self.log: list[str] = []
        self.writes = True

    def prepare(self, lease: float) -> None:
        """Nothing is held yet."""
        assert self.writes
        assert 0 <= lease <= 1

    def hold(self, lease: float) -> None:
        """Or refuse."""
        assert 0 <= lease <= 1
        self.log.append("hold")
        if self.refuses:
            self.refuses -= 1
            raise Busy("not now")
        self.writes = False

    def mark(self) -> str:
        """Only while it is held."""
        self.log.append("mark")
        if self.no_mark:
            raise KnowngoodError("no mark")
        return f"held {not self.writes}"

    def release(self) -> bool:
        """Whether it lasted."""
        self.log.append("release")
        lasted, self.writes = not self.writes and not self.lapses, True
        return lasted


def test_all_hold_before_any_goes_on() -> None:
    """In parallel: each waits until the others have come as far."""
    together = threading.Barrier(3)

    class Waiting(Holding):
        def hold(self, lease: float) -> None:
            super().hold(lease)
            together.wait(30)

        def mark(self) -> str:
            together.wait(30)
            return super().mark()

    holders = [Waiting() for _ in range(3)]
    before = time.time_ns()
    marked = mark([Held(str(number), each) for number, each in enumerate(holders)], 1)
    assert marked.reason == ""
    assert before <= marked.moment_ns <= time.time_ns()
    for each, times in zip(holders, marked.times.values(), strict=True):
        assert each.log == ["hold", "mark", "release"]
        assert times.mark == "held True"
        assert (times.held or 0) <= (times.marked or 0) <= (times.released or 0) <= marked.pause


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (Holding(refuses=ATTEMPTS), "bad: not now"),
        (Holding(no_mark=True), "bad: no mark"),
        (Holding(lapses=True), "bad: its hold ended too early"),
    ],
)
def test_one_that_does_not_hold(bad: Holding, said: str) -> None:
    """There is no instant, and it says why; the other goes on each time."""
    good = Holding()
    marked = mark([Held("good", good), Held("bad", bad)], 1)
    assert marked.reason == said
    assert good.writes
    assert bad.writes
    assert good.log.count("release") == good.log.count("hold") == ATTEMPTS


def test_it_is_tried_again() -> None:
    """One that did not hold in time may the next time."""
    marked = mark([Held("late", Holding(refuses=1)), Held("good", Holding())], 1)
    assert marked.reason == ""


def test_what_cannot_be_held_is_read_meanwhile() -> None:
    """While the others are held, and before they are let go."""
    base, files, seen = Holding(), Holding(), list[bool]()
    parts = [Held("base", base), Held("files", files, True, lambda: seen.append(base.writes))]
    assert mark(parts, 1).reason == ""
    assert seen == [False]
    files.lapses = True
    assert mark(parts, 1).reason == "files: its files changed while the others were held"


def test_an_interrupted_reading_lets_go() -> None:
    """Ctrl-C while writes stand still."""
    base = Holding()

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mark([Held("base", base), Held("files", Holding(), True, interrupted)], 1)
    assert base.writes


def test_nothing_to_hold() -> None:
    """Is no instant."""
    assert mark([], 1).reason
