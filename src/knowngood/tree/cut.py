"""Cuts the entries of directories into blocks, exactly as a capture does that lists them from nothing.

A *cut* is what `ends_block` makes by the names alone. Within one, a block that is full ends early; the count by which
the cut ends goes on. So where blocks end depends on the entries since the cut began, and on nothing before.
"""

from __future__ import annotations

from collections.abc import Callable

from knowngood.tree.block import Block, BlockWriter, Entry
from knowngood.tree.build import ends_block, fitting
from knowngood.tree.columns import Columns

Home = tuple[bytes, int]
"""Directory and file system: a block has entries of one."""


class Cutter:
    """Takes entries in tree order, gives blocks to `add`."""

    def __init__(self, add: Callable[[Block], object]) -> None:
        self.home: Home | None = None
        self.count = 0  # entries of the cut so far
        self._add = add
        self._writer: BlockWriter | None = None

    @property
    def between(self) -> bool:
        """Whether no block is open."""
        return self._writer is None

    def counted(self, home: Home) -> int:
        """How many entries the cut has into which the next entry of this home comes."""
        return self.count if home == self.home else 0

    def resume(self, home: Home, count: int) -> None:
        """Go on between two blocks, in a cut that has so many entries already. No block may be open."""
        assert self.between
        self.home, self.count = home, count

    def end(self) -> None:
        """The next entry is one of another home."""
        self._end_block()
        self.home, self.count = None, 0

    def entry(self, entry: Entry) -> None:
        """Take one entry."""
        writer = self._open((entry.directory, entry.file_system))
        writer.add(entry.name, entry.row, entry.content, entry.refs, entry.inline, entry.extra)
        self._added(1, entry.name)

    def run(self, columns: Columns, upto: int) -> None:
        """Take the entries of a block up to the one of this number, which is left out."""
        home = columns.block.directory, columns.block.file_system
        while columns.at < upto:
            writer = self._open(home)
            count = fitting(self.count, columns.names[columns.at : upto])
            if not writer.extend(columns.run(columns.at + count)):
                self._single(columns)
                continue
            columns.skip(columns.at + count)
            self._added(count, columns.names[columns.at - 1])

    def _single(self, columns: Columns) -> None:
        self.entry(columns.entry())
        columns.skip(columns.at + 1)

    def _open(self, home: Home) -> BlockWriter:
        if home != self.home:
            self.end()
            self.home = home
        if self._writer is None:
            self._writer = BlockWriter(*home)
        return self._writer

    def _added(self, count: int, last: bytes) -> None:
        self.count += count
        assert self._writer is not None
        if ends_block(self.count, last):
            self._end_block()
            self.count = 0
        elif self._writer.full:
            self._end_block()

    def _end_block(self) -> None:
        if self._writer is not None:
            self._add(self._writer.block())
            self._writer = None
