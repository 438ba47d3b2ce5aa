"""Making the shards of a set: from its members, or from the shards of the set whose place it takes.

A member that is added twice is not there: so a set that loses or gains members is made anew from its old shards and
these members alone, and all that stays need not be read. Memory: the shards of one set, and one member.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from blake3 import blake3

from knowngood.core.errors import Damaged, Exists, KnowngoodError
from knowngood.core.ports import Store
from knowngood.core.progress import Progress
from knowngood.core.sizes import KIB
from knowngood.seal.erasure import coefficient, scaled
from knowngood.vault.layout import parity_key
from knowngood.vault.parity.lanes import named, packed, table_of
from knowngood.vault.parity.sets import ParitySet
from knowngood.vault.parity.shard import COMMIT, Member, Table, block_sums, encode_shard, member_sums, read_sums

PIECE = 256 * KIB
HEAL = "run: knowngood vault check --heal"
_CHECK_BYTES = 32  # at the end of a commit


class Shards:
    """Shards while they are made: lists of pieces, as numbers that can be added."""

    def __init__(self, count: int) -> None:
        self._pieces: list[list[int]] = [[] for _ in range(count)]

    def add(self, lane: int, at: int, data: bytes) -> None:
        """Add bytes of a lane. What was there before is taken away by adding it again."""
        done = 0
        while done < len(data):
            piece, within = divmod(at + done, PIECE)
            part = data[done : done + PIECE - within]
            for number, pieces in enumerate(self._pieces):
                pieces.extend([0] * (piece + 1 - len(pieces)))
                pieces[piece] ^= scaled(part, coefficient(number, lane)) << 8 * within
            done += len(part)

    def load(self, number: int, data: bytes) -> None:
        """Begin with a shard as it was."""
        pieces = range(0, len(data), PIECE)
        self._pieces[number] = [int.from_bytes(data[at : at + PIECE], "little") for at in pieces]

    def payload(self, number: int, length: int) -> Iterator[bytes]:
        """A finished shard."""
        pieces = self._pieces[number]
        for place, at in enumerate(range(0, length, PIECE)):
            yield (pieces[place] if place < len(pieces) else 0).to_bytes(PIECE, "little")[: length - at]


@dataclass(slots=True)
class Written:
    """The parity objects of a new set, and what could not become a member of it."""

    keys: list[str]
    unfit: dict[str, str] = field(default_factory=dict)  # objects that were left out, and why


def write_set(
    store: Store,
    folder: str,
    members: Sequence[Member],
    block: int,
    progress: Progress,
    *,
    base: ParitySet | None = None,
    must: Collection[str] = (),
) -> Written:
    """Put the parity objects of a set. What cannot be read as it was written is left out. `base` is the set whose place
    it takes; its own objects are not touched.

    Raises Damaged when nothing is left, or when one of those that `must` be in it cannot be read: then it is to be
    healed first, and nothing was put. Raises NoSpace, and what else putting raises.
    """
    unfit: dict[str, str] = {}
    while True:
        members = [each for each in members if each.key not in unfit]
        if not members:
            raise Damaged("none of the objects of a parity set can be read")
        try:
            made = _made(store, table_of(members, block), base, progress)
        except _Unfit as wrong:
            if wrong.member.key in must:
                raise Damaged(f"{wrong.member.key}: {wrong.reason}", hint=HEAL) from None
            if base is not None and wrong.member in base.table.members:
                base = None  # it cannot be taken out of the old shards
            else:
                unfit[wrong.member.key] = wrong.reason
        else:
            return Written(_put(store, folder, *made, progress), unfit)


class _Unfit(Exception):
    def __init__(self, member: Member, reason: str) -> None:
        super().__init__(reason)
        self.member = member
        self.reason = reason


def _made(store: Store, table: Table, base: ParitySet | None, progress: Progress) -> tuple[Table, bytes, Shards]:
    shards = Shards(table.shards)
    sums = _begun(store, base, table, shards) if base is not None else {}
    wanted = set(table.members)
    for member in [each for each in sums if each not in wanted]:
        del sums[member]
        _add(store, member, table.block, shards, progress)  # once more: it is out
    members: list[Member] = []
    for each in table.members:
        member = each
        if each not in sums:
            member, found = _add(store, each, table.block, shards, progress)
            sums[member] = found
        members.append(member)
    table = Table(table.shards, table.lanes, table.block, table.lane_bytes, tuple(members))
    return table, b"".join(sums[each] for each in members), shards


def _begun(store: Store, base: ParitySet, table: Table, shards: Shards) -> dict[Member, bytes]:
    """Begin with the shards of the old set: its members, each with its checksums. None when they do not serve."""
    if not base.complete or (base.table.shards, base.table.block) != (table.shards, table.block):
        return {}
    payloads: dict[int, bytes] = {}
    sums = b""
    for number, (key, head, _) in base.shards.items():
        try:
            data = store.get(key)
            if blake3(data).digest().hex() != key.rpartition("/")[2]:
                return {}
            sums, _ = read_sums(store, key, head)
        except KnowngoodError:
            return {}
        payloads[number] = data[head.payload_at :]
    for number, payload in payloads.items():
        shards.load(number, payload)
    return member_sums(base.table, sums)


def _add(store: Store, member: Member, block: int, shards: Shards, progress: Progress) -> tuple[Member, bytes]:
    """Add a member, or take it out again: it with its name, and its checksums. Raises _Unfit."""
    try:
        data = store.get(member.key)
    except KnowngoodError as wrong:
        raise _Unfit(member, wrong.message) from None
    name = blake3(data).digest()
    if len(data) != member.size or (member.name and name != member.name) or not _sound(member, data):
        raise _Unfit(member, "its bytes are not those that were written")
    shards.add(member.lane, member.offset, data)
    progress.bytes += len(data)
    return named(member, name), block_sums(data, block)


def _sound(member: Member, data: bytes) -> bool:
    if member.kind != COMMIT:
        return True  # its name says what its bytes are
    return blake3(data[:-_CHECK_BYTES]).digest() == data[-_CHECK_BYTES:]


def _put(store: Store, folder: str, table: Table, sums: bytes, shards: Shards, progress: Progress) -> list[str]:
    keys: list[str] = []
    for number in range(table.shards):
        name, parts = encode_shard(table, number, sums, list(shards.payload(number, table.lane_bytes)))
        keys.append(parity_key(folder, name))
        with suppress(Exists):
            store.put(keys[-1], parts)
        progress.landed_bytes += table.lane_bytes
    return keys


def renew(
    store: Store, old: ParitySet, gone: Collection[str], progress: Progress, *, anew: bool = False
) -> Written | None:
    """Put the set that takes the place of an old one when these objects go; None when nothing is left to protect.

    `anew`: do not build on the old shards. Raises Damaged when what stays cannot be read.
    """
    members = [each for each in old.table.members if each.key not in gone]
    if not members:
        return None
    block, must = old.table.block, {each.key for each in members}
    if anew:
        members = packed(members, block)
    return write_set(store, old.folder, members, block, progress, base=None if anew else old, must=must)
