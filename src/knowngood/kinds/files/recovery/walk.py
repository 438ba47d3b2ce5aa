"""The way through a checkpoint and its target, folder by folder, in tree order.

A tree comes from a vault, and a vault may lie: names and order are checked here, before any of them reaches the
operating system. Folders are entered when something in them is wanted, and left once all below them is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from knowngood.core.errors import Damaged
from knowngood.kinds.files.recovery.place import CLOSED, Folder
from knowngood.kinds.files.recovery.selection import Group
from knowngood.tree.block import ROOT_NAME, Entry
from knowngood.tree.read import within

OPEN_LEVELS = 64
_NOT_NAMES = frozenset({b"", b".", b".."})


class Actor(Protocol):
    """What is done on the way."""

    def enter(self, above: Folder, folder: Folder) -> None:
        """Open or make a folder in the one above; leave it closed when that cannot be."""
        ...

    def work(self, folder: Folder, entries: list[Entry]) -> None:
        """Entries that belong into a folder have come. Those of folders among them are entered later."""
        ...

    def listed(self, folder: Folder) -> None:
        """All names of a folder have come."""
        ...

    def leave(self, folder: Folder) -> None:
        """All below a folder has come."""
        ...

    def settle(self) -> None:
        """Finish all that is under way: folders are going to be closed for a while."""
        ...


class Walk:
    """Follows groups of entries from the root down."""

    def __init__(self, actor: Actor, root: Folder) -> None:
        self._actor = actor
        self._stack = [root]
        self._made = 1  # so many of the stack have been entered
        self._last: tuple[bytes, bytes] = (b"", b"")
        self.lenient = False  # parts of the tree could not be read: folders may be missing in it

    def run(self, groups: Iterable[Group]) -> None:
        """Go all the way. Raises Damaged for a tree that contradicts itself, and what the actor raises."""
        for group in groups:
            self._check(group)
            self._go(group.directory)
            if group.entries:
                self._enter_all()
            self._take(group)
        while len(self._stack) > 1:
            self._leave()
        self._advance(self._stack[0], None)
        self._list(self._stack[0])
        self._actor.leave(self._stack[0])

    def close(self) -> None:
        """Close the folders that are still open, when the way ended early."""
        for folder in self._stack:
            folder.close()

    # ------------------------------------------------------------------------------------------------ what comes

    def _check(self, group: Group) -> None:
        """Names are names, and everything comes in strict order: so nothing comes twice."""
        directory, last = self._last
        if group.directory != directory:
            if group.directory < directory:
                raise Damaged("the tree is out of order")
            if not _NOT_NAMES.isdisjoint(group.directory.split(b"\0")) or b"/" in group.directory:
                raise Damaged("the tree has a folder with an impossible name")
            last = b""
        entries = group.entries
        if group.passing:
            entries = sorted([*entries, *group.passing], key=lambda entry: entry.name)
        for entry in entries:
            name = entry.name
            if name <= last or b"/" in name or b"\0" in name:
                raise Damaged(f"the tree has an impossible name, or names out of order: {name!r}")
            if name in _NOT_NAMES and (name != ROOT_NAME or group.directory):
                raise Damaged(f"the tree has an impossible name: {name!r}")
            last = name
        self._last = group.directory, last

    def _take(self, group: Group) -> None:
        top = self._stack[-1]
        if group.passing:
            folders = [(each, False) for each in group.passing]
            folders += [(each, True) for each in group.entries if each.is_directory]
            for entry, wanted in sorted(folders, key=lambda found: found[0].name):
                self._await(top, entry, wanted)
        else:
            for entry in group.entries:
                if entry.is_directory:
                    self._await(top, entry, wanted=True)
        if group.entries and not top.lost:
            self._actor.work(top, group.entries)

    @staticmethod
    def _await(top: Folder, entry: Entry, wanted: bool) -> None:
        if entry.name != ROOT_NAME:
            top.pending.add(entry, wanted)

    # ------------------------------------------------------------------------------------------------ up and down

    def _go(self, key: bytes) -> None:
        while not within(key, self._stack[-1].key):
            self._leave()
        while (top := self._stack[-1]).key != key:
            rest = key[len(top.key) + 1 :] if top.key else key
            self._go_down(top, rest.partition(b"\0")[0])

    def _go_down(self, top: Folder, name: bytes) -> None:
        self._advance(top, name)
        head = top.pending.head()
        key = top.key + b"\0" + name if top.key else name
        if head is not None and head[0].name == name:
            top.pending.pop()
            self._push(Folder(key, CLOSED, head[0], whole=head[1]), wanted=head[1])
        elif self.lenient:
            self._push(Folder(key, CLOSED), wanted=False)
        else:
            raise Damaged(f"the tree has things in a folder that it does not have: {key!r}")

    def _advance(self, top: Folder, upto: bytes | None) -> None:
        """Go through the folders that nothing lies in, up to the one with this name."""
        self._list(top)
        while (head := top.pending.head()) is not None:
            entry, wanted = head
            if upto is not None and entry.name >= upto:
                return
            top.pending.pop()
            if wanted:
                self._push(Folder(entry.key, CLOSED, entry, whole=True), wanted=True)
                self._leave()

    def _list(self, folder: Folder) -> None:
        if not folder.is_listed:
            folder.is_listed = True
            if self._is_made(folder) and not folder.lost:
                self._actor.listed(folder)

    def _push(self, folder: Folder, wanted: bool) -> None:
        self._stack.append(folder)
        if wanted:
            self._enter_all()

    def _is_made(self, folder: Folder) -> bool:
        return len(self._stack) == self._made and self._stack[-1] is folder

    def _enter_all(self) -> None:
        """Enter those folders on the stack that were only passed so far."""
        while self._made < len(self._stack):
            above, folder = self._stack[self._made - 1], self._stack[self._made]
            if above.lost:
                folder.lost = True
            else:
                self._actor.enter(above, folder)
            self._made += 1
            if not folder.lost:
                self._park(self._made - OPEN_LEVELS)

    def _park(self, level: int) -> None:
        """Close a folder far above; it is opened again from the one below it on the way back."""
        if level > 0 and self._stack[level].fd != CLOSED:
            self._actor.settle()
            self._stack[level].close()

    def _leave(self) -> None:
        folder = self._stack[-1]
        self._advance(folder, None)
        self._list(folder)
        self._stack.pop()
        if self._made <= len(self._stack):
            return
        self._made -= 1
        above = self._stack[-1]
        if above.fd == CLOSED and folder.fd != CLOSED:
            above.reopen(folder)
        if not folder.lost:
            self._actor.leave(folder)
