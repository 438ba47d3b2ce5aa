"""Where the bytes of a file's content go: chunks are one stream, the file has it in extents with holes between."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged
from knowngood.core.ids import Name
from knowngood.core.ports import PageSource
from knowngood.tree.block import Content, Entry
from knowngood.tree.ranges import extents
from knowngood.tree.read import TreeReader

Span = tuple[int, int, int]
"""Offset in the file; from where to where in the chunk."""
Piece = tuple[Name | None, int, list[Span]]
"""One chunk: its name (None: it is inline), its length, and where it goes."""


def holes(entry: Entry) -> Iterator[tuple[int, int]]:
    """(offset, length) of the parts between them."""
    if not entry.extra.extents:
        if entry.content == Content.NONE and entry.size:
            yield 0, entry.size
        return
    end = 0
    for offset, length in extents(entry):
        if offset > end:
            yield end, offset - end
        end = offset + length
    if entry.size > end:
        yield end, entry.size - end


def data_bytes(entry: Entry) -> int:
    """How much content a file has: its size without its holes."""
    if not entry.extra.extents:
        return entry.size if entry.content != Content.NONE else 0
    return sum(length for _, length in extents(entry))


def pieces(entry: Entry, reader: TreeReader) -> Iterator[Piece]:
    """The chunks of a file in order, and where they go. Raises Damaged when they do not fill the file exactly."""
    if entry.content == Content.NONE:
        return  # empty, or one hole
    room = extents(entry)
    offset = left = 0
    for name, length in _chunks(entry, reader):
        spans: list[Span] = []
        at = 0
        while at < length:
            if not left:
                offset, left = next(room, (0, 0))
                if not left:
                    raise Damaged("there is more content than the file has room for")
            count = min(left, length - at)
            spans.append((offset, at, at + count))
            at, offset, left = at + count, offset + count, left - count
        yield name, length, spans
    if left or next(room, None):
        raise Damaged("there is less content than the file has room for")


def _chunks(entry: Entry, reader: TreeReader) -> Iterator[tuple[Name | None, int]]:
    if entry.content == Content.INLINE:
        yield None, len(entry.inline)
        return
    try:
        for name, length in reader.chunks(entry):
            yield Name(name), length
    except (ValueError, struct.error):  # names and lengths differ in number, extents are cut off
        raise Damaged("a list of chunks contradicts itself") from None


def fetch(piece: Piece, entry: Entry, pages: PageSource) -> Buffer:
    """The content of a piece. Raises NotFound, Damaged, Locked."""
    name, length, _ = piece
    if name is None:
        return entry.inline
    data = pages.chunk(name)
    if len(data) != length:
        raise Damaged(f"chunk {name.hex()[:16]} is not as long as it should be")
    return data
