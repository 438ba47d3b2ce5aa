"""The parity sets of a vault, as the objects below `parity/` tell of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from blake3 import blake3

from knowngood.core.errors import KnowngoodError, NotFound
from knowngood.core.ports import Store
from knowngood.core.sizes import KIB, MIB
from knowngood.vault.layout import PARITY_LOGS, PARITY_PACKS, name_in
from knowngood.vault.pack import PackKind
from knowngood.vault.parity.shard import ShardHead, Table, read_head

LARGEST = 64 * MIB
"""Larger objects have no parity: a shard is as long as the longest object, and made in memory."""

_SMALLEST_LEVEL = 16 * KIB


@dataclass(frozen=True, slots=True)
class ParitySet:
    """One set: what it protects, and its parity objects that are there: number → (key, head, size)."""

    id: bytes
    table: Table
    folder: str
    shards: dict[int, tuple[str, ShardHead, int]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all of its objects are there, none of them cut short."""
        return len(self.shards) == self.table.shards and all(
            size == head.size for _, head, size in self.shards.values()
        )

    @property
    def keys(self) -> list[str]:
        """The keys of its parity objects."""
        return [key for key, *_ in self.shards.values()]

    @property
    def bytes(self) -> int:
        """Of its members."""
        return sum(member.size for member in self.table.members)

    @property
    def level(self) -> int:
        """The largest object that belongs into it. Bytes."""
        return level_of(self.table.lane_bytes)


def level_of(size: int) -> int:
    """Objects of like size share sets, so that a small one costs no long shards: the level of a size, in bytes."""
    level = _SMALLEST_LEVEL
    while level < size:
        level *= 4
    return level


def folder_of(kind: int) -> str:
    """Logs and commits come and go faster than packs: they have sets of their own."""
    return PARITY_PACKS if kind in (PackKind.DATA, PackKind.PAGES) else PARITY_LOGS


def list_sets(
    store: Store, folders: Iterable[str] = (PARITY_PACKS, PARITY_LOGS)
) -> tuple[list[ParitySet], dict[str, str]]:
    """The sets, and the parity objects whose heads cannot be read: key → why."""
    found: dict[bytes, ParitySet] = {}
    damaged: dict[str, str] = {}
    for folder in folders:
        for each in list(store.list(folder)):
            try:
                head = read_head(store, each.key)
            except NotFound:
                continue
            except KnowngoodError as wrong:
                damaged[each.key] = wrong.message
                continue
            place = found.setdefault(head.set_id, ParitySet(head.set_id, head.table, folder))
            place.shards[head.number] = each.key, head, each.size
    return list(found.values()), damaged


def needless(sets: Collection[ParitySet], there: Collection[str]) -> list[ParitySet]:
    """Sets of which each member that is there is in another complete set, too. A renewal that was cut leaves them."""
    kept = {each.id: each for each in sets}
    count: dict[str, int] = {}
    for each in sets:
        for member in each.table.members:
            count[member.key] = count.get(member.key, 0) + each.complete
    going: list[ParitySet] = []
    for each in sorted(sets, key=lambda one: (one.complete, -_absent(one, there), len(one.table.members))):
        here = [member.key for member in each.table.members if member.key in there]
        if all(count[key] > each.complete for key in here):
            going.append(kept.pop(each.id))
            for member in each.table.members:
                count[member.key] -= each.complete
    return going


def _absent(one: ParitySet, there: Collection[str]) -> int:
    return sum(member.key not in there for member in one.table.members)


def is_as_named(store: Store, key: str) -> bool:
    """Whether an object that is named by the hash of its bytes is as it was written."""
    with suppress(KnowngoodError):
        return blake3(store.get(key)).digest() == name_in(key)
    return False
