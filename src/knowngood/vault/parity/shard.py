"""The format of a parity object: a head, the members of its set with checksums of their blocks, and one shard.

Everything here is plain and needs no key. All shards of a set carry the same table, so that any one of them tells
what all of them protect.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from blake3 import blake3

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged
from knowngood.core.ports import Store
from knowngood.core.sizes import KIB
from knowngood.seal.erasure import LANE_LIMIT, SHARD_LIMIT
from knowngood.vault.layout import PACK_FOLDERS, commit_key, pack_key

MAGIC = b"KGPY"
VERSION = 1
COMMIT = 4
"""The kind of a member that is a commit; packs have their own kinds."""

_HEAD = struct.Struct("<4sHBBHxxIQIxxxx32s32s32s")
HEAD_BYTES = _HEAD.size
_CHECK_AT = 64
_ROW = struct.Struct("<BBxxIII32s16s")
_SET = struct.Struct("<BHIQI")
_SUM = struct.Struct("<I")
_MEMBERS_LIMIT = 1 << 16
_BLOCK_FROM = 512
_BLOCK_LIMIT = 1 << 20
_LANE_BYTES_LIMIT = 1 << 32
_FIRST_READ = 16 * KIB


@dataclass(frozen=True, slots=True)
class Member:
    """An object that a set protects, and where it lies in its lane. `name` is the BLAKE3 of its bytes."""

    kind: int
    lane: int
    offset: int
    size: int
    name: bytes
    session: bytes = bytes(16)  # of commits
    number: int = 0

    @property
    def key(self) -> str:
        """Where the object lies."""
        return commit_key(self.session, self.number) if self.kind == COMMIT else pack_key(self.kind, self.name)

    def blocks(self, block: int) -> int:
        """How many blocks it takes; the last one may be short."""
        return -(-self.size // block)


@dataclass(frozen=True, slots=True)
class Table:
    """What a set protects: lanes of equal length, and the members that lie in them."""

    shards: int
    lanes: int
    block: int
    lane_bytes: int
    members: tuple[Member, ...]

    def rows(self) -> bytes:
        """The members as they are stored."""
        return b"".join(
            _ROW.pack(each.kind, each.lane, each.number, each.offset, each.size, each.name, each.session)
            for each in self.members
        )

    def set_id(self, sums: bytes) -> bytes:
        """What names the set: the same in all of its shards."""
        head = _SET.pack(self.shards, self.lanes, self.block, self.lane_bytes, len(self.members))
        return blake3(head + self.rows() + sums).digest()

    @property
    def sums_bytes(self) -> int:
        """How many bytes the checksums of all members take."""
        return _SUM.size * sum(each.blocks(self.block) for each in self.members)

    @property
    def shard_sums_bytes(self) -> int:
        """How many bytes the checksums of a shard take."""
        return _SUM.size * (self.lane_bytes // self.block)


@dataclass(frozen=True, slots=True)
class ShardHead:
    """What a parity object says of itself, without the checksums."""

    number: int
    set_id: bytes
    table: Table
    sums_check: bytes

    @property
    def sums_at(self) -> int:
        """Where the checksums of the members' blocks begin, and those of the shard's follow."""
        return HEAD_BYTES + _ROW.size * len(self.table.members)

    @property
    def payload_at(self) -> int:
        """Where the shard begins."""
        return self.sums_at + self.table.sums_bytes + self.table.shard_sums_bytes

    @property
    def size(self) -> int:
        """Bytes of the whole object."""
        return self.payload_at + self.table.lane_bytes


def block_sums(data: bytes, block: int) -> bytes:
    """The checksum of each block; the last one may be short."""
    return b"".join(_SUM.pack(zlib.crc32(data[at : at + block])) for at in range(0, len(data), block))


def encode_shard(table: Table, number: int, sums: bytes, payload: Sequence[bytes]) -> tuple[bytes, list[Buffer]]:
    """Name and parts of a parity object. Each piece of the payload is a whole number of blocks."""
    own = b"".join(block_sums(piece, table.block) for piece in payload)
    rows = table.rows()
    head = bytearray(
        _HEAD.pack(
            MAGIC,
            VERSION,
            number,
            table.shards,
            table.lanes,
            table.block,
            table.lane_bytes,
            len(table.members),
            table.set_id(sums),
            bytes(32),
            blake3(sums + own).digest(),
        )
    )
    head[_CHECK_AT : _CHECK_AT + 32] = blake3(bytes(head[:_CHECK_AT]) + bytes(head[_CHECK_AT + 32 :]) + rows).digest()
    parts: list[Buffer] = [bytes(head), rows, sums, own, *payload]
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return hasher.digest(), parts


def read_head(store: Store, key: str) -> ShardHead:
    """Head and table of a parity object, proven; its checksums are not read. Raises NotFound, Damaged, StoreFailed."""
    start = store.get(key, 0, _FIRST_READ)
    if len(start) < HEAD_BYTES:
        raise Damaged("a parity object is cut off in its head")
    magic, version, number, shards, lanes, block, lane_bytes, count, set_id, check, sums = _HEAD.unpack_from(start)
    if magic != MAGIC or version != VERSION or not _possible(number, shards, lanes, block, lane_bytes, count):
        raise Damaged("this is no parity object, or one of a newer format")
    end = HEAD_BYTES + _ROW.size * count
    rows = start[HEAD_BYTES:end] if end <= len(start) else store.get(key, HEAD_BYTES, end - HEAD_BYTES)
    if blake3(start[:_CHECK_AT] + start[_CHECK_AT + 32 : HEAD_BYTES] + rows).digest() != check:
        raise Damaged("the head of a parity object is damaged")
    table = Table(shards, lanes, block, lane_bytes, tuple(_member(row) for row in _ROW.iter_unpack(rows)))
    if not all(_fits(each, table) for each in table.members):
        raise Damaged("the table of a parity object says what cannot be")
    return ShardHead(number, set_id, table, sums)


def _possible(number: int, shards: int, lanes: int, block: int, lane_bytes: int, count: int) -> bool:
    return (
        number < shards <= SHARD_LIMIT
        and 0 < lanes <= LANE_LIMIT
        and _BLOCK_FROM <= block <= _BLOCK_LIMIT
        and block & (block - 1) == 0
        and 0 < lane_bytes <= _LANE_BYTES_LIMIT
        and lane_bytes % block == 0
        and 0 < count <= _MEMBERS_LIMIT
    )


def _member(row: tuple[int, int, int, int, int, bytes, bytes]) -> Member:
    kind, lane, number, offset, size, name, session = row
    return Member(kind, lane, offset, size, name, session, number)


def _fits(member: Member, table: Table) -> bool:
    known = member.kind in PACK_FOLDERS or member.kind == COMMIT
    placed = member.lane < table.lanes and member.offset % table.block == 0
    return known and placed and 0 < member.size <= table.lane_bytes - member.offset


def read_sums(store: Store, key: str, head: ShardHead) -> tuple[bytes, bytes]:
    """The checksums of the members' blocks, in their order, and of the shard's blocks. Raises what reading raises."""
    both = store.get(key, head.sums_at, head.payload_at - head.sums_at)
    if blake3(both).digest() != head.sums_check:
        raise Damaged("the checksums in a parity object are damaged")
    return both[: head.table.sums_bytes], both[head.table.sums_bytes :]


def member_sums(table: Table, sums: bytes) -> dict[Member, bytes]:
    """Each member with the checksums of its blocks."""
    found: dict[Member, bytes] = {}
    at = 0
    for member in table.members:
        found[member] = sums[at : at + _SUM.size * member.blocks(table.block)]
        at += len(found[member])
    return found
