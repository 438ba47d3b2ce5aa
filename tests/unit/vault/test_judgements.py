"""What is found out about a point later: in the vault, in every catalog, and gone with the point."""

from __future__ import annotations

import msgspec
import pytest

from knowngood.core.model import Judgement, Point
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault
from knowngood.vault.catalog import Catalog
from knowngood.vault.layout import COMMITS


@pytest.fixture
def small() -> SmallVault:
    """An empty vault."""
    return SmallVault(MemoryStore())


def judge(small: SmallVault, point: Point, status: str) -> None:
    """Say so."""
    with small.vault.session("drill") as session:
        found = Judgement(point=point.id, status=status, at_ns=7, seconds=1.5, report=b"r" * 32, reason="why")
        small.vault.judge(session, small.catalog, (found,))


def statuses(small: SmallVault) -> list[str]:
    """Of all points, newest first."""
    return [each.status for each in small.catalog.points()]


def test_the_last_word_counts(small: SmallVault) -> None:
    """In this catalog, in one that is made anew, and in one that had to wait for the key."""
    first, second = small.protect({b"a": b"1"}), small.protect({b"a": b"2"})
    judge(small, first, "suspect")
    judge(small, second, "proven")
    assert statuses(small) == ["proven", "suspect"]
    judge(small, first, "proven")
    assert statuses(small) == ["proven", "proven"]
    assert small.catalog.find_point(first.id.hex()).status == "proven"
    assert statuses(small.beside()) == ["proven", "proven"]
    assert list(small.beside().catalog.judgements().values()) == list(small.catalog.judgements().values())


def test_without_the_key_it_is_not_known(small: SmallVault) -> None:
    """As the names of points are not; with it, it is seen."""
    point = small.protect({b"a": b"1"})
    judge(small, point, "suspect")
    other = Catalog(":memory:")
    other.follow(small.store, None, small.vault.id)
    assert (other.points(), other.judgements()) == ([], {})
    other.follow(small.store, small.private, small.vault.id)
    assert [each.status for each in other.points()] == ["suspect"]


def test_an_incomplete_point_stays_so(small: SmallVault) -> None:
    """A drill cannot bring back what was not read; that it is bad, it can say."""
    point = small.protect({b"a": b"1"})
    body = msgspec.msgpack.encode(msgspec.structs.replace(point, status="incomplete"))
    small.catalog._db.execute("update points set body = ?", (body,))
    judge(small, point, "proven")
    assert statuses(small) == ["incomplete"]
    judge(small, point, "suspect")
    assert statuses(small) == ["suspect"]


def test_it_goes_with_its_point(small: SmallVault) -> None:
    """A collection leaves no commit behind that speaks of nothing."""
    gone, stays = small.protect({b"a": b"1"}), small.protect({b"a": b"2"})
    for each in (gone, stays):
        judge(small, each, "proven")
    small.expire(gone, undo_ns=0)
    for _ in range(3):
        small.collect()
    small.follow()
    assert [each.id for each in small.catalog.points()] == [stays.id]
    assert set(small.catalog.judgements()) == {stays.id}
    assert len(list(small.store.list(COMMITS))) == 2
