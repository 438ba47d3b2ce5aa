"""Collection where room is short: on a full disk, with a reserve and without."""

from __future__ import annotations

import random
from unittest.mock import patch

import pytest

from knowngood.core.errors import NoSpace
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault.layout import RESERVE
from knowngood.vault.reserve import reserved_bytes, set_reserve
from tests.unit.vault.collecting import aged, bytes_in, files


def full(small: SmallVault, spare: int = 0) -> MemoryStore:
    store = small.store
    assert isinstance(store, MemoryStore)
    store.capacity = store.used + spare
    return store


def test_a_full_disk_is_cleaned_with_the_reserve_and_the_reserve_is_back(
    small: SmallVault, some: random.Random
) -> None:
    with patch("knowngood.vault.reserve.PIECE", 4096):
        set_reserve(small.store, 16384)
        truth, _ = aged(small, some)
        full(small)
        with pytest.raises(NoSpace):
            small.protect(files(some, 3))
        done = small.collect()
        assert done.deleted_packs
        small.verify(truth)
        assert reserved_bytes(small.store) == 16384


def test_a_full_disk_without_room_to_copy_is_freed_of_what_is_dead(small: SmallVault, some: random.Random) -> None:
    """Rewriting packs takes more room than there is, reserve and all; deleting those that nothing needs takes none."""
    shared = files(some, 40)
    with small_packs(), patch("knowngood.vault.reserve.PIECE", 4096):
        set_reserve(small.store, 8192)
        dead = small.protect({b"dead" + path: data for path, data in files(some, 12).items()})
        mixed = small.protect(
            {path: shared.get(path, b"") for path in shared} | {b"z%d" % at: some.randbytes(900) for at in range(60)}
        )
        halves = {path: data for at, (path, data) in enumerate(sorted(shared.items())) if at % 2}
        kept = small.protect(halves)
        small.expire(dead, mixed)
        store = full(small)
        before = bytes_in(small)
        done = small.collect()
        assert done.deleted_packs
        assert bytes_in(small) < before - 8192
        small.verify({kept.id: halves})
        small.verify_known()
        assert reserved_bytes(small.store) == 8192
        store.capacity = None
        small.collect_all()
        small.verify({kept.id: halves})
        assert not small.check().findings


def test_points_can_be_expired_on_a_full_disk(small: SmallVault, some: random.Random) -> None:
    """Or there would be no way to free it."""
    with patch("knowngood.vault.reserve.PIECE", 4096):
        set_reserve(small.store, 8192)
        with small_packs():
            gone, kept = small.protect(files(some, 20)), small.protect({b"f": b"content"})
        full(small)
        small.expire(gone)
        small.collect()
        small.verify({kept.id: {b"f": b"content"}})
        assert reserved_bytes(small.store) == 8192


def test_the_reserve_is_made_again_after_a_kill(small: SmallVault, some: random.Random) -> None:
    """Released, and then the process was killed: the next collection knows how much was to be kept back."""
    with patch("knowngood.vault.reserve.PIECE", 4096):
        set_reserve(small.store, 8192)
        for each in list(small.store.list(RESERVE)):
            if each.size:
                small.store.delete(each.key)
        assert reserved_bytes(small.store) == 0
        aged(small, some)
        small.collect()
        assert reserved_bytes(small.store) == 8192
