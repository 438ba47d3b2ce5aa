"""Takes a block apart without looking at each of its entries: runs of them, or single ones, out of the columns."""

from __future__ import annotations

from functools import cached_property
from itertools import compress

from knowngood.core.errors import Damaged
from knowngood.core.ids import NAME_BYTES
from knowngood.tree.block import NO_EXTRA, ROW, Block, Content, Entry, Run, decode_extras, sizes_of, uses_of

_INLINE = bytes([Content.INLINE])
_IS_INLINE = bytes(content == Content.INLINE for content in range(256))
_CHUNK = bytes([Content.CHUNK])


class Columns:
    """The entries of a block, taken from its beginning on, as many at a time as wished."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.at = 0  # entries taken so far
        self._extras = decode_extras(block.extras)
        self._refs_at = self._inline_at = 0

    @cached_property
    def names(self) -> list[bytes]:
        """All names."""
        return self.block.names.split(b"\0")

    def skip(self, upto: int) -> None:
        """Go on to the entry of this number."""
        self._refs_at, self._inline_at = self._ends(upto)
        self.at = upto

    def run(self, upto: int) -> Run:
        """The entries from the next one on, up to the one of this number, which is left out. They are not taken yet."""
        block, at = self.block, self.at
        refs_end, inline_end = self._ends(upto)
        return Run(
            self.names[at:upto],
            block.rows[ROW.size * at : ROW.size * upto],
            block.contents[at:upto],
            block.refs[self._refs_at : refs_end],
            block.inline[self._inline_at : inline_end],
            {number - at: extra for number, extra in self._extras.items() if at <= number < upto},
        )

    def entry(self, name: bytes | None = None) -> Entry:
        """The next entry, of which the name may be known. It is not taken yet."""
        block, at = self.block, self.at
        content, extra = block.contents[at], self._extras.get(at, NO_EXTRA)
        row = block.rows[ROW.size * at : ROW.size * (at + 1)]
        refs_end, inline_end = self._ends(at + 1)
        refs, inline = block.refs[self._refs_at : refs_end], block.inline[self._inline_at : inline_end]
        name = self.names[at] if name is None else name
        return Entry.of(block.directory, name, row, block.file_system, content, refs, inline, extra)

    def finish(self) -> None:
        """All were taken. Raises Damaged when they did not use all that the block has."""
        if self._refs_at != len(self.block.refs) or self._inline_at != len(self.block.inline):
            raise Damaged("the entries of a block do not use all it has")

    def _ends(self, upto: int) -> tuple[int, int]:
        """Where the references and inline content of the entries before this number end."""
        contents, at = self.block.contents, self.at
        uses = contents.count(_CHUNK, at, upto)
        for number, extra in self._extras.items():
            if at <= number < upto and contents[number] != Content.CHUNK:
                uses += uses_of(contents[number], extra)
        inline = self._inline_at
        if contents.find(_INLINE, at, upto) >= 0:
            sizes = sizes_of(self.block.rows[ROW.size * at : ROW.size * upto])
            inline += sum(compress(sizes, contents[at:upto].translate(_IS_INLINE)))
        return self._refs_at + NAME_BYTES * uses, inline


def position(block: Block, name: bytes) -> int | None:
    """The number of the entry of this name in a block; None when there is none."""
    names = block.names
    if names.startswith(name) and names[len(name) : len(name) + 1] in (b"", b"\0"):
        return 0
    at = names.find(b"\0" + name + b"\0")
    if at < 0:
        if not names.endswith(b"\0" + name):
            return None
        at = len(names) - len(name) - 1
    return names.count(b"\0", 0, at) + 1


def find(block: Block, name: bytes) -> Entry | None:
    """The entry of this name in a block. Raises Damaged."""
    number = position(block, name)
    return None if number is None else entry_at(block, number, name)


def entry_at(block: Block, number: int, name: bytes) -> Entry:
    """The entry of this number, and name, in a block. Raises Damaged."""
    columns = Columns(block)
    columns.skip(number)
    return columns.entry(name)
