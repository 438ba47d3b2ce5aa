"""Hiding points, bringing them back, and taking them away for good; under clocks that jump."""

from __future__ import annotations

import random

import pytest

from knowngood.core.errors import NotFound
from knowngood.core.instants import SECOND
from knowngood.testing.clock import DAY, FakeClock
from knowngood.testing.stores import FaultyStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault.layout import COMMITS

WEEK = int(7 * DAY * SECOND)
A, B = {b"a": b"only in a" * 99, b"both": b"in both" * 99}, {b"b": b"only in b" * 99, b"both": b"in both" * 99}


def test_a_hidden_point_comes_back_within_its_window(small: SmallVault) -> None:
    with FakeClock() as clock:
        a, b = small.protect(A), small.protect(B)
        small.expire(a, undo_ns=WEEK)
        small.verify({b.id: B})
        clock.move(6 * DAY)
        small.collect_all()
        small.undo(a)
        small.verify({a.id: A, b.id: B})
        clock.move(20 * DAY)
        small.collect_all()
        small.verify({a.id: A, b.id: B})
    assert not small.check().findings


def test_after_its_window_a_point_goes_with_all_that_only_it_needs(small: SmallVault) -> None:
    with FakeClock() as clock:
        a, b = small.protect(A), small.protect(B)
        small.expire(a, undo_ns=WEEK)
        clock.move(8 * DAY)
        assert small.collect().purged_points == 1
        small.collect_all()
        small.verify({b.id: B})
        assert len(list(small.store.list(COMMITS))) == 1
        with pytest.raises(NotFound):
            small.recover(a)
        with pytest.raises(NotFound):
            small.undo(a)


def test_a_stale_catalog_does_not_bring_back_what_has_gone(small: SmallVault) -> None:
    """Another home's catalog still has the point; saying that it is back would be a lie."""
    a = small.protect(A)
    other = small.beside()
    small.expire(a)
    other.follow()
    small.collect_all()
    small.expire(small.protect(B))
    small.collect_all()
    with pytest.raises(NotFound):
        other.undo(a)


def test_what_was_brought_back_before_collection_began_to_delete_stays(small: SmallVault) -> None:
    """The decision to purge was made; a session that began before it brings the point back in time."""
    other = small.beside()
    with small_packs():
        a, b = small.protect(A), small.protect(B)
    small.expire(a)
    with small.vault.session("undo") as session:
        assert other.collect().waiting_for
        small.vault.undo(session, small.catalog, (a.id,))
    other.collect_all()
    small.verify({a.id: A, b.id: B})
    assert not small.check().findings


def test_a_point_cannot_come_back_once_it_is_being_collected(small: SmallVault) -> None:
    a = small.protect(A)
    other = small.beside()
    small.expire(a)
    with small.vault.session("blocks the collector"):
        assert other.collect().waiting_for
        with pytest.raises(NotFound):
            small.undo(a)
    other.collect_all()
    small.verify({})


def test_a_window_that_ends_during_a_collection_is_for_the_next_one(small: SmallVault) -> None:
    """What is purged is decided once, where everybody can see it: nothing else loses its chunks on the way."""
    other = small.beside()
    with FakeClock() as clock, small_packs():
        a, b, c = small.protect(A), small.protect(B), small.protect({b"c": b"only in c" * 99})
        small.expire(c)
        small.expire(a, undo_ns=WEEK)
        with small.vault.session("blocks the collector"):
            assert other.collect().waiting_for
            clock.move(8 * DAY)
        assert other.collect().purged_points == 1
        small.undo(a)
        small.verify({a.id: A, b.id: B})
        assert not small.check().findings


def test_hiding_again_sets_the_window_anew(small: SmallVault) -> None:
    with FakeClock() as clock:
        a = small.protect(A)
        small.expire(a, undo_ns=WEEK)
        small.expire(a, undo_ns=0)
        clock.move(1)
        assert small.collect().purged_points == 1


@pytest.mark.parametrize("jump", [-DAY, -3650 * DAY])
def test_a_clock_that_jumps_back_takes_nothing_away_early(small: SmallVault, jump: float) -> None:
    with FakeClock() as clock:
        a, b = small.protect(A), small.protect(B)
        small.expire(a, undo_ns=WEEK)
        clock.move(jump)
        c = small.protect({b"c": b"c"})
        small.collect_all()
        small.undo(a)
        small.verify({a.id: A, b.id: B, c.id: {b"c": b"c"}})
        small.expire(a, undo_ns=WEEK)  # received after what came before, whatever the clock says
        small.verify({b.id: B, c.id: {b"c": b"c"}})
        clock.move(-jump + 9 * DAY)
        assert small.collect().purged_points == 1


def test_a_clock_that_was_ahead_for_a_moment_takes_nothing_away(small: SmallVault) -> None:
    """One commit with a time of ten years ahead, then the clock is right again: undo windows are as long as ever."""
    with FakeClock() as clock:
        a, b = small.protect(A), small.protect(B)
        small.expire(a, undo_ns=WEEK)
        clock.move(3650 * DAY)
        c = small.protect({b"c": b"c"})
        clock.move(-3650 * DAY)
        small.collect_all()
        small.undo(a)
        small.verify({a.id: A, b.id: B, c.id: {b"c": b"c"}})
        assert not small.check().findings


def test_expiring_what_is_not_there_does_no_harm(small: SmallVault) -> None:
    a = small.protect(A)
    small.expire(a)
    small.collect_all()
    small.expire(a)
    b = small.protect(B)
    small.expire(b)
    small.collect_all()
    small.verify({})
    assert list(small.store.list(COMMITS)) == []


def test_points_go_before_what_hides_them(faulty: FaultyStore, shaky: SmallVault) -> None:
    """Interrupted between the two, no point shows itself again without its chunks."""
    a, b = shaky.protect(A), shaky.protect(B)
    shaky.expire(a)
    deleted: list[str] = []
    faulty.after.append(lambda name, key: deleted.append(key) if name == "delete" and key.startswith(COMMITS) else None)
    home = shaky.catalog.commit_of(a.id)
    shaky.collect()
    assert deleted[0] == home
    assert len(deleted) == 2
    shaky.verify({b.id: B})


def test_one_of_two_points_in_an_expiry_comes_back(small: SmallVault, some: random.Random) -> None:
    a, b = small.protect(A), small.protect(B)
    small.expire(a, b)
    small.undo(a)
    small.collect_all()
    small.verify({a.id: A})
    small.expire(a)
    small.collect_all()
    small.verify({})
    assert list(small.store.list(COMMITS)) == []


def test_what_was_brought_back_in_time_can_be_brought_back_again(small: SmallVault) -> None:
    """A collector had decided to take the point away, and leaves it; a second undo finds nothing to do."""
    point = small.protect({b"f": b"content"})
    small.expire(point)
    other = small.beside()
    with small.vault.session("undo") as session:
        other.collect()
        small.vault.undo(session, small.catalog, (point.id,))
    small.undo(point)
    other.collect()
    small.verify({point.id: {b"f": b"content"}})
