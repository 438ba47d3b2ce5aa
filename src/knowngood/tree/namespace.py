"""The names of a tree while changes are replayed on it: only directories and entries that were touched are held.

A directory is a folder that knows under which key the base tree has its entries, and which of them are other ones now.
A renamed directory keeps that key, so a rename costs the same however much lies below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from knowngood.core.errors import Damaged
from knowngood.tree.block import ROOT_NAME, ROW, Entry
from knowngood.tree.pieces import Pieces
from knowngood.tree.read import TreeReader


@dataclass(slots=True, eq=False)
class Item:
    """What one or more names stand for. Its entry's directory and name are where it was met first."""

    entry: Entry
    folder: Folder | None = None  # of a directory
    pieces: Pieces | None = None  # of a regular file whose content was written to
    changed: bool = False
    unseen: int = 0  # names that the base tree may have of it, and that were not met yet


@dataclass(slots=True, eq=False)
class Folder:
    """What is in a directory."""

    base: bytes | None  # the key under which the base tree has its entries; None: it has none of them
    items: dict[bytes, Item | None] = field(default_factory=dict)  # those that were asked for; None: nothing is there
    bound: set[bytes] = field(default_factory=set)  # names that stand for something else than in the base tree
    cleared: set[bytes] = field(default_factory=set)  # those of them that were directories there
    file_system: int | None = None  # of its entries, once it was asked for


def place_of(key: bytes) -> tuple[bytes, bytes]:
    """Directory and name of the entry with this key."""
    directory, _, name = key.rpartition(b"\0")
    return directory, name or ROOT_NAME


def key_in(directory: bytes, name: bytes) -> bytes:
    """The key of the directory of this name in another one."""
    return directory + b"\0" + name if directory else name


class Namespace:
    """All names. Memory: about 1 KiB for each entry that was asked for, and some pages of the base tree."""

    def __init__(self, base: TreeReader) -> None:
        self.base = base
        self.root = Folder(b"")
        self._linked: dict[tuple[int, int], Item] = {}  # files of the base tree with several names
        self._walked: dict[bytes, Folder] = {b"": self.root}

    def folder(self, key: bytes) -> Folder:
        """The folder of the directory with this key. Raises Damaged when there is none."""
        found = self._walked.get(key)
        if found is None:
            directory, name = place_of(key)
            item = self.item(self.folder(directory), name)
            if item is None or item.folder is None:
                raise Damaged(f"there is no directory {_shown(key)}")
            found = self._walked[key] = item.folder
        return found

    def find(self, key: bytes) -> Item:
        """What is there. Raises Damaged when nothing is."""
        directory, name = place_of(key)
        item = self.item(self.folder(directory), name)
        if item is None:
            raise Damaged(f"there is nothing at {_shown(key)}")
        return item

    def look(self, key: bytes) -> Item | None:
        """What is there, if anything is."""
        if not key:
            return self.item(self.root, ROOT_NAME)
        folder: Folder | None = self.root
        item: Item | None = None
        for name in key.split(b"\0"):
            item = self.item(folder, name) if folder else None
            if item is None:
                return None
            folder = item.folder
        return item

    def item(self, folder: Folder, name: bytes) -> Item | None:
        """What a name in a folder stands for."""
        try:
            return folder.items[name]
        except KeyError:
            entry = None if folder.base is None else self.base.find(folder.base, name)
            item = folder.items[name] = self._met(entry) if entry else None
            return item

    def _met(self, entry: Entry) -> Item:
        if entry.is_directory:
            return Item(entry, folder=Folder(entry.key) if entry.name != ROOT_NAME else None)
        if not entry.is_file or entry.links < 2:
            return Item(entry)
        inode = entry.file_system, entry.inode
        item = self._linked.get(inode)
        if item is None:
            item = self._linked[inode] = Item(entry.at(entry.directory, entry.name), unseen=entry.links)
        item.unseen -= 1
        return item

    def bind(self, folder: Folder, name: bytes, item: Item | None) -> None:
        """A name stands for something else from now on, or for nothing."""
        old = self.item(folder, name)
        if name not in folder.bound:
            folder.bound.add(name)
            if old and old.folder and folder.base is not None:
                folder.cleared.add(name)
        folder.items[name] = item
        if (old and old.folder) or (item and item.folder):
            self._walked = {b"": self.root}

    def is_empty(self, folder: Folder) -> bool:
        """Whether nothing is in a folder. Costs as much as the base tree has names in it."""
        if any(folder.items.values()):
            return False
        if folder.base is None:
            return True
        return all(entry.name in folder.items for entry in self.base.directory(folder.base))

    def file_system(self, key: bytes) -> int:
        """The number of the file system that a new entry of this directory is on."""
        folder = self.folder(key)
        if folder.file_system is None:
            first = next(self.base.blocks(folder.base), None) if folder.base is not None else None
            if first is not None and first.directory == folder.base:
                folder.file_system = first.file_system
            else:
                folder.file_system = self.file_system(place_of(key)[0]) if key else 0
        return folder.file_system

    # ------------------------------------------------------------------------------------------------- hard links

    def meet_links(self) -> None:
        """Find all names of the changed files that have several. Reads the base tree, up to where the last one is."""
        wanted = {inode for inode, item in self._linked.items() if item.changed and item.unseen}
        alive = dict(_alive(self.root)) if wanted else {}
        for block in self.base.blocks() if wanted else ():
            rows = ROW.iter_unpack(block.rows)
            numbers = [n for n, row in enumerate(rows) if row[3] > 1 and (block.file_system, row[7]) in wanted]
            if numbers:
                names = block.names.split(b"\0")
                for number in numbers:
                    self._meet(alive, block.directory, names[number])
                wanted = {inode for inode in wanted if self._linked[inode].unseen}
                if not wanted:
                    return

    def _meet(self, alive: dict[bytes, Folder], directory: bytes, name: bytes) -> None:
        """Ask for an entry of the base tree by where it was there, if it still is in that directory."""
        above, below = directory, [name]
        while above not in alive:
            above, _, component = above.rpartition(b"\0")
            below.append(component)
        folder = alive[above]
        while len(below) > 1:
            component = below.pop()
            if component in folder.items:
                return  # something else has its name now
            item = self.item(folder, component)
            if item is None or item.folder is None:
                return
            folder = item.folder
            assert folder.base is not None
            alive[folder.base] = folder
        self.item(folder, below[0])


def _alive(root: Folder) -> Iterator[tuple[bytes, Folder]]:
    """The folders that can still be reached, by their keys in the base tree."""
    ahead = [root]
    while ahead:
        folder = ahead.pop()
        if folder.base is not None:
            yield folder.base, folder
        ahead += [item.folder for item in folder.items.values() if item and item.folder]


def _shown(key: bytes) -> str:
    return "'" + (key.replace(b"\0", b"/") or b".").decode(errors="backslashreplace") + "'"
