"""Where the bytes of a file are: any range of it → pieces of chunks, and holes between them."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from knowngood.core.errors import Damaged
from knowngood.core.ids import NAME_BYTES, Name
from knowngood.core.lru import Lru
from knowngood.tree.block import Content, Entry
from knowngood.tree.page import decode_list
from knowngood.tree.read import GetPage

Piece = tuple[Name | None, int, int, int]
"""A chunk, from where to where in it, and how long the chunk is; without a chunk, a hole that long (from 0)."""

CACHED_CHUNKS = 1 << 19
"""Chunks of lists that a cache holds: about 24 MiB."""

_PAIR = struct.Struct("<QQ")


def extents(entry: Entry) -> Iterator[tuple[int, int]]:
    """(offset, length) of the parts that hold data, one after the other: a file may have millions. Raises Damaged."""
    packed = entry.extra.extents
    if not packed:
        if entry.size:
            yield 0, entry.size
        return
    if len(packed) % _PAIR.size:
        raise Damaged("a list of extents is cut off")
    end = 0
    for offset, length in _PAIR.iter_unpack(packed):
        if not length:
            continue  # the one extent of a file that is all hole
        if offset < end or offset + length > entry.size:
            raise Damaged("a list of extents contradicts itself")
        end = offset + length
        yield offset, length


class ChunkList:
    """Names and lengths of consecutive chunks."""

    __slots__ = ("names", "size", "starts")

    def __init__(self, names: bytes, lengths: list[int] | tuple[int, ...]) -> None:
        if len(names) != NAME_BYTES * len(lengths) or min(lengths, default=0) < 0:
            raise Damaged("a list of chunks contradicts itself")
        self.names = names
        try:
            self.starts = array("Q", accumulate(lengths, initial=0))
        except OverflowError:
            raise Damaged("a list of chunks has impossible lengths") from None
        self.size = self.starts.pop()

    def name(self, at: int) -> Name:
        """The name of a chunk."""
        return Name(self.names[NAME_BYTES * at : NAME_BYTES * (at + 1)])

    def end(self, at: int) -> int:
        """Where a chunk ends."""
        return self.starts[at + 1] if at + 1 < len(self.starts) else self.size


Lists = Lru[Name, ChunkList]


def list_cache(chunks: int = CACHED_CHUNKS) -> Lists:
    """A cache of the lists of huge files; files may share it."""
    return Lru(chunks)


class FileMap:
    """The layout of one regular file or symlink. Memory: about 50 bytes per chunk or extent, but not for huge files.

    Raises Damaged when extents and chunks contradict each other.
    """

    def __init__(self, entry: Entry, get: GetPage, lists: Lists) -> None:
        self.size = entry.size
        self._get = get
        self._lists = lists
        self._inline = entry.inline if entry.content == Content.INLINE else None
        self._is_list = entry.content == Content.LIST
        self._offsets, self._ends, self._streams, stream = _places(entry)
        lengths = entry.extra.lengths or ((stream,) if entry.content == Content.CHUNK else ())
        self._chunks = ChunkList(entry.refs, lengths)
        held = len(entry.inline) if self._inline is not None else self._chunks.size
        if held != stream:
            raise Damaged("there is more or less content than the file has room for")

    @property
    def weight(self) -> int:
        """What it takes in memory, in chunks and extents."""
        return 1 + len(self._offsets) + len(self._chunks.starts)

    @property
    def inline(self) -> bytes | None:
        """The content of a tiny file; its pieces have no chunk to be read from."""
        return self._inline

    def pieces(self, offset: int, length: int) -> Iterator[Piece]:
        """What makes up a range, in order; it ends where the file does. Of an inline file the chunk is b""."""
        end = min(offset + length, self.size)
        extent = max(0, bisect_right(self._offsets, offset) - 1)
        while offset < end:
            if extent < len(self._offsets) and offset >= self._ends[extent]:
                extent += 1
            begin = self._offsets[extent] if extent < len(self._offsets) else self.size
            if offset < begin:
                count = min(begin, end) - offset
                yield None, 0, count, count
            else:
                count = min(self._ends[extent], end) - offset
                yield from self._stream(self._streams[extent] + offset - begin, count)
            offset += count

    def seek(self, offset: int, *, hole: bool) -> int | None:
        """Where data, or a hole, begins at or after an offset (lseek(2)); None when there is none."""
        if offset < 0 or offset >= self.size:
            return None
        extent = bisect_right(self._offsets, offset) - 1
        inside = extent >= 0 and offset < self._ends[extent]
        if not hole:
            after = extent + 1
            return offset if inside else self._offsets[after] if after < len(self._offsets) else None
        while inside:
            offset = self._ends[extent]
            extent += 1
            inside = extent < len(self._offsets) and self._offsets[extent] == offset
        return offset  # the end of a file counts as a hole

    def _stream(self, at: int, count: int) -> Iterator[Piece]:
        """Pieces of the content without holes."""
        if self._inline is not None:
            yield Name(b""), at, at + count, len(self._inline)
            return
        while count:
            base, chunks = self._list_at(at)
            chunk = bisect_right(chunks.starts, at - base) - 1
            start, end = base + chunks.starts[chunk], base + chunks.end(chunk)
            taken = min(end - at, count)
            if taken <= 0:
                raise Damaged("a list of chunks contradicts itself")
            yield chunks.name(chunk), at - start, at - start + taken, end - start
            at += taken
            count -= taken

    def _list_at(self, at: int) -> tuple[int, ChunkList]:
        """The list with the chunk of a position, and where the list begins."""
        if not self._is_list:
            return 0, self._chunks
        page = bisect_right(self._chunks.starts, at) - 1
        name, start = self._chunks.name(page), self._chunks.starts[page]
        found = self._lists.get(name)
        if found is None:
            names, lengths = decode_list(*self._get(name))
            found = ChunkList(b"".join(names), lengths)
            self._lists.put(name, found, len(lengths))
        if found.size != self._chunks.end(page) - start:
            raise Damaged("a list of chunks is not as long as it should be")
        return start, found


def _places(entry: Entry) -> tuple[array[int], array[int], array[int], int]:
    """Offsets and ends of the parts that hold data, where in the content each begins, and how long the content is."""
    offsets, ends, streams = array("Q"), array("Q"), array("Q")
    stream = 0
    for offset, length in extents(entry) if entry.content != Content.NONE else ():
        offsets.append(offset)
        ends.append(offset + length)
        streams.append(stream)
        stream += length
    return offsets, ends, streams, stream
