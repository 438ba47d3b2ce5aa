"""Following that begins while the vault is away: a base waits on this machine, and what changes after it."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from unittest.mock import patch

import pytest
from msgspec.structs import replace as changed

from knowngood.core.errors import NotFound, StoreFailed
from knowngood.core.ids import Name, new_id
from knowngood.core.instants import SECOND, now_ns
from knowngood.core.model import Checkpoint, ComponentSpec, ServiceSpec, Status
from knowngood.core.progress import Progress
from knowngood.flow.basing import CARRIED, point_of
from knowngood.flow.follow import Following
from knowngood.flow.moment import moment_at
from knowngood.flow.protect import protect
from knowngood.flow.state import states
from knowngood.testing.clock import FakeClock
from knowngood.tree.read import TreeReader
from knowngood.vault.absent import absent_vault
from knowngood.vault.spool import Spool
from tests.unit.flow.stage import Stage, ToldKind

_AWAY = StoreFailed("the vault is away")
Seen = list[tuple[int, dict[bytes, bytes]]]


def _begin_without_vault(stage: Stage) -> None:
    """As a new process that finds no vault."""
    stage.following.close()
    vault = stage.small.vault
    absent = absent_vault(vault.descriptor.encode(), vault.writer, _AWAY)
    stage.following = Following(stage.service, stage.service.components[0], replace(stage.parts, vault=absent))


def _base(stage: Stage) -> None:
    assert stage.following.lacks_base
    stage.following.base_here(Progress())
    assert stage.following.baseless == ""
    assert not stage.following.lacks_base


def _changes(stage: Stage, clock: FakeClock, count: int) -> Seen:
    found = []
    for number in range(count):
        clock.move(1)
        (stage.tree / "a").write_bytes(b"%d of %d" % (number, clock.now_ns))
        if number % 2:
            (stage.tree / f"large {number}").write_bytes(os.urandom(300_000))
        ticked = stage.following.tick(away=_AWAY)
        assert (ticked.kept, ticked.records > 0) == (True, True)
        found.append((clock.now_ns, stage.files()))
    return found


def _back(stage: Stage, clock: FakeClock) -> None:
    clock.move(1)
    stage.following.move_to(stage.parts)
    ticked = stage.following.tick()
    assert (ticked.away, stage.following.spool.ticks, stage.following.dropped) == (None, [], "")


def _assert_each_moment(stage: Stage, seen: Seen) -> None:
    """By the way that all verbs go: the nearest checkpoint and the log after it."""
    for at_ns, there in seen:
        with states(moment_at(stage.parts, "shop", at_ns), None, stage.parts, "look") as (state,):
            tree = TreeReader(Name(state.checkpoint.root), state.pages.page)
            assert there == {
                each.path: each.inline
                or b"".join(bytes(state.pages.chunk(Name(name))) for name, _ in tree.chunks(each))
                for each in tree.entries()
                if each.is_file
            }


def _settles(stage: Stage) -> None:
    """By this clock, what is there was written long ago: the next one who looks need not read it again."""
    kind = stage.parts.kind("files")
    assert isinstance(kind, ToldKind)
    kind._clock = lambda: time.time_ns() + 10 * SECOND
    stage.follow()


@pytest.mark.parametrize("known", [True, False])
def test_it_begins_without_the_vault(stage: Stage, *, known: bool) -> None:
    """Each moment from the base on can be had when the vault is back; what came before it is a gap."""
    with FakeClock() as clock:
        first = stage.protect() if known else None
        (stage.tree / "b").write_bytes(b"unseen")
        clock.move(5)
        _begin_without_vault(stage)
        assert not stage.following.tick(away=_AWAY).records
        _base(stage)
        seen = [(clock.now_ns, stage.files()), *_changes(stage, clock, 6)]
        _back(stage, clock)
        (stage.tree / "c").unlink()
        assert stage.following.tick().away is None
        seen.append((clock.now_ns, stage.files()))
        _assert_each_moment(stage, seen)
        if first is not None:
            with pytest.raises(NotFound, match="new chain"):
                stage.replayed(first)
        last = stage.protect()
        assert stage.replayed(last) == stage.files()
        assert not stage.following.anew
        assert stage.small.check().findings == []


def test_only_what_changed_waits(stage: Stage) -> None:
    """What the newest checkpoint has already is not kept again."""
    (stage.tree / "large").write_bytes(os.urandom(3_000_000))
    _settles(stage)
    with FakeClock() as clock:
        stage.protect()
        clock.move(5)
        (stage.tree / "b").write_bytes(os.urandom(2_000))
        _begin_without_vault(stage)
        _base(stage)
        assert stage.following.spool.bytes < 20_000


def test_twice(stage: Stage) -> None:
    """The process ends and begins again while the vault is away: the later base goes on from the one that waits."""
    _settles(stage)
    with FakeClock() as clock:
        stage.protect()
        (stage.tree / "large").write_bytes(os.urandom(2_000_000))
        _begin_without_vault(stage)
        _base(stage)
        seen = _changes(stage, clock, 3)
        used = stage.following.spool.bytes
        (stage.tree / "b").write_bytes(b"unseen")
        clock.move(5)
        _begin_without_vault(stage)
        _base(stage)
        assert stage.following.spool.bytes - used < 400_000  # one of those that changed meanwhile
        seen += [(clock.now_ns, stage.files()), *_changes(stage, clock, 3)]
        _back(stage, clock)
        _assert_each_moment(stage, seen[:2] + seen[3:])  # after the last one before the end, something may be missing
        assert stage.small.check().findings == []


def test_a_base_that_is_lost_while_the_vault_is_away(stage: Stage) -> None:
    """An overflow of events is no reason to keep nothing until the vault is back."""
    with FakeClock() as clock:
        stage.protect()
        seen = _changes(stage, clock, 2)
        stage.following._forget()
        _base(stage)
        seen += _changes(stage, clock, 2)
        _back(stage, clock)
        _assert_each_moment(stage, seen[:1] + seen[2:])


def test_a_catalog_that_lost_its_last_moments(stage: Stage) -> None:
    """A power cut may take the last commits from the home's catalog. The vault has them, and a base fits all the
    same."""
    with FakeClock() as clock:
        stage.protect()
        (stage.tree / "a").write_bytes(b"known to the vault only")
        older = stage.small.beside(stage.store)
        older.follow()
        clock.move(1)
        assert stage.following.tick().records
        stage.parts = replace(stage.parts, catalog=older.catalog)
        clock.move(1)
        _begin_without_vault(stage)
        _base(stage)
        seen = _changes(stage, clock, 3)
        stage.parts = replace(stage.parts, catalog=stage.small.catalog)
        _back(stage, clock)
        _assert_each_moment(stage, seen)
        assert stage.small.check().findings == []


def test_what_it_goes_on_from_is_gone(stage: Stage) -> None:
    """Another machine has expired the checkpoint meanwhile: the base is not made whole by guessing."""
    with FakeClock() as clock:
        stage.protect()
        clock.move(5)
        _begin_without_vault(stage)
        _base(stage)
        _changes(stage, clock, 2)
        other = stage.small.beside(stage.store)
        other.follow()
        other.expire(*other.catalog.points())
        stage.following.move_to(stage.parts)
        assert stage.following.tick().away is None
        assert "not kept any more" in stage.following.dropped
        last = stage.protect()
        assert stage.following.dropped == ""
        assert stage.replayed(last) == stage.files()
        assert stage.small.check().findings == []


def test_more_than_may_wait(stage: Stage) -> None:
    """It says so, and does not read all of it again and again."""
    (stage.tree / "large").write_bytes(os.urandom(3_000_000))
    with patch.object(Spool.__init__, "__defaults__", (1_000_000,)):
        _begin_without_vault(stage)
        stage.following.base_here(Progress())
        assert "more than may wait" in stage.following.baseless
        with patch.object(stage.following._here, "make", side_effect=AssertionError):
            stage.following.base_here(Progress())
        assert not stage.following.tick(away=_AWAY).records
        assert stage.following.spool.bytes == 0
    stage.following.move_to(stage.parts)
    stage.protect()
    assert (stage.following.baseless, stage.following.lacks_base) == ("", False)


def test_the_point_of_a_base(stage: Stage) -> None:
    """Others of the service are in it as they were last, and it says so."""
    first = stage.protect()
    other = ComponentSpec(name="other", kind="files", path=str(stage.tree))
    service = ServiceSpec(name="shop", components=(*stage.service.components, other))
    with FakeClock() as clock:
        both = protect(service, stage.parts, followed={"files": stage.following})
        clock.move(10)
        made = point_of(service, stage.parts)(_checkpoint_like(first))
        assert [each.checkpoint for each in made.marks][1:] == [both.checkpoints[1].id]
        assert (made.status, made.evidence[CARRIED]) == (Status.INCOMPLETE, "other")
        assert float(made.evidence["spread-seconds"]) >= 10


def _checkpoint_like(made: Checkpoint) -> Checkpoint:
    return changed(made, id=new_id(), started_ns=now_ns(), finished_ns=now_ns() + SECOND)
