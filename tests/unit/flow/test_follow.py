"""Following into a real vault: what the log holds between points, and what happens when the vault fails."""

from __future__ import annotations

import os

import pytest

from knowngood.core.errors import NotFound, StoreFailed
from knowngood.core.instants import now_ns
from knowngood.core.model import Level, Position
from knowngood.flow import together
from knowngood.flow.mark import Held, Marked
from knowngood.flow.protect import protect
from tests.unit.flow.stage import Stage


def test_a_day(stage: Stage) -> None:
    """A point, ticks, a point that reads only what changed, ticks; replay from each point comes to what is there."""
    assert not stage.following.standing.based
    assert stage.following.tick().records == 0
    first = stage.protect()
    assert stage.following.standing.based
    assert isinstance(first.position, Position)
    assert first.position.sequence == 1
    (stage.tree / "a").write_bytes(b"other")
    ticked = stage.following.tick()
    assert ticked.records > 0
    assert stage.replayed(first) == stage.files()
    (stage.tree / "b").unlink()
    (stage.tree / "d").write_bytes(os.urandom(400_000))
    second = stage.protect()
    assert second.capture == "watch"
    assert (second.totals.files, second.totals.changed_files) == (3, 2)
    assert stage.replayed(first) == stage.replayed(second) == stage.files()
    (stage.tree / "c").rename(stage.tree / "e")
    stage.following.tick()
    assert stage.replayed(first) == stage.replayed(second) == stage.files()


def test_nothing_is_opened_when_nothing_changed(stage: Stage) -> None:
    """No session, no object."""
    stage.protect()
    before = list(stage.store.objects)
    assert stage.following.tick().position is None
    assert list(stage.store.objects) == before


@pytest.mark.parametrize("where", ["segments/", "commits/", "sessions/", "packs/", "index/"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_vault_that_fails(where: str, when: str, stage: Stage) -> None:
    """Whatever fails, the next tick records it, and nothing twice."""
    first = stage.protect()
    (stage.tree / "a").write_bytes(b"other")
    (stage.tree / "d").write_bytes(os.urandom(100_000))
    there = stage.files()
    setattr(stage.store, when, where)
    ticked = stage.following.tick()
    assert isinstance(ticked.away, StoreFailed)
    assert ticked.kept
    waiting = stage.following.spool.ticks[-1].part.end
    (stage.tree / "d").unlink()
    (stage.tree / "f").write_bytes(b"f")
    stage.store.before = stage.store.after = "none"
    ticked = stage.following.tick()
    assert ticked.away is None
    assert stage.replayed(first, waiting) == there
    assert stage.replayed(first) == stage.files()
    assert not stage.following.spool.ticks
    second = stage.protect()
    assert stage.replayed(first) == stage.replayed(second) == stage.files()
    assert stage.small.check().findings == []


def test_a_point_that_fails(stage: Stage) -> None:
    """Its log may be there already; what follows goes on from the point before."""
    first = stage.protect()
    (stage.tree / "a").write_bytes(b"other")
    stage.store.after = "pages/"
    with pytest.raises(StoreFailed):
        stage.protect()
    stage.store.after = "none"
    (stage.tree / "b").write_bytes(b"another")
    stage.following.tick()
    assert stage.replayed(first) == stage.files()
    second = stage.protect()
    assert stage.replayed(first) == stage.replayed(second) == stage.files()


def test_after_being_away(stage: Stage) -> None:
    """A gap says so, and the next point is the base of what follows."""
    first = stage.protect()
    stage.follow()
    (stage.tree / "a").write_bytes(b"unseen")
    second = stage.protect()
    assert isinstance(first.position, Position)
    with pytest.raises(NotFound):
        stage.log(first.position)
    (stage.tree / "b").write_bytes(b"seen")
    stage.following.tick()
    assert stage.replayed(second) == stage.files()


def test_what_is_read_again_goes_on_from_the_log(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A point that could not be held at once is read once more: that is no gap, for it and for those after it."""

    def twice(held: list[Held], lease: float) -> Marked:
        for each in held:
            for _ in range(3):
                assert each.capture
                each.capture()
        return Marked(moment_ns=now_ns(), pause=lease)

    stage.protect()
    monkeypatch.setattr(together, "mark", twice)
    for number in range(3):
        (stage.tree / "a").write_bytes(b"%d" % number * 300)
        made = protect(stage.service, stage.parts, followed={"files": stage.following}, level=Level.HELD)
        assert (made.point.level, made.point.evidence.get("lowered")) == (Level.HELD, None)
        assert stage.following.standing.based
