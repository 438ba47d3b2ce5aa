"""A file of an image whose pages change in place, such as a database of SQLite: in pieces, of which some are dirty."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from knowngood.core.errors import Damaged
from knowngood.core.ports import ChunkSink
from knowngood.core.sizes import KIB
from knowngood.tree.content import ChunkList

PAGED_PIECE = 64 * KIB
"""Small: one page that changed makes a whole piece of the next checkpoint new."""

Columns = tuple[int, bytes, tuple[int, ...]]
"""Where content is, its references, the lengths of its chunks."""

ReadAt = Callable[[bytes, int, int], bytes]
"""Path, offset, length → what the database has there at the position that was taken last."""


class Paged(msgspec.Struct, array_like=True):
    """Such a file. `names` are those of its pieces; what is `dirty` differs from what a committed checkpoint has."""

    inode: int
    mode: int
    size: int
    mtime_ns: int
    piece: int
    names: list[bytes] = []
    dirty: set[int] = set()
    waiting: int = 0  # bytes that were written since a checkpoint was committed

    def fill(self, sink: ChunkSink, read: Callable[[int], bytes]) -> Columns:
        """Begin with what `read` gives until it gives nothing: at most so many bytes a call. Where the content is."""
        chunks, ended = ChunkList(sink.page), False
        while not ended:
            data = b""
            while len(data) < self.piece and not ended:
                part = read(self.piece - len(data))
                data, ended = data + part, not part
            if data:
                self.names.append(sink.add(data))
                chunks.add(self.names[-1], len(data))
        self.size = chunks.total
        return chunks.finish()

    def write(self, offset: int, length: int) -> None:
        """These bytes are others now."""
        if offset + length > self.size:
            self.resize(offset + length)
        self.dirty.update(range(offset // self.piece, _ceil(offset + length, self.piece)))
        self.waiting += length

    def resize(self, size: int) -> None:
        """It ends elsewhere: the pieces around both ends are others now."""
        least, most = min(size, self.size), max(size, self.size)
        self.dirty.update(range(least // self.piece, _ceil(most, self.piece)))
        self.size = size

    def content(self, sink: ChunkSink, path: bytes, read: ReadAt) -> Columns:
        """Put what is dirty into the sink; where the content is. Raises Damaged, and what `read` raises."""
        count = _ceil(self.size, self.piece)
        del self.names[count:]
        self.names += [b""] * (count - len(self.names))
        for number in sorted(each for each in self.dirty if each < count):
            data = read(path, number * self.piece, self._length(number))
            if len(data) != self._length(number):
                raise Damaged("a file of a database is shorter than its server says")
            self.names[number] = sink.add(data)
        chunks = ChunkList(sink.page)
        for number, name in enumerate(self.names):
            chunks.add(name, self._length(number))
        return chunks.finish()

    def _length(self, number: int) -> int:
        return min(self.piece, self.size - number * self.piece)

    def landed(self) -> None:
        """A committed checkpoint has what `content` put."""
        self.dirty.clear()
        self.waiting = 0


def _ceil(size: int, piece: int) -> int:
    return -(-size // piece)
