"""Where the bytes of a file are: pieces of chunks, of list pages, of what a log brought, and zeros."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from knowngood.core.errors import Damaged
from knowngood.core.ids import NAME_BYTES
from knowngood.tree.block import Content, Entry


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a vault, and its length in bytes."""

    name: bytes
    length: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A list page of a vault, and the bytes of content behind it."""

    name: bytes
    length: int


Source = Chunk | Listed | bytes | int | None
"""Where bytes come from. `bytes`: themselves. A number: a handle of the scratch. None: zeros."""

Piece = tuple[int, int, Source, int]
"""From where to where in the file, and where the bytes begin in their source."""


class Stored:
    """The content of an entry, as pieces. Memory: about 40 bytes for each chunk, list page and extent."""

    def __init__(self, entry: Entry) -> None:
        """Raises Damaged when extents, lengths and references contradict each other."""
        self._content = entry.content
        self._refs = entry.refs
        self._inline = entry.inline
        try:
            extents = [] if entry.content == Content.NONE else [each for each in entry.extents() if each[1]]
        except struct.error:
            raise Damaged("a list of extents is cut off") from None
        self._offsets = [offset for offset, _ in extents]
        self._streams = list(accumulate((length for _, length in extents), initial=0))
        self._starts = list(accumulate(self._lengths(entry, self._streams[-1]), initial=0))
        if self._starts[-1] != self._streams[-1]:
            raise Damaged("there is more or less content than a file has room for")
        ends = [offset + length for offset, length in extents]
        if any(end > offset for end, offset in zip(ends, self._offsets[1:], strict=False)) or ends[-1:] > [entry.size]:
            raise Damaged("a list of extents contradicts itself")

    @staticmethod
    def _lengths(entry: Entry, total: int) -> tuple[int, ...]:
        if entry.content == Content.NONE:
            return ()
        if entry.content == Content.INLINE:
            return (len(entry.inline),)
        lengths = (total,) if entry.content == Content.CHUNK else entry.extra.lengths
        if len(entry.refs) != NAME_BYTES * len(lengths):
            raise Damaged("a list of chunks contradicts itself")
        return lengths

    def _source(self, number: int) -> Source:
        if self._content == Content.INLINE:
            return self._inline
        kind = Listed if self._content == Content.LIST else Chunk
        length = self._starts[number + 1] - self._starts[number]
        return kind(self._refs[NAME_BYTES * number : NAME_BYTES * (number + 1)], length)

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """The data between two offsets, in order; holes are left out."""
        first = max(0, bisect_right(self._offsets, start) - 1)
        for number in range(first, len(self._offsets)):
            offset = self._offsets[number]
            if offset >= end:
                return
            stream = self._streams[number]
            low, high = max(start, offset), min(end, offset + self._streams[number + 1] - stream)
            yield from self._stretch(low, high, stream + low - offset)

    def _stretch(self, low: int, high: int, stream: int) -> Iterator[Piece]:
        """The same within one extent; `stream` is the place of `low` among all the data."""
        number = bisect_right(self._starts, stream) - 1
        while low < high:
            at = stream - self._starts[number]
            count = min(high - low, self._starts[number + 1] - stream)
            if count:
                yield low, low + count, self._source(number), at
            low, stream, number = low + count, stream + count, number + 1
