"""A tree whose entries are numbered: the n-th in tree order. A number stands for an entry, and takes no memory.

Nodes know how many entries lie below each child, so an entry is found by its number as by its path: one page per level
is read. Numbers of one directory follow each other; whoever lists it can go on from any of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate

from knowngood.core.errors import Damaged, NotFound
from knowngood.core.ids import Name
from knowngood.core.lru import Lru
from knowngood.tree.block import ROOT_NAME, Block, Entry
from knowngood.tree.page import NODE, Child, decode_leaf, decode_node, page_kind
from knowngood.tree.read import GetPage

CACHED_ENTRIES = 1 << 16
"""Entries of decoded pages that a cache holds: about 40 MiB."""


class Node:
    """A decoded node: where each child begins, by key and by number."""

    __slots__ = ("children", "count", "keys", "starts")

    def __init__(self, children: list[Child]) -> None:
        if not children:
            raise Damaged("a node has no children")
        self.children = children
        self.keys = [child.key for child in children]
        self.starts, self.count = _starts([child.entries for child in children])


class Leaf:
    """A decoded leaf. The entries of a block are made when one of them is asked for."""

    __slots__ = ("_entries", "_places", "blocks", "count", "keys", "starts")

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks
        self.keys = [(block.directory, block.first) for block in blocks]
        self.starts, self.count = _starts([block.count for block in blocks])
        self._entries: list[list[Entry] | None] = [None] * len(blocks)
        self._places: list[dict[bytes, int] | None] = [None] * len(blocks)

    def entries(self, block: int) -> list[Entry]:
        """The entries of a block, by number. Raises Damaged."""
        found = self._entries[block]
        if found is None:  # two threads may both come here; they make the same
            found = self._entries[block] = list(self.blocks[block].entries())
        return found

    def place(self, block: int, name: bytes) -> int | None:
        """Where in a block a name stands."""
        places = self._places[block]
        if places is None:
            names = self.blocks[block].names.split(b"\0")
            places = self._places[block] = {each: place for place, each in enumerate(names)}
        return places.get(name)


def _starts(counts: list[int]) -> tuple[list[int], int]:
    *starts, total = accumulate(counts, initial=0)
    return starts, total


Pages = Lru[Name, Node | Leaf]


def page_cache(entries: int = CACHED_ENTRIES) -> Pages:
    """A cache of decoded pages. Trees may share it: equal pages have the same name."""
    return Lru(entries)


class NumberedTree:
    """The tree whose root page has this name. Safe to use from many threads. All methods raise what reading raises."""

    def __init__(self, root: Name, get: GetPage, pages: Pages) -> None:
        self._root = root
        self._get = get
        self._pages = pages

    def at(self, number: int) -> Entry:
        """The entry with this number. Raises NotFound."""
        base, leaf = self._leaf_of(number)
        if leaf is None:
            raise NotFound(f"the tree has no entry {number}")
        block = bisect_right(leaf.starts, number - base) - 1
        return leaf.entries(block)[number - base - leaf.starts[block]]

    def find(self, directory: bytes, name: bytes) -> tuple[int, Entry] | None:
        """The number and the entry of a name in a directory (`Entry.key`)."""
        base, leaf = self._leaf_at((directory, name))
        block = bisect_right(leaf.keys, (directory, name)) - 1
        if block < 0 or leaf.blocks[block].directory != directory:
            return None
        place = leaf.place(block, name)
        if place is None:
            return None
        return base + leaf.starts[block] + place, leaf.entries(block)[place]

    def root(self) -> Entry | None:
        """The entry of the root itself; None when the tree does not tell."""
        found = self.find(b"", ROOT_NAME)
        return found and found[1]

    def first(self, directory: bytes) -> int:
        """The number with which a directory begins: of its first entry, if it has one."""
        base, leaf = self._leaf_at((directory, b""))
        block = bisect_left(leaf.keys, (directory, b""))
        return base + (leaf.starts[block] if block < len(leaf.starts) else leaf.count)

    def listing(self, directory: bytes, number: int) -> Iterator[tuple[int, Entry]]:
        """The entries of a directory from a number on, with their numbers. The root's own entry is left out."""
        while True:
            base, leaf = self._leaf_of(number)
            if leaf is None:
                return
            block = bisect_right(leaf.starts, number - base) - 1
            while block < len(leaf.blocks):
                if leaf.blocks[block].directory != directory:
                    return
                for entry in leaf.entries(block)[number - base - leaf.starts[block] :]:
                    if directory or entry.name != ROOT_NAME:
                        yield number, entry
                    number += 1
                block += 1

    # ------------------------------------------------------------------------------------------------- going down

    def _leaf_at(self, key: tuple[bytes, bytes]) -> tuple[int, Leaf]:
        """The one leaf in which a key can be, and the number it begins with."""
        base, page = 0, self._page(self._root, None)
        while isinstance(page, Node):
            below = max(0, bisect_right(page.keys, key) - 1)
            base += page.starts[below]
            page = self._page(page.children[below].page, page.children[below])
        return base, page

    def _leaf_of(self, number: int) -> tuple[int, Leaf | None]:
        base, page = 0, self._page(self._root, None)
        if not 0 <= number < page.count:
            return 0, None
        while isinstance(page, Node):
            below = bisect_right(page.starts, number - base) - 1
            base += page.starts[below]
            page = self._page(page.children[below].page, page.children[below])
        return base, page

    def _page(self, name: Name, known: Child | None) -> Node | Leaf:
        found = self._pages.get(name)
        if found is None:
            refs, body = self._get(name)
            found = Node(decode_node(refs, body)) if page_kind(body) == NODE else Leaf(decode_leaf(refs, body))
            self._pages.put(name, found, len(found.keys) + (found.count if isinstance(found, Leaf) else 0))
        if known is not None and (found.count != known.entries or isinstance(found, Node) != bool(known.level)):
            raise Damaged("a page holds more or fewer entries than the page above it says")
        return found
