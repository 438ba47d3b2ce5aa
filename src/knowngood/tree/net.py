"""What replay changed, as changes of the base tree in tree order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import merge

from knowngood.tree.block import Entry
from knowngood.tree.edit import Change
from knowngood.tree.namespace import Folder, Item, Namespace, key_in
from knowngood.tree.read import TreeReader

Finished = Callable[[Item], Entry]
"""The entry of an item with its content described, under any name."""


class Net:
    """The changes of a namespace. Memory: the names of the directories within one that moved."""

    def __init__(self, names: Namespace, base: TreeReader, finished: Finished) -> None:
        self._names = names
        self._base = base
        self._finished = finished

    def changes(self) -> Iterator[Change]:
        """All of them, once."""
        return self._in_place(self._names.root, b"")

    def _in_place(self, folder: Folder, key: bytes) -> Iterator[Change]:
        """Changes in a directory that is where it was, and below it."""
        items = folder.items
        for name in sorted(name for name, item in items.items() if name in folder.bound or (item and item.changed)):
            item = items[name]
            yield self._here(item, key, name) if item else Change(key, name)
        below = {name for name, item in items.items() if item and item.folder}
        for name in sorted(below | folder.cleared):
            item, there = items[name], key_in(key, name)
            if item and item.folder and item.folder.base == there:
                yield from self._in_place(item.folder, there)
                continue
            if name in folder.cleared:
                yield Change(there, b"")
            if item and item.folder:
                yield from self._whole(item.folder, there)

    def _whole(self, folder: Folder, key: bytes) -> Iterator[Change]:
        """All that is in a directory which is new there, and below it."""
        below: list[tuple[bytes, Folder | None]] = []
        for name, found in merge(self._untouched(folder), self._touched(folder), key=lambda pair: pair[0]):
            if isinstance(found, Entry):
                yield Change(key, name, found.at(key, name))
                if found.is_directory:
                    below.append((name, None))
            else:
                yield self._here(found, key, name)
                if found.folder:
                    below.append((name, found.folder))
        for name, folder_below in below:
            there = key_in(key, name)
            if folder_below is not None:
                yield from self._whole(folder_below, there)
            else:
                assert folder.base is not None
                yield from self._as_it_was(key_in(folder.base, name), there)

    def _untouched(self, folder: Folder) -> Iterator[tuple[bytes, Entry | Item]]:
        if folder.base is not None:
            for entry in self._base.directory(folder.base):
                if entry.name not in folder.items:
                    yield entry.name, entry

    @staticmethod
    def _touched(folder: Folder) -> Iterator[tuple[bytes, Entry | Item]]:
        for name in sorted(folder.items):
            if (item := folder.items[name]) is not None:
                yield name, item

    def _as_it_was(self, base: bytes, key: bytes) -> Iterator[Change]:
        """All below a directory in which nothing was touched, under its new key."""
        for entry in self._base.entries(base):
            directory = key + entry.directory[len(base) :]
            yield Change(directory, entry.name, entry.at(directory, entry.name))

    def _here(self, item: Item, directory: bytes, name: bytes) -> Change:
        return Change(directory, name, self._finished(item).at(directory, name))
