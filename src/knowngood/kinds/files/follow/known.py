"""What is known of a component: the state at the end of its log.

That is the tree of the last checkpoint, and what was followed since. A file with several names is one file here, as it
is at replay: what is learnt of it under one name holds for all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from knowngood.core.ids import Name
from knowngood.kinds.files.follow.feed import Place
from knowngood.tree.block import ROOT_NAME, ROW, Block, Entry
from knowngood.tree.namespace import place_of
from knowngood.tree.read import GetPage, TreeReader, within

Inode = tuple[int, int]
"""The number of a file system, and of a file in it."""

_PAGES = 64  # of the tree that are kept decoded, of about 200 KiB each
_MET = 4_000  # entries of the tree that are kept, of about 1 KiB each: a tick asks for each several times
_HOMES = 10_000
_INODE = struct.Struct("<Q")
_INODE_AT, _LINKS_AT = 40, 12  # bytes of a row before them


@dataclass(frozen=True, slots=True)
class Known:
    """An entry, and when its reading began. If it is not `exact`, it does not say what is in the file."""

    entry: Entry
    read_ns: int
    exact: bool = True


def key_of(place: Place) -> bytes:
    """The key of the entry in a place."""
    directory, name = place
    if name == ROOT_NAME:
        return b""
    return directory + b"\0" + name if directory else name


class State:
    """Memory: 20 MiB at most for the tree, 1 KiB for each entry that changed since it was made, and 300 bytes for each
    name of a file with several."""

    def __init__(self, root: Name, get: GetPage, read_ns: int) -> None:
        """`read_ns` is when the reading of the tree began."""
        self.root = root
        self._tree = TreeReader(root, get, _PAGES)
        self._read_ns = read_ns
        self._over: dict[bytes, dict[bytes, Known | None]] = {}
        self._met: dict[Place, Known | None] = {}
        self._homes: dict[bytes, int] = {}
        self._links: dict[Inode, set[Place]] = {}
        self._asked: dict[Inode, Place | None] = {}  # where files with one name are in the tree
        self._find_links()

    def rebase(self, root: Name, get: GetPage, read_ns: int) -> None:
        """All that was followed is in this tree now."""
        self.root = root
        self._tree = TreeReader(root, get, _PAGES)
        self._read_ns = read_ns
        self._over.clear()
        self._met.clear()
        self._homes.clear()
        self._asked.clear()

    # --------------------------------------------------------------------------------------------------- questions

    def find(self, place: Place) -> Known | None:
        """What is there."""
        over = self._over.get(place[0])
        if over is not None and place[1] in over:
            return over[place[1]]
        return self.base(place)

    def base(self, place: Place) -> Known | None:
        """What the last checkpoint has there."""
        try:
            return self._met[place]
        except KeyError:
            entry = self._tree.find(*place)
            if len(self._met) >= _MET:
                self._met.clear()
            known = self._met[place] = Known(entry, self._read_ns) if entry else None
            return known

    def row(self, place: Place) -> tuple[bytes, int] | None:
        """The row of what is there, and when its reading began."""
        known = self.find(place)
        return (known.entry.row, known.read_ns) if known else None

    def is_directory(self, key: bytes) -> bool:
        """Whether there is a directory of this key."""
        row = self.row(place_of(key))
        return row is not None and is_directory(row[0])

    def names(self, directory: bytes) -> set[bytes]:
        """All names in a directory."""
        found = {name for block in self._blocks_of(directory) for name in block.names.split(b"\0")}
        over = self._over.get(directory, {})
        found |= over.keys()
        found -= {name for name, known in over.items() if known is None}
        return found

    def below(self, directory: bytes) -> Iterator[Place]:
        """All that is in a directory and below it."""
        for block in self._tree.blocks(directory):
            over = self._over.get(block.directory, {})
            yield from ((block.directory, name) for name in block.names.split(b"\0") if name not in over)
        for key, over in self._over.items():
            if within(key, directory):
                yield from ((key, name) for name, known in over.items() if known is not None)

    def file_system(self, directory: bytes) -> int:
        """The number of the file system of what is new in a directory: that of its first entry, or as above it."""
        home = self._homes.get(directory)
        if home is None:
            first = next(self._blocks_of(directory), None)
            if first is not None:
                home = first.file_system
            else:
                home = self.file_system(place_of(directory)[0]) if directory else 0
            if len(self._homes) >= _HOMES:
                self._homes.clear()
            self._homes[directory] = home
        return home

    def links(self, inode: Inode) -> set[Place]:
        """The names of a thing that is known to have several: mostly a regular file."""
        return self._links.get(inode, set())

    def file_links(self, inode: Inode) -> set[Place]:
        """The same of a regular file."""
        known = ((place, self.find(place)) for place in self.links(inode))
        return {place for place, each in known if each and each.entry.is_file}

    def named(self, numbers: Set[int], file_systems: Iterable[int]) -> set[Place]:
        """All places in which files with these inode numbers are known."""
        inodes = {(system, number) for system in file_systems for number in numbers}
        single = {inode for inode in inodes if inode not in self._links}
        found = set().union(*(self._links[inode] for inode in inodes - single))
        return found | set(self.holders(single).values())

    def holders(self, wanted: set[Inode]) -> dict[Inode, Place]:
        """Where files are known that are said to have one name only. New questions look at all rows there are."""
        if len(self._asked) > _HOMES:
            self._asked.clear()
        self._ask(wanted - self._asked.keys())
        found: dict[Inode, Place] = {}
        for inode in wanted:
            place = self._asked[inode]
            if place is not None and place[1] not in self._over.get(place[0], {}):
                found[inode] = place
        for place, known in self.changed() if wanted else ():
            if known and known.entry.links and (inode := inode_of(known.entry)) in wanted:
                found[inode] = place
        return found

    def _ask(self, wanted: set[Inode]) -> None:
        self._asked.update(dict.fromkeys(wanted))
        numbers = {number: _INODE.pack(number) for _, number in wanted}
        for block in self._tree.blocks() if wanted else ():
            for number, packed in numbers.items():
                inode = (block.file_system, number)
                if inode in wanted and (at := _row_with(block.rows, packed)) >= 0:
                    self._asked[inode] = (block.directory, block.names.split(b"\0")[at])

    def changed(self) -> Iterator[tuple[Place, Known | None]]:
        """All that was followed since the last checkpoint, in tree order."""
        for directory in sorted(self._over):
            names = self._over[directory]
            yield from (((directory, name), names[name]) for name in sorted(names))

    # ----------------------------------------------------------------------------------------------------- changes

    def set(self, place: Place, known: Known | None) -> None:
        """Something else is there from now on, or nothing is."""
        before = self.find(place)
        if before and before.entry.links > 1:
            self._unlink(inode_of(before.entry), place)
        if known is not None:
            entry = known.entry.at(*place)
            known = Known(entry, known.read_ns, known.exact)
            if entry.links > 1:
                self._links.setdefault(inode_of(entry), set()).add(place)
        self._over.setdefault(place[0], {})[place[1]] = known

    def _unlink(self, inode: Inode, place: Place) -> None:
        names = self._links.get(inode)
        if names is not None:
            names.discard(place)
            if not names:
                del self._links[inode]

    # ---------------------------------------------------------------------------------------------------- the tree

    def _find_links(self) -> None:
        for block in self._tree.blocks():
            if not _several(block.rows):
                continue
            for name, row in zip(block.names.split(b"\0"), ROW.iter_unpack(block.rows), strict=True):
                if row[3] > 1:
                    self._links.setdefault((block.file_system, row[7]), set()).add((block.directory, name))

    def _blocks_of(self, directory: bytes) -> Iterator[Block]:
        """The blocks of one directory."""
        for leaf in self._tree.leaves(directory):
            for block in self._tree.leaf(leaf):
                if block.directory == directory:
                    yield block
                elif block.directory > directory:
                    return


def inode_of(entry: Entry) -> Inode:
    """Which file it is."""
    return entry.file_system, entry.inode


def is_file(mode: int) -> bool:
    """Whether a mode is that of a regular file."""
    return mode & 0o170000 == 0o100000


def is_directory(row: bytes) -> bool:
    """Whether a row is that of a directory."""
    return ROW.unpack(row)[0] & 0o170000 == 0o040000


def _several(rows: bytes) -> bool:
    """Whether any of these rows may have more than one link, by single bytes: most blocks have none."""
    low, *high = (rows[_LINKS_AT + byte :: ROW.size] for byte in range(4))
    return max(low) > 1 or any(any(each) for each in high)


def _row_with(rows: bytes, inode: bytes) -> int:
    """The number of the first row with this inode; -1 when there is none."""
    at = rows.find(inode)
    while at >= 0:
        if at % ROW.size == _INODE_AT:
            return at // ROW.size
        at = rows.find(inode, at + 1)
    return -1
