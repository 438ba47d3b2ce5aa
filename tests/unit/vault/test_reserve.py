"""The reserve: as much as was wanted, or as there is room for; and a vault on a full disk that can be cleaned."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.core.errors import NoSpace
from knowngood.core.sizes import KIB, MIB
from knowngood.stores.disk import DiskStore
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault.layout import RESERVE
from knowngood.vault.reserve import (
    PIECE,
    refill_reserve,
    release_reserve,
    reserved_bytes,
    set_reserve,
    wanted_bytes,
    with_reserve,
)


def test_as_much_as_was_asked_for() -> None:
    store = MemoryStore()
    for size in (PIECE * 2 + 5, PIECE, 0, 7):
        assert set_reserve(store, size) == size
        assert reserved_bytes(store) == wanted_bytes(store) == size


def test_as_much_as_there_is_room_for() -> None:
    store = MemoryStore(capacity=2 * PIECE + 10)
    assert set_reserve(store, 10 * PIECE) == 2 * PIECE
    assert wanted_bytes(store) == 10 * PIECE
    store.capacity = None
    assert refill_reserve(store) == 10 * PIECE


def test_it_is_not_of_zeros() -> None:
    store = MemoryStore()
    set_reserve(store, 4096)
    assert all(len(set(data)) > 200 for data in store.objects.values() if data)


def test_released_it_is_still_wanted() -> None:
    store = MemoryStore()
    set_reserve(store, 4096)
    assert release_reserve(store) == 4096
    assert release_reserve(store) == 0
    assert (reserved_bytes(store), wanted_bytes(store)) == (0, 4096)
    assert refill_reserve(store) == 4096


def test_where_nobody_ever_said_what_there_is_stays() -> None:
    store = MemoryStore()
    assert wanted_bytes(store) == refill_reserve(store) == 0
    store.put(RESERVE + "ab", [b"12345"])
    assert wanted_bytes(store) == refill_reserve(store) == 5


def test_it_is_given_up_once() -> None:
    store = MemoryStore()
    set_reserve(store, 4096)
    calls: list[int] = []

    def act() -> None:
        calls.append(reserved_bytes(store))
        raise NoSpace("full")

    with pytest.raises(NoSpace):
        with_reserve(store, act)
    assert calls == [4096, 0]
    with pytest.raises(NoSpace):
        with_reserve(store, act)
    assert calls == [4096, 0, 0]


# ------------------------------------------------------------------------------------------------- a disk that is full


@pytest.fixture
def little(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder = tmp_path / "little"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no tmpfs here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no byte."""
    with (folder / "others").open("ab", buffering=0) as file:
        for size in (MIB, 64 * KIB, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


@pytest.mark.root
@pytest.mark.parametrize("reserve", [0, MIB], ids=["none", "some"])
def test_a_vault_on_a_full_disk(little: Path, some: random.Random, reserve: int) -> None:
    """Nothing is damaged by a full disk, what is there recovers, and with a reserve it can be cleaned."""
    store = DiskStore(little / "vault")
    small = SmallVault(store)
    with patch("knowngood.vault.reserve.PIECE", 256 * KIB), small_packs(raw=64 * KIB, alone=KIB, group=KIB):
        set_reserve(store, reserve)
        kept = {b"k%d" % at: some.randbytes(20 * KIB) for at in range(30)}
        lost = {b"l%d" % at: some.randbytes(20 * KIB) for at in range(60)}
        keep, lose = small.protect(kept), small.protect(lost | dict(list(kept.items())[:10]))
        fill(little)
        truth = {keep.id: kept, lose.id: lost | dict(list(kept.items())[:10])}
        with pytest.raises(NoSpace):
            small.protect({b"more": some.randbytes(20 * KIB)})
        if not reserve:
            with pytest.raises(NoSpace):
                small.expire(lose)
            (little / "others").unlink()
            small.verify(truth)
            assert not small.check().findings
            return
        small.expire(lose)
        freed = sum(small.collect().freed_bytes for _ in range(3))
        assert freed > MIB
        small.verify({keep.id: kept})
        small.verify_known()
        assert not small.check().findings
        assert reserved_bytes(store) == reserve
        more = {b"more": some.randbytes(200 * KIB)}
        truth = {keep.id: kept, small.protect(more).id: more}
        small.verify(truth)
        assert list((little / "vault" / "tmp").iterdir()) == []


@pytest.mark.root
def test_a_reserve_on_a_full_disk(little: Path) -> None:
    store = DiskStore(little / "vault")
    assert set_reserve(store, 100 * MIB) <= 6 * MIB
    have = reserved_bytes(store)
    fill(little)
    assert release_reserve(store) == have
    assert refill_reserve(store) <= have
