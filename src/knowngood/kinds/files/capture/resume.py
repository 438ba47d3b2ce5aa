"""Huge files in the middle: what an interrupted capture had read of one, and what this one is reading now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from knowngood.core.ids import Name
from knowngood.kinds.files.capture.basis import Partial, Version
from knowngood.kinds.files.capture.old import OldTree
from knowngood.kinds.files.settled import settled
from knowngood.tree.block import ROW
from knowngood.tree.content import ChunkList, Extents, pack_extents

_CTIME = 6  # its place in a row


@dataclass(slots=True)
class Half:
    """A file that is being read."""

    directory: bytes
    name: bytes
    row: bytes
    extents: bytes
    began_ns: int
    chunks: ChunkList

    def partial(self) -> Partial | None:
        """What to note of it; None for a file whose times could not prove later that it is still the same."""
        if not settled(ROW.unpack(self.row)[_CTIME], self.began_ns):
            return None
        done = self.chunks
        head = (self.directory, self.name, self.row, self.began_ns, self.extents)
        return Partial(*head, done.pages, done.page_lengths, done.names, done.lengths)


class Interrupted:
    """What interrupted captures noted of the files they were in the middle of."""

    def __init__(self, versions: list[Version], old: OldTree, put: Callable[[bytes, bytes], Name]) -> None:
        self._old = old
        self._put = put
        self._halves: dict[tuple[bytes, bytes], Partial] = {}
        for version in versions:
            if version.partial:
                self._halves.setdefault(version.partial.place, version.partial)

    def begin(self, directory: bytes, name: bytes, row: bytes, extents: Extents, now_ns: int) -> Half:
        """Begin to read a file: with the chunks that the vault has already, if it is still the same file."""
        packed = pack_extents(extents)
        half = Half(directory, name, row, packed, now_ns, ChunkList(self._put))
        before = self._halves.pop((directory, name), None)
        if before and before.row == row and before.extents == packed:
            half.began_ns = before.began_ns
            self._continue(before, half.chunks)
        return half

    def _continue(self, before: Partial, chunks: ChunkList) -> None:
        """Take over chunks up to the first that the vault does not have."""
        for page, length in zip(before.pages, before.page_lengths, strict=True):
            names, lengths, whole = self._old.known_part(page)
            if not whole or not self._old.page_known(page):
                _add(chunks, names, lengths)
                return
            chunks.add_page(page, length)
        count = self._old.known_count(before.names)
        _add(chunks, before.names[:count], before.lengths[:count])


def _add(chunks: ChunkList, names: list[bytes], lengths: list[int]) -> None:
    for name, length in zip(names, lengths, strict=True):
        chunks.add(name, length)
