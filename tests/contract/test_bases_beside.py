"""Bases that are read beside, of real servers: the log goes on meanwhile, and no moment of it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from knowngood.core.beside import Beside
from knowngood.core.buffers import Buffer
from knowngood.core.errors import Fenced, KnowngoodError, NotYet
from knowngood.core.ids import Name, new_id
from knowngood.core.ports import CaptureContext
from knowngood.core.progress import Progress
from knowngood.databases import follower as module
from knowngood.testing.memory import MemorySink
from tests.contract.databases import PLAYS, Play
from tests.contract.test_database_kind import followed, numbers, play, writes
from tests.leaks import nothing_left_behind
from tests.servers.following import Following, following

__all__ = ["followed", "nothing_left_behind", "play"]

SEAMLESS = ("mariadb", "postgres")
"""Kinds whose new base goes on from the log of the one before it."""
_DEADLINE = 60.0


class Gate(MemorySink):
    """A vault that takes nothing until it is opened."""

    def __init__(self, followed: Following) -> None:
        super().__init__(followed.vault)
        self.reached, self.open = threading.Event(), threading.Event()

    def add(self, data: Buffer) -> Name:
        """Waits."""
        self.reached.set()
        assert self.open.wait(_DEADLINE)
        return super().add(data)


class Reading:
    """A base that is being read by a thread, as far as the first chunk until it is let go on."""

    def __init__(self, followed: Following) -> None:
        beside = followed.follower.standing.beside
        assert beside is not None
        self.beside: Beside = beside
        self.holds = True
        self.failure: KnowngoodError | None = None
        self.gate = Gate(followed)
        trusted = frozenset(followed._trusted)
        self.context = CaptureContext(self.gate, followed.state, trusted, Progress(), new_id())
        beside.begin()
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self) -> None:
        """All of it."""
        try:
            self.beside.prepare(self.context, self.require)
        except KnowngoodError as wrong:
            self.failure = wrong

    def require(self) -> None:
        """Its session."""
        if not self.holds:
            raise Fenced("ended")

    def finish(self) -> None:
        """It is there."""
        self.gate.open.set()
        self.thread.join(_DEADLINE)
        assert not self.thread.is_alive()


@contextmanager
def reading(followed: Following) -> Iterator[Reading]:
    """The first chunk has been read."""
    found = Reading(followed)
    try:
        assert found.gate.reached.wait(_DEADLINE)
        yield found
    finally:
        found.finish()


def make_long(patch: pytest.MonkeyPatch) -> None:
    """However little grew, a new base is wanted."""
    patch.setattr(module, "REPLAYED_BYTES", 0)
    patch.setattr(module, "REPLAYED_TIMES", 0)


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wanted all the time."""
    make_long(monkeypatch)


def test_a_first_base(play: Play, tmp_path: Path) -> None:
    """Nothing waits for it; no checkpoint can be made; what came meanwhile is in the one that is made then."""
    play.write(1)
    with following(play.kind, play.component, tmp_path / "state") as found:
        with reading(found) as base:
            assert found.tick() == 0
            with pytest.raises(NotYet):
                found.checkpoint()
            assert isinstance(found.follower.standing.unready, NotYet)
            play.write(2)
            base.finish()
            assert base.failure is None
            assert found.follower.standing.unready is None
            play.write(3)
            end = time.monotonic() + _DEADLINE
            while numbers_after(found, play) != {1, 2, 3}:
                assert time.monotonic() < end
        after = writes(found, play, 4)
        assert numbers(found, play, found.at(after)) == {1, 2, 3, 4}
        assert found.follower.standing.beside is None
        found.restart()
        play.write(5)
        read_at_once(found)
        found.checkpoint()
        assert numbers(found, play) == {1, 2, 3, 4, 5}


def read_at_once(found: Following) -> None:
    """A base, or what is remembered of one: then nothing has to be read."""
    base = Reading(found)
    base.finish()
    assert base.failure is None


def numbers_after(found: Following, play: Play) -> set[int]:
    """In a checkpoint that is not committed, after a look."""
    found.tick()
    found.checkpoint()
    return numbers(found, play)


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("play", SEAMLESS, indirect=True)
def test_a_new_base_leaves_no_gap(followed: Following, play: Play) -> None:
    """The log goes on while it is read; every moment before and after it comes back, also from the base before."""
    first = writes(followed, play, 4)
    with reading(followed) as base:
        second = writes(followed, play, 5, 6)
        followed.checkpoint()  # of the base before
        third = writes(followed, play, 7)
        base.finish()
        assert base.failure is None
    fourth = writes(followed, play, 8)
    before = len(followed.checkpoints)
    old = followed.checkpoints[-1][0].totals
    followed.until(lambda: followed.checkpoint() == [] and followed.checkpoints[-1][0].totals.bytes != old.bytes)
    assert followed.gaps == 1
    after = writes(followed, play, 9)
    for at, wanted in ((first, 4), (second, 6), (third, 7), (fourth, 8), (after, 9)):
        assert numbers(followed, play, followed.at(at)) == set(range(1, wanted + 1))
    del followed.checkpoints[before:]
    assert numbers(followed, play, followed.at(after)) == set(range(1, 10))


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("play", SEAMLESS, indirect=True)
def test_a_session_that_was_ended_takes_its_base_along(followed: Following, play: Play) -> None:
    """The base before it goes on."""
    writes(followed, play, 4)
    with reading(followed) as base:
        base.finish()
        base.holds = False
        followed.checkpoint()
        assert followed.gaps == 1
    with reading(followed) as base:
        base.finish()
        followed.checkpoint()
    after = writes(followed, play, 5)
    assert numbers(followed, play, followed.at(after)) == {1, 2, 3, 4, 5}
    assert followed.gaps == 1


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("play", SEAMLESS, indirect=True)
def test_a_chain_that_breaks_while_a_base_is_read(followed: Following, play: Play) -> None:
    """A gap; what is there in the end is right."""
    writes(followed, play, 4)
    with reading(followed) as base:
        play.forget()
        play.write(5)
        end = time.monotonic() + _DEADLINE
        while followed.follower.standing.based:
            assert time.monotonic() < end
            followed.tick()
        base.finish()
    while True:
        try:
            followed.checkpoint()
            break
        except KnowngoodError:
            read_at_once(followed)
    assert numbers(followed, play) == {1, 2, 3, 4, 5}
    assert followed.gaps == 2


@pytest.mark.parametrize("play", ["redis"], indirect=True)
def test_where_a_new_base_leads_nowhere(followed: Following, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a gap, and is read beside all the same."""
    with monkeypatch.context() as patch:
        make_long(patch)
        writes(followed, play, 4)
        assert followed.follower.standing.beside is None  # it would lead nowhere
        followed.restart()
        read_at_once(followed)
        followed.checkpoint()
        assert not followed.follower.standing.based
    with reading(followed) as base:
        play.write(5)
        base.finish()
    followed.checkpoint()
    assert followed.follower.standing.based
    after = writes(followed, play, 6)
    assert numbers(followed, play, followed.at(after)) == {1, 2, 3, 4, 5, 6}


def test_all_kinds_are_here() -> None:
    """Who says that a base is seamless proves it."""
    assert set(SEAMLESS) <= set(PLAYS)
