"""Bringing a member of a set back: from its own blocks that are good, and the others and the shards for the rest.

Which block is bad is told by its checksum, so that objects with bad blocks in different places heal each other. What
comes out is proven by the member's name, the hash of all its bytes; until then nothing is believed.
"""

from __future__ import annotations

from itertools import groupby

from blake3 import blake3

from knowngood.core.errors import Damaged, KnowngoodError, NotFound
from knowngood.core.ports import Store
from knowngood.core.sizes import KIB
from knowngood.seal.erasure import coefficient, multiply, scaled, solution
from knowngood.vault.parity.sets import ParitySet
from knowngood.vault.parity.shard import Member, ShardHead, block_sums, member_sums, read_sums

_PIECE = 256 * KIB
_SUM = 4


class Blocks:
    """Bytes of a set, block by block, and which of them are as they were written."""

    def __init__(self, store: Store, parity: ParitySet) -> None:
        self._store = store
        self.block = parity.table.block
        self._shards: dict[int, tuple[str, ShardHead, bytes]] = {}
        self._lanes: list[list[Member]] = [[] for _ in range(parity.table.lanes)]
        sums = b""
        for number, (key, head, _) in parity.shards.items():
            try:
                sums, own = read_sums(store, key, head)
            except KnowngoodError:
                continue
            self._shards[number] = key, head, own
        if not self._shards:
            raise Damaged("no parity object of its set can be read")
        self._sums = member_sums(parity.table, sums)
        for member in parity.table.members:
            self._lanes[member.lane].append(member)

    @property
    def lanes(self) -> range:
        """The numbers of the lanes."""
        return range(len(self._lanes))

    @property
    def shards(self) -> list[int]:
        """The numbers of the shards that can be read."""
        return sorted(self._shards)

    def lane(self, number: int, at: int, length: int) -> tuple[bytes, set[int]]:
        """Bytes of a lane, and which of its blocks are bad, counted from `at`. Both are whole numbers of blocks."""
        data, bad = bytearray(length), set[int]()
        for member in self._lanes[number]:
            first, last = max(member.offset, at), min(member.offset + member.size, at + length)
            if first < last:
                sums = self._sums[member][_SUM * ((first - member.offset) // self.block) :]
                good, wrong = self._read(member.key, first - member.offset, last - first, sums)
                data[first - at : first - at + len(good)] = good
                bad |= {(first - at) // self.block + each for each in wrong}
        return bytes(data), bad

    def member(self, member: Member, at: int, length: int) -> tuple[bytes, set[int]]:
        """Bytes of one member, and which of these blocks are bad."""
        return self._read(member.key, at, length, self._sums[member][_SUM * (at // self.block) :])

    def shard(self, number: int, at: int, length: int) -> tuple[bytes, set[int]]:
        """Bytes of a shard, and which of its blocks are bad."""
        key, head, sums = self._shards[number]
        return self._read(key, at, length, sums[_SUM * (at // self.block) :], head.payload_at)

    def _read(self, key: str, at: int, length: int, sums: bytes, base: int = 0) -> tuple[bytes, set[int]]:
        try:
            data = self._store.get(key, base + at, length)
        except NotFound:
            data = b""
        except KnowngoodError:
            data = self._read_by_blocks(key, base + at, length)
        data += bytes(length - len(data))
        found = block_sums(data, self.block)
        blocks = range(-(-length // self.block))
        return data, {each for each in blocks if found[4 * each : 4 * each + 4] != sums[4 * each : 4 * each + 4]}

    def _read_by_blocks(self, key: str, at: int, length: int) -> bytes:
        """What can be read of a disk with bad sectors; the rest is zero, and its checksum is wrong."""
        data = bytearray(length)
        for start in range(0, length, self.block):
            try:
                part = self._store.get(key, at + start, min(self.block, length - start))
            except KnowngoodError:
                continue
            data[start : start + len(part)] = part
        return bytes(data)


def decode(store: Store, parity: ParitySet, member: Member) -> bytes:
    """A member as it was written. Raises Damaged when that takes more than there is."""
    blocks = Blocks(store, parity)
    out = bytearray()
    for at in range(0, member.size, _PIECE):
        data, bad = blocks.member(member, at, min(_PIECE, member.size - at))
        out += _healed(blocks, member, at, data) if bad else data
    if blake3(out).digest() != member.name:
        raise Damaged("what came out of parity is not what was written")
    return bytes(out)


def _healed(blocks: Blocks, member: Member, at: int, data: bytes) -> bytes:
    """A piece of a member with its bad blocks brought back."""
    size, start = blocks.block, member.offset + at
    length = -(-len(data) // size) * size
    lanes = {lane: blocks.lane(lane, start, length) for lane in blocks.lanes}
    shards = {number: blocks.shard(number, start, length) for number in blocks.shards}

    def lost(block: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return (
            tuple(lane for lane, (_, bad) in lanes.items() if block in bad),
            tuple(number for number, (_, bad) in shards.items() if block not in bad),
        )

    out = bytearray(length)
    for (gone, left), run in groupby(range(length // size), key=lost):
        numbers = list(run)
        part = slice(numbers[0] * size, (numbers[-1] + 1) * size)
        if member.lane not in gone:
            out[part] = lanes[member.lane][0][part]
            continue
        if len(gone) > len(left):
            raise Damaged(f"{len(gone)} objects of its set are damaged at one place, and {len(left)} shards are left")
        used = left[: len(gone)]
        factors = solution(used, gone)[gone.index(member.lane)]
        whole = {lane: each[part] for lane, (each, _) in lanes.items() if lane not in gone}
        out[part] = _sum(factors, used, {each: shards[each][0][part] for each in used}, whole)
    return bytes(out[: len(data)])


def _sum(factors: list[int], used: tuple[int, ...], shards: dict[int, bytes], lanes: dict[int, bytes]) -> bytes:
    """The lost lane: what each shard says without the other lanes, times its factor. One multiplication per lane."""
    total = 0
    for number, factor in zip(used, factors, strict=True):
        total ^= scaled(shards[number], factor) if factor else 0
    for lane, data in lanes.items():
        factor = 0
        for number, each in zip(used, factors, strict=True):
            factor ^= multiply(each, coefficient(number, lane))
        total ^= scaled(data, factor) if factor else 0
    return total.to_bytes(len(next(iter(shards.values()))), "little")
