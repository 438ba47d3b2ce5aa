"""Changes some entries of a tree; reads and writes only the pages that change.

The result is the tree that building all of it anew would give, to the byte. Where blocks, leaves and nodes end depends
on what is in them since the one before ended, so it is enough to begin where one did, and to go on until the new tree
ends a block, a leaf, a node where the old one did: from there on both are the same again, page for page.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from knowngood.core.ids import Name
from knowngood.tree.block import Block, Entry
from knowngood.tree.build import PutPage, TreeBuilder, ends_block
from knowngood.tree.columns import Columns
from knowngood.tree.cut import Cutter, Home
from knowngood.tree.page import Child
from knowngood.tree.read import GetPage, TreeReader


@dataclass(frozen=True, slots=True)
class Change:
    """What is in one place from now on: an entry, or nothing.

    An empty name stands for all that is in `directory` and below it, which goes; the entry of the directory itself is
    in the directory above. What is to be there afterwards comes as further changes.
    """

    directory: bytes
    name: bytes
    entry: Entry | None = None

    @property
    def key(self) -> tuple[bytes, bytes]:
        """Its place in tree order."""
        return self.directory, self.name


def edit(root: Name, get: GetPage, put: PutPage, changes: Iterable[Change]) -> Name:
    """Carry out changes, which come in tree order and at most one for a place; return the root of the new tree.

    Removing what is not there does nothing. The file system of an entry is taken as it says. Raises Damaged, and what
    `get` and `put` raise.
    """
    remaining = iter(changes)
    first = next(remaining, None)
    return root if first is None else _Editor(root, get, put, first, remaining).run()


class _Editor:
    """One edit.

    While `_same`, the next entry comes into the same cut, of as many entries, as in the old tree, and no block is open.
    """

    def __init__(self, root: Name, get: GetPage, put: PutPage, first: Change, rest: Iterator[Change]) -> None:
        self._tree = TreeReader(root, get, keep=4)
        self._cursor = self._tree.cursor()
        self._builder = TreeBuilder(put)
        self._cutter = Cutter(self._builder.add)
        self._change: Change | None = first
        self._changes = rest
        self._same = True
        # the cut of the old tree into which the next of its entries comes, if that has this home
        self._home: Home | None = None
        self._count: int | None = 0  # its entries so far; None where pages went by unread

    def run(self) -> Name:
        """The new root."""
        while (head := self._cursor.head) is not None or self._change is not None:
            if head is None or (self._change is not None and self._change.key < head.key):
                self._insert()
            elif isinstance(head, Child):
                self._page(head)
            else:
                self._block(head)
        self._cutter.end()
        return self._builder.finish()

    def _next_change(self) -> Change | None:
        self._change = next(self._changes, None)
        return self._change

    def _reaches(self, after: tuple[bytes, bytes] | None) -> bool:
        """Whether the next change can move an end that was before `after`.

        Up to there it can; and there as well: if another file system begins, the end goes by that one entry.
        """
        return self._change is not None and (after is None or self._change.key <= after)

    def _changes_at(self, head: Child | Block) -> bool:
        """Whether the very first entry of what comes next changes: then it may be one of another file system."""
        return self._change is not None and self._change.key == head.key

    def _insert(self) -> None:
        """A change before all that is left of the old tree."""
        change = self._change
        assert change is not None
        if not change.name:
            self._cursor.skip(change.directory)
            if self._same:
                self._cutter.end()
            self._home, self._count = None, 0
        elif change.entry is not None:
            if self._same:  # here begins a directory: its last block would have been opened otherwise
                self._cutter.end()
                self._home, self._count = None, 0
            self._same = False
            self._cutter.entry(change.entry)
        self._next_change()

    def _page(self, page: Child) -> None:
        """A page of the old tree: it goes into the new one as it is, or is read."""
        if not self._same and not self._changes_at(page):
            self._meet_page(page)
        after = self._cursor.after
        touched = self._reaches(after)
        by_content = after is not None or not page.level  # the last node of each level ended with the tree
        if self._same and not touched and by_content and self._builder.takes(page.level):
            self._builder.graft(page)
            self._cursor.pop()
            self._home, self._count = None, None
            return
        if page.entries and not page.level:
            self._builder.know(page)
        self._cursor.expand()

    def _block(self, block: Block) -> None:
        home = block.directory, block.file_system
        if not self._same and not self._changes_at(block):
            self._meet_block(home)
        change = self._change
        touched = change is not None and change.directory == block.directory and self._reaches(self._cursor.after)
        if self._same and not touched:
            self._builder.add(block)
        else:
            if self._same:
                self._count = self._count_before(block)
                self._home = home
                self._cutter.resume(home, self._count)
                self._same = False
            self._merge(block)
        self._passed(block)
        self._cursor.pop()

    def _merge(self, block: Block) -> None:
        """The entries of a block, and the changes among them."""
        columns = Columns(block)
        names = columns.names
        change = self._change
        while change is not None and change.directory == block.directory and change.name <= names[-1]:
            at = bisect_left(names, change.name, columns.at)
            self._cutter.run(columns, at)
            if names[at] == change.name:
                columns.skip(at + 1)
            if change.entry is not None:
                self._cutter.entry(change.entry)
            change = self._next_change()
        self._cutter.run(columns, len(names))
        columns.finish()

    # ------------------------------------------------------------------------------------- where both are the same

    def _meet_block(self, home: Home) -> None:
        """See whether new and old tree are the same again where a block of this home begins."""
        old = self._count if home == self._home else 0
        if self._cutter.counted(home) == old and (home != self._cutter.home or self._cutter.between):
            self._meet(home, old)

    def _meet_page(self, page: Child) -> None:
        """The same where a page begins, of which only the directory is known."""
        for home in (self._home, self._cutter.home):
            if home is not None and home[0] == page.directory:
                if self._home == self._cutter.home:
                    self._meet_block(home)
                return
        self._meet(None, 0)

    def _meet(self, home: Home | None, count: int | None) -> None:
        if home != self._cutter.home or home is None:
            self._cutter.end()
        self._home, self._count = home, count
        self._same = True

    def _passed(self, block: Block) -> None:
        """Count a block of the old tree that went by."""
        home = block.directory, block.file_system
        if home != self._home and self._count is not None:
            self._count = 0
        self._home = home
        if not block.full:
            self._count = 0  # its names ended it, or its directory did
        elif self._count is not None:
            self._count += block.count
            if ends_block(self._count, block.last):
                self._count = 0

    def _count_before(self, block: Block) -> int:
        """How many entries the cut of a block has before it, in the old tree."""
        home = block.directory, block.file_system
        if self._count is not None:
            return self._count if home == self._home else 0
        full: list[Block] = []
        first = block.first
        while blocks := [each for each in self._tree.before(block.directory, first) if each.key < (home[0], first)]:
            for each in reversed(blocks):
                if (each.directory, each.file_system) != home or not each.full:
                    break
                full.append(each)
            else:
                first = blocks[0].first
                continue
            break
        count = 0
        for each in reversed(full):
            count += each.count
            if ends_block(count, each.last):
                count = 0
        return count
