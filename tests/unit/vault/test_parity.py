"""Parity: what is lost or damaged comes back, and nothing that went on purpose does."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from blake3 import blake3

from knowngood.core.errors import KnowngoodError, StoreFailed
from knowngood.core.progress import Progress
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault.layout import COMMITS, HEALED, PACKS, PAGES, PARITY_PACKS, SESSIONS, pack_key
from knowngood.vault.parity import keep, lanes
from knowngood.vault.parity.decode import decode
from knowngood.vault.parity.heal import heal, plan_healing
from knowngood.vault.parity.keep import keep_parity
from knowngood.vault.parity.sets import list_sets

Files = dict[bytes, bytes]


@pytest.fixture
def small() -> Iterator[SmallVault]:
    """A vault of a few dozen packs."""
    with small_packs(raw=3000, alone=500, group=500):
        yield SmallVault(MemoryStore())


def _files(some: random.Random, name: bytes, count: int) -> Files:
    return {b"%s/%d" % (name, at): some.randbytes(600) for at in range(count)}


def _objects(small: SmallVault) -> dict[str, bytes]:
    assert isinstance(small.store, MemoryStore)
    return small.store.objects


def _truth(small: SmallVault) -> dict[str, bytes]:
    """What parity is to bring back."""
    return {key: data for key, data in _objects(small).items() if key.startswith((PACKS, PAGES, COMMITS))}


def _heal(small: SmallVault) -> tuple[int, dict[str, str]]:
    found = small.check()
    plan = plan_healing(small.vault, [each.object for each in found.findings], Progress())
    done = heal(small.vault, plan, Progress())
    return len(done.objects), done.left


def test_a_lost_object_of_each_kind_comes_back(small: SmallVault) -> None:
    some = random.Random(1)
    point = small.protect(files := _files(some, b"one", 30))
    kept = keep_parity(small.vault, Progress())
    truth = _truth(small)
    assert kept.objects == len(truth)
    for folder in (PACKS, PAGES, COMMITS):
        lost = some.choice([key for key in truth if key.startswith(folder)])
        del _objects(small)[lost]
        assert _heal(small) == (1, {})
        assert _truth(small) == truth
    assert not small.check().findings
    small.verify({point.id: files})


def test_two_objects_damaged_all_over_come_back(small: SmallVault) -> None:
    some = random.Random(2)
    small.protect(_files(some, b"one", 60))
    keep_parity(small.vault, Progress())
    truth = _truth(small)
    packs = sorted(key for key in truth if key.startswith(PACKS))
    for one, other in itertools.pairwise(some.sample(packs, 8)):
        _objects(small)[one] = bytes(len(truth[one]))
        _objects(small)[other] = truth[one][:100]
        assert _heal(small) == (2, {})
        assert _truth(small) == truth


def test_parity_follows_what_comes_and_goes(small: SmallVault) -> None:
    some = random.Random(3)
    truth: dict[bytes, Files] = {}
    points = []
    for at in range(12):
        files = _files(some, b"%d" % at, 10)
        points.append(small.protect(files))
        truth[points[-1].id] = files
        if at % 3 == 2:
            small.expire(points[at - 2])
            del truth[points[at - 2].id]
            small.collect_all()
        keep_parity(small.vault, Progress())
        sets, damaged = list_sets(small.store)
        assert not damaged
        assert all(each.complete for each in sets)
        covered = [member.key for each in sets for member in each.table.members]
        assert sorted(covered) == sorted(_truth(small))
    before = _truth(small)
    for key in some.sample(sorted(before), 20):
        data = _objects(small).pop(key)
        assert _heal(small) == (1, {})
        assert _objects(small)[key] == data
    small.verify(truth)


def _cut_anywhere(small: SmallVault, work: Callable[[SmallVault], object], sure: Callable[[SmallVault], None]) -> int:
    """Cut some work before and after each of its changes; after each, `sure` holds, and the work comes to its end."""
    start = dict(_objects(small))
    for late in (False, True):
        for at in itertools.count(1):
            store = MemoryStore()
            store.objects = dict(start)
            faulty = FaultyStore(store)
            again = small.beside(faulty)
            faulty.fail(at, StoreFailed("cut"), after=late, lasting=True)
            with suppress(KnowngoodError):
                work(again)
            if not faulty.failed:
                break
            faulty.mend()
            for key in list(store.objects):
                if key.startswith(SESSIONS):
                    del store.objects[key]
            sure(again)
            work(again)
            sure(again)
    return at


def test_parity_that_is_cut_anywhere_protects_what_it_did(small: SmallVault) -> None:
    some = random.Random(4)
    small.protect(_files(some, b"one", 20))
    keep_parity(small.vault, Progress())
    small.protect(_files(some, b"two", 20))
    old = [member.key for each in list_sets(small.store)[0] for member in each.table.members]

    def sure(again: SmallVault) -> None:
        sets, damaged = list_sets(again.store)
        assert not damaged
        assert set(old) <= {member.key for each in sets if each.complete for member in each.table.members}
        assert not [each for each in again.check().findings if each.what != "parity"]

    assert _cut_anywhere(small, lambda again: keep_parity(again.vault, Progress()), sure) > 5


def test_a_collection_that_is_cut_anywhere_leaves_nothing_that_comes_back(small: SmallVault) -> None:
    some = random.Random(5)
    shared = _files(some, b"shared", 9)
    kept = small.protect(shared | _files(some, b"one", 4))
    truth = small.recover(kept)
    gone = small.protect(shared | _files(some, b"two", 12))
    keep_parity(small.vault, Progress())
    small.expire(gone)

    def sure(again: SmallVault) -> None:
        members = {member.key for each in list_sets(again.store)[0] for member in each.table.members}
        there = {each.key for folder in (PACKS, PAGES, COMMITS) for each in again.store.list(folder)}
        assert members <= there, "INV-13"
        again.follow()
        assert again.recover(kept) == truth

    assert _cut_anywhere(small, lambda again: again.collect_all(), sure) > 5


def test_healing_that_is_cut_anywhere_heals_the_next_time(small: SmallVault) -> None:
    some = random.Random(6)
    small.protect(_files(some, b"one", 40))
    keep_parity(small.vault, Progress())
    truth = _truth(small)
    one, other, third = some.sample(sorted(key for key in truth if key.startswith(PACKS)), 3)
    del _objects(small)[one]
    _objects(small)[other] = bytes(7) + truth[other][7:]
    _objects(small)[third] = truth[third][:-700]
    doubted = [one, other, third]

    def work(again: SmallVault) -> None:
        for _ in range(2):
            heal(again.vault, plan_healing(again.vault, doubted, Progress()), Progress())

    def sure(again: SmallVault) -> None:
        work(again)
        listed = [each.key for folder in (PACKS, PAGES, COMMITS) for each in again.store.list(folder)]
        objects = {key: again.store.get(key) for key in listed}
        assert objects == truth
        assert not list(again.store.list(HEALED))

    assert _cut_anywhere(small, work, sure) > 5


def test_sets_that_are_half_empty_become_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much goes, parity goes with it; and what stays never lacks it."""
    monkeypatch.setattr(lanes, "LANES", 8)
    monkeypatch.setattr(keep, "LANES", 8)
    some, store = random.Random(10), MemoryStore()
    small = SmallVault(store)
    for _ in range(120):
        data = some.randbytes(some.randrange(20_000, 40_000))
        store.put(pack_key(1, blake3(data).digest()), [data])
    keep_parity(small.vault, Progress())
    for _ in range(12):
        packs = [key for key in store.objects if key.startswith(PACKS)]
        going = some.sample(packs, len(packs) // 5)
        with small.vault.session("delete", without_index=True, exclusive=True) as session:
            keep.release(session, going)
            for key in going:
                session.delete(key)
        done = keep_parity(small.vault, Progress())
        assert (done.objects, done.left_out) == (0, 0)
        sets = [each for each in list_sets(store)[0] if each.folder == PARITY_PACKS]
        covered = [member.key for each in sets for member in each.table.members]
        assert sorted(covered) == sorted(key for key in store.objects if key.startswith(PACKS))
        for each in some.sample(sets, min(2, len(sets))):
            member = some.choice(each.table.members)
            assert decode(store, each, member) == store.objects[member.key]
    assert len(packs) < 15
    assert len(sets) <= 3
