"""Reads a tree: in order, by path, below a path, and against another tree, fetching only the pages that matter."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from knowngood.core.errors import NotFound
from knowngood.core.ids import Name
from knowngood.tree.block import ROOT_NAME, Block, Entry
from knowngood.tree.columns import find
from knowngood.tree.page import NODE, Child, decode_leaf, decode_list, decode_node, page_kind

GetPage = Callable[[Name], tuple[bytes, bytes]]


def key_of(path: bytes) -> bytes:
    """A path below the root, joined by `/` → its components joined by NUL. Empty components and `.` fall away."""
    return b"\0".join(part for part in path.split(b"/") if part not in (b"", b"."))


def within(directory: bytes, above: bytes) -> bool:
    """Whether a directory is `above` or lies below it."""
    return not above or directory == above or directory.startswith(above + b"\0")


class _Page(NamedTuple):
    """A page that was read: a node's children, and where each begins; or a leaf's blocks."""

    children: list[Child]
    keys: list[tuple[bytes, bytes]]
    blocks: list[Block]


def _place(path: bytes) -> tuple[bytes, bytes]:
    """Directory and name of the entry at a path."""
    directory, _, name = key_of(path).rpartition(b"\0")
    return directory, name or ROOT_NAME


class Cursor:
    """Walks a tree from left to right; its head is a page not yet read, or a block."""

    def __init__(self, root: Name, get: GetPage) -> None:
        self._get = get
        refs, body = get(root)
        level = 1 + max((child.level for child in decode_node(refs, body)), default=0) if page_kind(body) == NODE else 0
        self._ahead: list[Child | Block] = [Child(root, level, b"", b"", 0, 0)]

    @property
    def head(self) -> Child | Block | None:
        """What comes next; None at the end."""
        return self._ahead[-1] if self._ahead else None

    @property
    def after(self) -> tuple[bytes, bytes] | None:
        """Where that begins which comes after the head; None when nothing does."""
        return self._ahead[-2].key if len(self._ahead) > 1 else None

    def pop(self) -> None:
        """Go past the head."""
        self._ahead.pop()

    def expand(self) -> None:
        """Read the page at the head: what is in it takes its place."""
        page = self._ahead.pop()
        assert isinstance(page, Child)
        refs, body = self._get(page.page)
        below = decode_node(refs, body) if page.level else decode_leaf(refs, body, page=page.page)
        self._ahead.extend(reversed(below))

    def skip(self, directory: bytes) -> None:
        """Go past all that is in a directory, or below it, and comes next. Pages of it are not read."""
        while (head := self.head) is not None and within(head.directory, directory):
            if isinstance(head, Block) or (self.after is not None and within(self.after[0], directory)):
                self.pop()
            else:
                self.expand()


class TreeReader:
    """A view of the tree whose root page has this name. Memory: one page per level, and `keep` pages more."""

    def __init__(self, root: Name, get: GetPage, keep: int = 0) -> None:
        """`keep` pages are remembered for those who look up many entries."""
        self.root = root
        self._get = get
        self._open = lru_cache(keep)(self._read) if keep else self._read

    def _read(self, page: Name) -> _Page:
        refs, body = self._get(page)
        if page_kind(body) != NODE:
            return _Page([], [], decode_leaf(refs, body, page=page))
        children = decode_node(refs, body)
        return _Page(children, [child.key for child in children], [])

    def cursor(self) -> Cursor:
        """A walk from its beginning."""
        return Cursor(self.root, self._get)

    def leaves(self, above: bytes = b"", name: bytes = b"") -> Iterator[Child]:
        """The leaves that may hold entries of directory `above` from `name` on, or below it, in order, unread."""
        children = self._open(self.root).children
        if not children:
            yield Child(self.root, 0, b"", b"", 0, 0)
            return
        yield from self._leaves_below(children, above, name)

    def _leaves_below(self, children: list[Child], above: bytes, name: bytes) -> Iterator[Child]:
        for child, after in zip(children, [*children[1:], None], strict=True):
            if after is not None and after.key <= (above, name):
                continue  # all of it lies before
            if above and child.directory > above and not within(child.directory, above):
                return
            if child.level:
                yield from self._leaves_below(self._open(child.page).children, above, name)
            else:
                yield child

    def blocks(self, above: bytes = b"") -> Iterator[Block]:
        """The blocks of directory `above` and of all below it, in order; the whole tree by default."""
        for leaf in self.leaves(above):
            for block in self.leaf(leaf):
                if within(block.directory, above):
                    yield block

    def leaf(self, leaf: Child) -> list[Block]:
        """The blocks of one leaf."""
        return self._open(leaf.page).blocks

    def entries(self, above: bytes = b"") -> Iterator[Entry]:
        """All entries of directory `above` and below, in tree order."""
        for block in self.blocks(above):
            yield from block.entries()

    def directory(self, key: bytes, after: bytes = b"") -> Iterator[Entry]:
        """The entries of one directory that come after a name, without what lies below. The root's own is left out."""
        for leaf in self.leaves(key, after):
            for block in self.leaf(leaf):
                if block.directory == key:
                    entries = (entry for entry in block.entries() if entry.name != ROOT_NAME or key)
                    yield from (entry for entry in entries if not after or entry.name > after)
                elif block.directory > key:
                    return

    def lookup(self, path: bytes) -> Entry:
        """The entry at a path; the root's own for b"" and b".". Raises NotFound."""
        entry = self.find(*_place(path))
        if entry is None:
            shown = path.decode(errors="backslashreplace")
            raise NotFound(f"there is no '{shown}' here", hint="look with: knowngood ls")
        return entry

    def leaf_of(self, path: bytes) -> Name | None:
        """The page of the one leaf in which a path's entry can be; trees with the same leaf there have the same entry.

        The leaf itself is not read. None when the path lies before all entries of the tree.
        """
        return self._descend(bisect_right, *_place(path))

    def around(self, directory: bytes, name: bytes) -> list[Block]:
        """The blocks of the one leaf in which the entry of this name in a directory can be."""
        return self._blocks_of(self._descend(bisect_right, directory, name))

    def find(self, directory: bytes, name: bytes) -> Entry | None:
        """The entry of this name in a directory."""
        for block in self.around(directory, name):
            if block.directory == directory and (entry := find(block, name)):
                return entry
        return None

    def before(self, directory: bytes, name: bytes) -> list[Block]:
        """The blocks of the leaf that holds the last entry before a place; none when there is no entry before it."""
        return self._blocks_of(self._descend(bisect_left, directory, name))

    def _descend(self, bisect: Callable[..., int], directory: bytes, name: bytes) -> Name | None:
        """Go down to one leaf, unread: always into the last page that begins before a place; `bisect_right`: or there.
        None when there is none."""
        page, level = self.root, 1  # what the root is, reading it tells
        while level and (below := self._open(page)).keys:
            at = bisect(below.keys, (directory, name))
            if not at:
                return None
            child = below.children[at - 1]
            page, level = child.page, child.level
        return page

    def _blocks_of(self, leaf: Name | None) -> list[Block]:
        return self._open(leaf).blocks if leaf else []

    def chunks(self, entry: Entry) -> Iterator[tuple[bytes, int]]:
        """Names and lengths of an entry's chunks, in order."""
        names = entry.names()
        if entry.extra.lengths:
            pairs = zip(names, entry.extra.lengths, strict=True)
        else:
            pairs = ((name, sum(length for _, length in entry.extents())) for name in names)
        if entry.content != 4:
            yield from pairs
            return
        for page, _ in pairs:
            yield from zip(*decode_list(*self._get(Name(page))), strict=True)
