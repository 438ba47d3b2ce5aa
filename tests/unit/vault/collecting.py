"""Vaults in need of collection, and what is in them."""

from __future__ import annotations

import random

from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault.layout import PACKS, PAGES

Files = dict[bytes, bytes]


def files(some: random.Random, count: int, size: int = 1500) -> Files:
    return {b"folder%d/file%d" % (at % 3, at): some.randbytes(size) for at in range(count)}


def packs(small: SmallVault) -> set[str]:
    return {each.key for folder in (PACKS, PAGES) for each in small.store.list(folder)}


def bytes_in(small: SmallVault) -> int:
    return sum(each.size for folder in (PACKS, PAGES) for each in small.store.list(folder))


def aged(small: SmallVault, some: random.Random) -> tuple[dict[bytes, Files], Files]:
    """A vault with a dead pack, poor packs and one point, expired for good, beside one that stays."""
    shared = files(some, 8)
    with small_packs():
        gone = small.protect(files(some, 10) | {b"x" + path: data for path, data in shared.items()})
        mixed = dict(list(shared.items())[:3]) | files(some, 2)
        kept = small.protect(mixed)
    small.expire(gone)
    return {kept.id: mixed}, mixed
