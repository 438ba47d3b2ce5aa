"""Parity: what is lost or damaged comes back, and nothing that went on purpose does."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest

from knowngood.core.progress import Progress
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault.layout import COMMITS, PACKS, PAGES
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
