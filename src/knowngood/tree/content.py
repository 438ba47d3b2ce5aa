"""How an entry describes the content of a file: its chunks, lists of many, and the parts that hold data."""

from __future__ import annotations

import struct
from collections.abc import Callable
from zlib import crc32

from knowngood.core.ids import Name
from knowngood.core.sizes import KIB
from knowngood.tree.block import Content
from knowngood.tree.page import encode_list

INLINE_BYTES = 128  # content up to here is kept in the tree itself
DIRECT_CHUNKS = 1024  # a file with more chunks names pages that list them
EXTENTS = 64 * KIB  # so many parts of a sparse file at most
_PAGE_CHUNKS = 4096
_PAGE_MASK = 1023
_EXTENT = struct.Struct("<QQ")

Extents = list[tuple[int, int]]
"""(offset, length) of each part that holds data. Empty: the file has no holes."""


def pack_extents(extents: Extents) -> bytes:
    """As `Extra.extents` keeps them."""
    return b"".join(_EXTENT.pack(*extent) for extent in extents)


def joined(extents: Extents, smallest: int) -> Extents:
    """Extents with the holes below `smallest` bytes filled in."""
    joined = [extents[0]]
    for offset, length in extents[1:]:
        start, before = joined[-1]
        if offset - (start + before) < smallest:
            joined[-1] = (start, offset + length - start)
        else:
            joined.append((offset, length))
    return joined


class ChunkList:
    """The chunks of one file, in order; full pages of them leave memory.

    Where a page ends depends on the chunks alone, so that a change in a huge file leaves the other pages as they were.
    """

    def __init__(self, put: Callable[[bytes, bytes], Name]) -> None:
        self.pages: list[bytes] = []
        self.page_lengths: list[int] = []
        self.names: list[bytes] = []
        self.lengths: list[int] = []
        self._put = put

    @property
    def total(self) -> int:
        """Bytes of content so far."""
        return sum(self.page_lengths) + sum(self.lengths)

    def add(self, name: bytes, length: int) -> None:
        """Append a chunk."""
        self.names.append(name)
        self.lengths.append(length)
        count = len(self.names)
        if count > DIRECT_CHUNKS and (count == _PAGE_CHUNKS or not crc32(name) & _PAGE_MASK):
            self._end_page()

    def add_page(self, page: bytes, length: int) -> None:
        """Append a page that is in the vault already; it is the next one, whatever is pending."""
        if self.names:
            self._end_page()
        self.pages.append(page)
        self.page_lengths.append(length)

    def _end_page(self) -> None:
        self.pages.append(self._put(*encode_list(self.names, self.lengths)))
        self.page_lengths.append(sum(self.lengths))
        self.names, self.lengths = [], []

    def finish(self) -> tuple[int, bytes, tuple[int, ...]]:
        """Where the content is, its references, and the lengths that the extra keeps."""
        if self.names and (self.pages or len(self.names) > DIRECT_CHUNKS):
            self._end_page()
        if self.pages:
            return int(Content.LIST), b"".join(self.pages), tuple(self.page_lengths)
        if len(self.names) > 1:
            return int(Content.CHUNKS), b"".join(self.names), tuple(self.lengths)
        return int(Content.CHUNK if self.names else Content.NONE), b"".join(self.names), ()
