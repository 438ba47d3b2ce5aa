"""Where the bytes of a file lie: what FIEMAP and the search of btrfs' trees answer, and what differs between two files.

Two files whose extents have the same source have the same bytes there, as long as neither is written to and both keep
their blocks: that is so for two clones of one file. Sources: include/uapi/linux/fiemap.h, btrfs.h and btrfs_tree.h.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

from knowngood.core.errors import Damaged

Source = int | tuple[int, int] | None
"""Where bytes come from, counted so that it is the same all through an extent; None where nobody can say."""

Extent = tuple[int, int, Source]
"""Start, end and source of what holds data. What is in no extent reads as zeros."""

Difference = tuple[int, int, bool]
"""Start and end of a range, and whether it reads as zeros in the new file."""

# ------------------------------------------------------------------------------------------------------------ FIEMAP

FIEMAP_SYNC = 0x1
FIEMAP_HEAD = struct.Struct("=QQIIII")  # fm_start, fm_length, fm_flags, fm_mapped_extents, fm_extent_count, reserved
FIEMAP_EXTENT = struct.Struct("=QQQ16xI12x")  # fe_logical, fe_physical, fe_length, fe_flags

LAST = 0x1
_UNWRITTEN = 0x800
# unknown, delayed, encoded, encrypted, not aligned, inline, in a tail
_UNCLEAR = 0x2 | 0x4 | 0x8 | 0x80 | 0x100 | 0x200 | 0x400


def fiemap_extents(answer: bytes | memoryview, count: int) -> tuple[list[Extent], int, bool]:
    """The extents of one answer of FIEMAP, where the next question begins, and whether that is needed.

    `answer` is what comes after its head. Extents that were never written read as zeros. Raises Damaged.
    """
    if count * FIEMAP_EXTENT.size > len(answer):
        raise Damaged("an answer of FIEMAP is cut short")
    found: list[Extent] = []
    end, last = 0, not count
    for logical, physical, length, flags in FIEMAP_EXTENT.iter_unpack(answer[: count * FIEMAP_EXTENT.size]):
        if not length or logical < end:
            raise Damaged("extents of FIEMAP are not in order")
        end = logical + length
        last = bool(flags & LAST)
        if not flags & _UNWRITTEN:
            found.append((logical, end, None if flags & _UNCLEAR else physical - logical))
    return found, end, not last


# ------------------------------------------------------------------------------------------------------------- btrfs

SEARCH_KEY = struct.Struct("=7Q4I32xQ")
"""tree_id, objectids, offsets, transids (lowest and highest of each), types, nr_items, unused; buf_size."""
EXTENT_DATA = 108
_ITEM = struct.Struct("=QQQII")  # transid, objectid, offset, type, len
_INLINE_HEAD = struct.Struct("<QQBBHB")  # generation, ram_bytes, compression, encryption, other_encoding, type
_REGULAR = struct.Struct("<QQQQ")  # disk_bytenr, disk_num_bytes, offset, num_bytes
_INLINE, _WRITTEN, _PREALLOCATED = 0, 1, 2
_BLOCK = 4096


def search_key(inode: int, start: int, room: int) -> bytes:
    """The question for a file's extents from an offset on, in the tree of the file that is asked."""
    most = (1 << 64) - 1
    return SEARCH_KEY.pack(0, inode, inode, start, most, 0, most, EXTENT_DATA, EXTENT_DATA, (1 << 32) - 1, 0, room)


def search_count(head: bytes) -> int:
    """How many items an answer has."""
    return SEARCH_KEY.unpack(head)[9]


def searched_extents(items: memoryview, count: int) -> Iterator[tuple[int, Extent | None]]:
    """Key offset, and extent if there is data, of each item of an answer. Raises Damaged."""
    at = 0
    for _ in range(count):
        if at + _ITEM.size > len(items):
            raise Damaged("an answer of btrfs is cut short")
        _, _, start, kind, length = _ITEM.unpack_from(items, at)
        at += _ITEM.size
        if at + length > len(items) or length < _INLINE_HEAD.size:
            raise Damaged("an answer of btrfs is cut short")
        if kind == EXTENT_DATA:
            yield start, _file_extent(start, items[at : at + length])
        at += length


def _file_extent(start: int, item: memoryview) -> Extent | None:
    ram_bytes, kind = _INLINE_HEAD.unpack_from(item)[1], item[_INLINE_HEAD.size - 1]
    if kind == _INLINE:
        return start, -(-(start + ram_bytes) // _BLOCK) * _BLOCK, None
    if len(item) < _INLINE_HEAD.size + _REGULAR.size:
        raise Damaged("an extent of btrfs is cut short")
    address, _, offset, length = _REGULAR.unpack_from(item, _INLINE_HEAD.size)
    if not address or kind == _PREALLOCATED or not length:
        return None
    # Not the sum: of what is compressed, only the whole has an address.
    return start, start + length, (address, offset - start) if kind == _WRITTEN else None


# -------------------------------------------------------------------------------------------------------- comparison

_ZEROS: tuple[int, ...] = ()
_NEVER = sys.maxsize


def differing(old: list[Extent], new: list[Extent], size: int) -> list[Difference]:
    """Where two files may differ, up to `size`, in order."""
    found: list[Difference] = []
    at = i = j = 0
    while at < size:
        while i < len(old) and old[i][1] <= at:
            i += 1
        while j < len(new) and new[j][1] <= at:
            j += 1
        one = old[i] if i < len(old) else (_NEVER, _NEVER, None)
        other = new[j] if j < len(new) else (_NEVER, _NEVER, None)
        if one == other and (one[2] is not None or one[0] == _NEVER):
            at = one[1]
            continue
        before, until = (one[2], one[1]) if one[0] <= at else (_ZEROS, one[0])
        after, end = (other[2], other[1]) if other[0] <= at else (_ZEROS, other[0])
        end = min(until, end, size)
        if before != after or before is None:
            start, hole = at, after == _ZEROS
            if found and found[-1][1:] == (at, hole):
                start = found.pop()[0]
            found.append((start, end, hole))
        at = end
    return found
