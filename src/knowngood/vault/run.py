"""An index run: rows sorted by name, in one immutable object that is mapped and never loaded.

A row is 32 bytes: 16 of the chunk's name, 8 of the pack's name, offset and length of the frame. Names are uniform, so
a table of where each leading byte pair begins leaves a handful of rows to look through. The first 16 bytes of a name
suffice: a run only locates; the frame itself holds the whole name and proves it.
"""

from __future__ import annotations

import mmap
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from blake3 import blake3

from knowngood.core.errors import Damaged

MAGIC = b"KGIX"
VERSION = 1
ROW_BYTES = 32
PREFIX_BYTES = 16
PACK_PREFIX = 8
_HEAD = struct.Struct("<4sHBxIQ12x")
_TAIL = struct.Struct("<II")
_PACK = struct.Struct("<32sBxxxxxxx")
_WIDE_FROM = 1 << 15


@dataclass(frozen=True, slots=True)
class Location:
    """Where a frame lies. Bytes."""

    pack_kind: int
    pack: bytes
    offset: int
    length: int


def make_row(name: bytes, pack: bytes, offset: int, length: int) -> bytes:
    """One row."""
    return name[:PREFIX_BYTES] + pack[:PACK_PREFIX] + _TAIL.pack(offset, length)


def row_frame(row: bytes) -> tuple[bytes, int, int]:
    """(pack prefix, offset, length) of a row."""
    return row[PREFIX_BYTES:24], *_TAIL.unpack_from(row, 24)


def encode_run(packs: dict[bytes, int], rows: Iterable[bytes], count: int) -> tuple[bytes, list[bytes]]:
    """A run from packs (name → kind) and `count` sorted rows → (its name, its parts)."""
    bits = 16 if count >= _WIDE_FROM else 8
    table = b"".join(_PACK.pack(name, packs[name]) for name in sorted(packs))
    starts = [0] * ((1 << bits) + 1)
    body: list[bytes] = []
    shift = 16 - bits
    for row in rows:
        starts[(int.from_bytes(row[:2], "big") >> shift) + 1] += 1
        body.append(row)
    for at in range(1, len(starts)):
        starts[at] += starts[at - 1]
    head = _HEAD.pack(MAGIC, VERSION, bits, len(packs), count)
    fan = struct.pack(f"<{len(starts)}I", *starts)
    front = head + table + fan
    front += blake3(front).digest()
    joined = b"".join(body)
    hasher = blake3(front)
    hasher.update(joined)
    return hasher.digest(), [front, joined]


class Run:
    """A run opened for lookups."""

    def __init__(self, name: bytes, data: bytes | mmap.mmap) -> None:
        self.name = name
        self._data = data
        try:
            magic, version, self._bits, packs, self.count = _HEAD.unpack(data[: _HEAD.size])
        except struct.error:
            raise Damaged("an index run is cut off") from None
        if magic != MAGIC or version != VERSION or self._bits not in (8, 16):
            raise Damaged("this is no index run, or one of a newer format")
        table_end = _HEAD.size + _PACK.size * packs
        fan_end = table_end + 4 * ((1 << self._bits) + 1)
        self._rows_at = fan_end + 32
        whole = len(data) == self._rows_at + ROW_BYTES * self.count
        if not whole or blake3(data[:fan_end]).digest() != data[fan_end : fan_end + 32]:
            raise Damaged("an index run is damaged")
        self.packs = dict(_PACK.iter_unpack(data[_HEAD.size : table_end]))
        self._prefixes = sorted(self.packs)
        self._fan_at = table_end

    def intact(self) -> bool:
        """Whether every byte is as written."""
        return blake3(self._data[:]).digest() == self.name

    def covers(self, byte: int) -> bool:
        """Whether any row's name begins with this byte."""
        low, high = self._span(byte)
        return low < high

    def _span(self, byte: int) -> tuple[int, int]:
        step = 1 << (self._bits - 8)
        low = struct.unpack_from("<I", self._data, self._fan_at + 4 * byte * step)[0]
        return low, struct.unpack_from("<I", self._data, self._fan_at + 4 * (byte + 1) * step)[0]

    def find(self, name: bytes) -> Iterator[tuple[int, bytes]]:
        """(row number, row) of every row with this name."""
        prefix = name[:PREFIX_BYTES]
        slot = int.from_bytes(prefix[:2], "big") >> (16 - self._bits)
        low, high = struct.unpack_from("<II", self._data, self._fan_at + 4 * slot)
        end = self._rows_at + ROW_BYTES * high
        at = self._data.find(prefix, self._rows_at + ROW_BYTES * low, end)
        while at >= 0:
            number, off = divmod(at - self._rows_at, ROW_BYTES)
            if not off:
                yield number, self._data[at : at + ROW_BYTES]
            at = self._data.find(prefix, at + 1, end)

    def rows(self, first_byte: int) -> list[bytes]:
        """The rows whose name begins with this byte: a 256th of the run."""
        low, high = self._span(first_byte)
        raw = self._data[self._rows_at + ROW_BYTES * low : self._rows_at + ROW_BYTES * high]
        return [raw[at : at + ROW_BYTES] for at in range(0, len(raw), ROW_BYTES)]

    def row(self, number: int) -> bytes:
        """One row by its number."""
        at = self._rows_at + ROW_BYTES * number
        return self._data[at : at + ROW_BYTES]

    def pack_of(self, row: bytes) -> tuple[bytes, int]:
        """Name and kind of the pack a row points into. Raises Damaged."""
        prefix = row[PREFIX_BYTES:24]
        at = bisect_left(self._prefixes, prefix)
        if at == len(self._prefixes) or not self._prefixes[at].startswith(prefix):
            raise Damaged("an index row points to a pack that its run does not know")
        return self._prefixes[at], self.packs[self._prefixes[at]]

    def locate(self, row: bytes) -> Location:
        """Where a row points."""
        pack, kind = self.pack_of(row)
        _, offset, length = row_frame(row)
        return Location(kind, pack, offset, length)
