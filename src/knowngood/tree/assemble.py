"""From the pieces of a changed file to the columns of its entry: as a capture would have made them, of made chunks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from knowngood.core.sizes import KIB, MIB
from knowngood.tree.block import Content
from knowngood.tree.content import EXTENTS, INLINE_BYTES, ChunkList, Extents, joined, pack_extents
from knowngood.tree.overlay import OverlaySource, Part
from knowngood.tree.pieces import Pieces
from knowngood.tree.sources import Sources
from knowngood.tree.stored import Chunk, Listed, Source

HOLE = 4 * KIB  # holes are whole blocks, as file systems have them
MADE_BYTES = MIB  # a made chunk ends when it has so much…
MADE_LIMIT = 4 * MIB  # …and never has more

Columns = tuple[int, bytes, bytes, tuple[int, ...], bytes]
"""Content, references, inline content, lengths, packed extents."""


def assemble(file: Pieces, overlay: OverlaySource, sources: Sources) -> Columns:
    """Describe the content of a file. Chunks and list pages that it still has whole keep their names, unread.

    Raises Damaged, NotFound, Locked.
    """
    if file.size <= INLINE_BYTES:
        inline = bytes(file.read(0, file.size))
        return int(Content.INLINE if inline else Content.NONE), b"", inline, (), b""
    if file.size <= MADE_LIMIT and (part := _only(file)):
        return int(Content.CHUNK), _chunk_of(part, overlay), b"", (), b""
    extents = data_extents(file) if file.size > HOLE else []
    made = _Assembly(overlay, sources)
    for offset, length in extents or [(0, file.size)]:
        for part in _parts(file, offset, offset + length):
            made.add(*part)
    content, refs, lengths = made.finish()
    return content, refs, b"", lengths, pack_extents(extents)


def _only(file: Pieces) -> Part | None:
    """What a file has that is in one piece, as small ones are."""
    pieces = list(islice(file.pieces(0, file.size), 2))
    if len(pieces) != 1:
        return None
    low, high, source, at = pieces[0]
    return None if low or high < file.size or isinstance(source, Listed) else (source, at, high)


def _chunk_of(part: Part, overlay: OverlaySource) -> bytes:
    """The name of a chunk that is just this part."""
    source, at, length = part
    if isinstance(source, Chunk) and not at and length == source.length:
        return source.name
    return overlay.add([part])


def data_extents(file: Pieces) -> Extents:
    """Where a file has data, in whole blocks; empty when it has no hole, one empty extent when it is all hole."""
    found: Extents = []
    start = at = 0  # where an extent began, and where its data ends so far
    for low, high in [*_stretches(file), (file.size, file.size)]:
        hole = min(-(-at // HOLE) * HOLE, file.size)
        hole_end = low if low == file.size else low // HOLE * HOLE
        if hole < hole_end:
            if start < hole:
                found.append((start, hole - start))
            start = hole_end
        at = high
    if start < file.size:
        found.append((start, file.size - start))
    smallest = HOLE
    while len(found) > EXTENTS:
        smallest *= 2
        found = joined(found, smallest)
    return [] if found == [(0, file.size)] else found or [(0, 0)]


def _stretches(file: Pieces) -> Iterator[tuple[int, int]]:
    """From where to where there is data without a gap."""
    start = end = -1
    for low, high, _, _ in file.pieces(0, file.size):
        if low != end:
            if start >= 0:
                yield start, end
            start = low
        end = high
    if start >= 0:
        yield start, end


def _parts(file: Pieces, start: int, end: int) -> Iterator[Part]:
    """The data of one extent, with zeros where it has none."""
    at = start
    for low, high, source, inside in file.pieces(start, end):
        if low > at:
            yield None, 0, low - at
        yield source, inside, high - low
        at = high
    if at < end:
        yield None, 0, end - at


class _Assembly:
    """Makes chunks of parts that come in order."""

    def __init__(self, overlay: OverlaySource, sources: Sources) -> None:
        self._overlay = overlay
        self._sources = sources
        self._list = ChunkList(overlay.put)
        self._last: Part = (None, 0, 0)
        self._made: list[Part] = []
        self._bytes = 0

    def add(self, source: Source, at: int, length: int) -> None:
        """Append a part; what follows the one before in the same source goes on with it."""
        before, start, count = self._last
        if before == source and (source is None or start + count == at):
            self._last = (source, start, count + length)
            return
        self._settle()
        self._last = (source, at, length)

    def finish(self) -> tuple[int, bytes, tuple[int, ...]]:
        """Where the content is, its references, and the lengths that the extra keeps."""
        self._settle()
        self._end_made()
        return self._list.finish()

    def _settle(self) -> None:
        source, at, length = self._last
        if isinstance(source, Listed) and (at or length < source.length):
            for part in self._sources.parts(source, at, length):
                self._place(*part)
        elif length:
            self._place(source, at, length)

    def _place(self, source: Source, at: int, length: int) -> None:
        whole = isinstance(source, Chunk | Listed) and not at and length == source.length
        if not whole:
            self._make(source, at, length)
            return
        self._end_made()
        assert isinstance(source, Chunk | Listed)
        (self._list.add if isinstance(source, Chunk) else self._list.add_page)(source.name, source.length)

    def _make(self, source: Source, at: int, length: int) -> None:
        while length:
            count = min(length, MADE_LIMIT)
            if self._bytes + count > MADE_LIMIT:
                self._end_made()
            self._made.append((source, at, count))
            self._bytes += count
            if self._bytes >= MADE_BYTES:
                self._end_made()
            at, length = at + count, length - count

    def _end_made(self) -> None:
        if self._made:
            self._list.add(self._overlay.add(self._made), self._bytes)
            self._made, self._bytes = [], 0
