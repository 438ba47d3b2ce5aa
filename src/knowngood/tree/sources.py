"""Reads pieces: from the vault, from the scratch."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from itertools import accumulate
from typing import Protocol

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged
from knowngood.core.ids import Name
from knowngood.core.ports import PageSource
from knowngood.tree.page import decode_list
from knowngood.tree.stored import Chunk, Listed, Piece, Source


class Scratch(Protocol):
    """Where replay lays down the bytes that a log brings, so that they take no memory (port).

    What was put stays readable until the scratch is thrown away. `get` may be called by several threads at once.
    """

    def put(self, data: Buffer) -> int:
        """Take some bytes; return a handle, which is not negative. Raises NoSpace."""
        ...

    def get(self, handle: int, offset: int, length: int) -> Buffer:
        """Bytes of what was put under a handle."""
        ...


class Sources:
    """Bytes of pieces. Memory: `keep` chunks."""

    def __init__(self, pages: PageSource, scratch: Scratch, keep: int = 0) -> None:
        """`keep` chunks are remembered for those who come back to them; it must be 0 where several threads read."""
        self._pages = pages
        self._scratch = scratch
        self._keep = keep
        self._kept: OrderedDict[bytes, Buffer] = OrderedDict()

    def read(self, pieces: Iterable[Piece], start: int, end: int) -> bytearray:
        """The bytes between two offsets of a file of which these are the pieces; zeros where there is none.

        Raises Damaged, NotFound, Locked.
        """
        found = bytearray(end - start)
        for low, high, source, at in pieces:
            if source is not None:
                found[low - start : high - start] = self.bytes(source, at, high - low)
        return found

    def bytes(self, source: Source, at: int, length: int) -> Buffer:
        """Bytes of one source. Raises Damaged, NotFound, Locked."""
        if source is None:
            return bytes(length)
        if isinstance(source, int):
            return self._scratch.get(source, at, length)
        if isinstance(source, bytes):
            return source[at : at + length]
        if isinstance(source, Chunk):
            return memoryview(self._chunk(source))[at : at + length]
        return b"".join(self.bytes(chunk, inside, count) for chunk, inside, count in self.parts(source, at, length))

    def parts(self, page: Listed, at: int, length: int) -> list[tuple[Chunk, int, int]]:
        """What a stretch of a list page is made of: chunks, and from where and how many bytes of each."""
        names, lengths = decode_list(*self._pages.page(Name(page.name)))
        starts = list(accumulate(lengths, initial=0))
        if starts[-1] != page.length:
            raise Damaged("a list page has more or less content than it should")
        found: list[tuple[Chunk, int, int]] = []
        number = bisect_right(starts, at) - 1
        while length:
            inside = at - starts[number]
            count = min(length, lengths[number] - inside)
            if count:
                found.append((Chunk(names[number], lengths[number]), inside, count))
            at, length, number = at + count, length - count, number + 1
        return found

    def _chunk(self, chunk: Chunk) -> Buffer:
        data = self._kept.get(chunk.name)
        if data is None:
            data = self._pages.chunk(Name(chunk.name))
            if len(data) != chunk.length:
                raise Damaged(f"chunk {chunk.name.hex()[:16]} is not as long as it should be")
            if self._keep:
                self._kept[chunk.name] = data
                if len(self._kept) > self._keep:
                    self._kept.popitem(last=False)
        elif self._keep:
            self._kept.move_to_end(chunk.name)
        return data
