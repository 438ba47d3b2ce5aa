"""A source of pages and chunks over another: with pages that an edit made, and chunks that are put together when asked.

Names in it begin with 16 random bytes: no name of a vault, which is a keyed hash, is ever one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged
from knowngood.core.ids import Name, new_id
from knowngood.core.ports import PageSource
from knowngood.tree.sources import Scratch, Sources
from knowngood.tree.stored import Source

Part = tuple[Source, int, int]
"""Where bytes come from, from where in it, and how many."""


class OverlaySource:
    """A page source (port). Several threads may read at once, if the base and the scratch allow it.

    Memory: the pages that were put, and about 200 bytes for each part of a made chunk.
    """

    def __init__(self, base: PageSource, scratch: Scratch) -> None:
        self._base = base
        self._sources = Sources(base, scratch)
        self._pages: dict[Name, tuple[bytes, bytes]] = {}
        self._chunks: dict[Name, tuple[Part, ...]] = {}
        self._prefix = new_id()
        self._numbers = count()

    def page(self, name: Name) -> tuple[bytes, bytes]:
        """References and body of a page. Raises NotFound, Damaged, Locked."""
        return self._pages.get(name) or self._base.page(name)

    def chunk(self, name: Name) -> Buffer:
        """Content of a chunk. Raises NotFound, Damaged, Locked."""
        parts = self._chunks.get(name)
        if parts is None:
            return self._base.chunk(name)
        found = [self._sources.bytes(*part) for part in parts]
        if any(len(data) != part[2] for data, part in zip(found, parts, strict=True)):
            raise Damaged("a part of changed content is shorter than it should be")
        return b"".join(found)

    def made(self, name: bytes) -> bool:
        """Whether a name stands for something that is only here, and not in the base."""
        return name.startswith(self._prefix)

    def put(self, refs: bytes, body: bytes) -> Name:
        """Take a page: what `edit` and lists of chunks are given to store their pages by."""
        name = self._name()
        self._pages[name] = (bytes(refs), bytes(body))
        return name

    def add(self, parts: Sequence[Part]) -> Name:
        """Take a chunk that is made of these parts."""
        name = self._name()
        self._chunks[name] = tuple(parts)
        return name

    def _name(self) -> Name:
        return Name(self._prefix + next(self._numbers).to_bytes(16, "big"))
