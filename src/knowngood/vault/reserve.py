"""The reserve: space kept back, so that a vault on a full disk can still be cleaned.

How much is wanted is written down as the key of an empty object: whoever gives the reserve up may be killed, and the
next collection knows what to make again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from knowngood.core.errors import Exists, NoSpace
from knowngood.core.ports import ObjectStat, Store
from knowngood.core.sizes import MIB
from knowngood.vault.layout import RESERVE

PIECE = 4 * MIB
DEFAULT = 16 * MIB
_WANTED = f"{RESERVE}wanted-"

Result = TypeVar("Result")


def reserved_bytes(store: Store) -> int:
    """How much is kept back."""
    return sum(each.size for each in store.list(RESERVE))


def wanted_bytes(store: Store) -> int:
    """How much is to be kept back; where nobody ever said, what there is."""
    there = list(store.list(RESERVE))
    said = [int(text) for each in there if (text := each.key.removeprefix(_WANTED)).isdecimal()]
    return max(said, default=sum(each.size for each in there))


def set_reserve(store: Store, size: int) -> int:
    """Keep `size` bytes back from now on, or as many as there is room for. Returns how many."""
    have = _shrink(store, size)
    key = f"{_WANTED}{size}"
    with suppress(Exists, NoSpace):
        store.put(key, [])
    for each in list(store.list(RESERVE)):
        if each.key.startswith(_WANTED) and each.key != key:
            store.delete(each.key)
    return _grow(store, have, size)


def refill_reserve(store: Store) -> int:
    """Make the reserve again as it was wanted, or as much as there is room for. Returns how much there is."""
    return _grow(store, reserved_bytes(store), wanted_bytes(store))


def release_reserve(store: Store) -> int:
    """Give everything back, for a while. Returns how much there was."""
    had = reserved_bytes(store)
    _shrink(store, 0)
    return had


def with_reserve(store: Store, act: Callable[[], Result]) -> Result:
    """Do what leads to more space. On a full disk the reserve is given up for it, until the next collection."""
    try:
        return act()
    except NoSpace:
        if not release_reserve(store):
            raise
        return act()


def _pieces(store: Store) -> list[ObjectStat]:
    return [each for each in store.list(RESERVE) if not each.key.startswith(_WANTED)]


def _shrink(store: Store, size: int) -> int:
    pieces = _pieces(store)
    have = sum(each.size for each in pieces)
    while have > size and pieces:
        last = pieces.pop()
        store.delete(last.key)
        have -= last.size
    return have


def _grow(store: Store, have: int, size: int) -> int:
    with suppress(NoSpace):
        while have < size:
            length = min(PIECE, size - have)
            # Random bytes: zeros may take no space.
            store.put(f"{RESERVE}{os.urandom(8).hex()}", [os.urandom(length)])
            have += length
    return have
