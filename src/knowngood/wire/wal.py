"""SQLite's write-ahead log and its index, as bytes (sqlite.org: "Database File Format", "WAL-mode File Format")."""

from __future__ import annotations

import struct
import sys
from array import array
from functools import cache
from typing import NamedTuple

HEADER = 32
"""Bytes in front of the first frame."""

FRAME = 24
"""Bytes in front of the page of each frame."""

INDEX = 136
"""Bytes of the index that are looked at: its header, twice, and what checkpoints note."""

_HEADER = struct.Struct(">IIII8sII")
_FRAME = struct.Struct(">II8sII")
_INDEX = struct.Struct("=IIIBBHIIII8sII")
_MAGIC = 0x377F0682  # with 1 more, checksums are over big-endian words
_VERSION = 3007000
_WORD = (1 << 32) - 1
_FEW = 24  # pairs of words for which a loop is faster
_MOST = 1 << 15  # pairs that are summed at once
_NATIVE_BIG = sys.byteorder == "big"

Sums = tuple[int, int]


class WalHeader(NamedTuple):
    """The head of a log file. `salts` are others whenever the log begins anew: the first one grows by one, and so does
    the number of the log, which is 0 in a new file."""

    big: bool
    page_size: int
    number: int
    salts: bytes
    sums: Sums


class Frame(NamedTuple):
    """The head of a frame. `commit` is the length of the database in pages when it ends a transaction, else 0."""

    page: int
    commit: int
    salts: bytes
    sums: Sums


class WalIndex(NamedTuple):
    """How far the log goes: the frames of committed transactions, and the sums at the last one of them.

    `pages` is the length of the database then, `copied` how many frames were copied into the database file. Of a log
    that was never written to, nobody knows how large pages are: 0.
    """

    page_size: int
    frames: int
    pages: int
    sums: Sums
    salts: bytes
    copied: int


def parse_header(data: bytes) -> WalHeader | None:
    """The head of a log file; None when it has none that is whole."""
    if len(data) < HEADER:
        return None
    magic, version, page_size, number, salts, *sums = _HEADER.unpack_from(data)
    if magic & ~1 != _MAGIC or version != _VERSION or not is_page_size(page_size):
        return None
    big = bool(magic & 1)
    found = WalHeader(big, page_size, number, salts, (sums[0], sums[1]))
    return found if add(data[: HEADER - 8], (0, 0), big=big) == found.sums else None


def is_page_size(size: int) -> bool:
    """Whether a database can have such pages."""
    return 512 <= size <= 65536 and not size & (size - 1)


def parse_frame(data: bytes, at: int = 0) -> Frame:
    """The head of the frame that begins there."""
    page, commit, salts, *sums = _FRAME.unpack_from(data, at)
    return Frame(page, commit, salts, (sums[0], sums[1]))


def parse_index(data: bytes) -> WalIndex | None:
    """What the index says; None while somebody writes it, or when it is none."""
    one, other = data[: _INDEX.size], data[_INDEX.size : 2 * _INDEX.size]
    if len(data) < INDEX or one != other:
        return None
    version, _, _, ready, _, page_size, frames, pages, first, second, salts, *sums = _INDEX.unpack(one)
    page_size = 65536 if page_size == 1 else page_size
    if version != _VERSION or ready != 1 or not (is_page_size(page_size) or frames == page_size == 0):
        return None
    if add(one[:-8], (0, 0), big=_NATIVE_BIG) != (sums[0], sums[1]):
        return None
    (copied,) = struct.unpack_from("=I", data, 2 * _INDEX.size)
    return WalIndex(page_size, frames, pages, (first, second), salts, copied)


# ------------------------------------------------------------------------------------------------------------- sums


def add(data: bytes, sums: Sums, *, big: bool) -> Sums:
    """Sums, after `data` (a multiple of 8 bytes): for each pair of words, a += first + b, then b += second + a.

    That is linear: many pairs at once are numbers in one long number, and halves of it are added until one is left.
    """
    if big:
        words = array("I", data)
        words.byteswap()
        data = words.tobytes()
    at, left = 0, len(data) // 8
    while left:
        count = min(1 << (left.bit_length() - 1), _MOST)
        if count <= _FEW:
            return _loop(data[at:], sums)
        sums = _onto(sums, count, _block(data[at : at + 8 * count], count))
        at, left = at + 8 * count, left - count
    return sums


def _loop(data: bytes, sums: Sums) -> Sums:
    a, b = sums
    words = struct.unpack(f"<{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        a = (a + first + b) & _WORD
        b = (b + second + a) & _WORD
    return a, b


def _block(data: bytes, count: int) -> Sums:
    """Of a power of two of pairs, from nothing."""
    mask = _mask(count)
    both = int.from_bytes(data, "little")
    a = both & mask
    b = (a + (both >> 32 & mask)) & mask
    while count > 1:
        count //= 2
        mask, (p, q, r) = _mask(count), _power(count)
        bits = 64 * count
        a0, a1, b0, b1 = a & mask, a >> bits, b & mask, b >> bits
        a = ((p * a0 & mask) + (q * b0 & mask) + a1) & mask
        b = ((q * a0 & mask) + (r * b0 & mask) + b1) & mask
    return a, b


def _onto(sums: Sums, count: int, block: Sums) -> Sums:
    """Sums after a block, of those before it and those of the block from nothing."""
    p, q, r = _power(count)
    return (p * sums[0] + q * sums[1] + block[0]) & _WORD, (q * sums[0] + r * sums[1] + block[1]) & _WORD


@cache
def _mask(count: int) -> int:
    """Every other word of so many pairs."""
    return int.from_bytes(b"\xff\xff\xff\xff\0\0\0\0" * count, "little")


@cache
def _power(count: int) -> tuple[int, int, int]:
    """The symmetric matrix ((1, 1), (1, 2)), so many times: what one pair after the other does to sums."""
    if count == 1:
        return 1, 1, 2
    p, q, r = _power(count // 2)
    return (p * p + q * q) & _WORD, (p * q + q * r) & _WORD, (q * q + r * r) & _WORD
