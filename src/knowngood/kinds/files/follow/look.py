"""From names that may have changed to those that have: what is there now, held against what is known.

Whatever follows from a change is looked at as well: the directory that a name came into or went from, all below a
directory that came or went, all names of a file with several.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from knowngood.kinds.files.capture.entries import row_of
from knowngood.kinds.files.capture.listing import Belongs, Lister
from knowngood.kinds.files.exclude import CACHE_TAG
from knowngood.kinds.files.follow.feed import Place
from knowngood.kinds.files.follow.folders import Folders, Unseen
from knowngood.kinds.files.follow.known import Inode, State, is_directory, key_of
from knowngood.kinds.files.settled import settled
from knowngood.tree.block import ROOT_NAME, ROW
from knowngood.tree.namespace import place_of
from knowngood.vault.layout import DESCRIPTOR

PLACES = 50_000
"""So many changes at most are taken at once; the others wait for the next time."""

_TAGS = frozenset({CACHE_TAG, DESCRIPTOR.encode()})  # their coming and going decides about the whole directory
_LINKS, _CTIME, _INODE = 3, 6, 7  # their places in a row


@dataclass(slots=True)
class Sight:
    """What was seen to have changed: the row of what is in a place now, or None. The rest could not be seen yet."""

    rows: dict[Place, bytes | None] = field(default_factory=dict)
    rest: set[Place] = field(default_factory=set)
    rest_below: set[bytes] = field(default_factory=set)
    foreign: bool = False  # something was mounted, or taken away, since the component was scanned


class Look:
    """One look at places. Raises NotFound when the component is gone."""

    def __init__(
        self,
        folders: Folders,
        lister: Lister,
        state: State,
        devices: dict[int, int],
        failed: dict[Place, bytes],
        limit: int = PLACES,
    ) -> None:
        """`devices` are the numbers of file systems; `failed` what could not be read, by the row that it had then."""
        self._folders = folders
        self._lister = lister
        self._state = state
        self._devices = devices
        self._failed = failed
        self._limit = limit
        self._wanted: dict[bytes, set[bytes]] = {}
        self._ahead: list[bytes] = []
        self._done: set[Place] = set()
        self._new: set[bytes] = set()  # directories that came
        self._whole: set[bytes] = set()  # directories of which everything is looked at
        self._told: set[Place] = set()
        self._asked: set[Inode] = set()
        self._sight = Sight()
        self._count = 0  # without directories that went: those have to wait for what is below them
        self._belongs: Belongs = lambda _name, _directory: True

    def run(self, entries: Iterable[Place], subtrees: Iterable[bytes]) -> Sight:
        """Look at these names, and at all below these directories."""
        root = self._folders.open(b"")
        assert root is not None
        self._lister.belongs(b"", root, self._folders.root)
        self._told = set(entries)
        for place in self._told:
            self._want(place)
        for key in subtrees:
            self._want(place_of(key))
            self._list(key)
        self._walk()
        while self._want_holders():
            self._walk()
        self._put_off()
        return self._sight

    def _walk(self) -> None:
        while self._ahead and self._count < self._limit:
            key = heappop(self._ahead)
            names = self._wanted.pop(key, set())
            try:
                self._directory(key, names)
            except Unseen:
                self._sight.rest |= {(key, name) for name in names}

    def _want(self, place: Place) -> None:
        if place in self._done:
            return
        names = self._wanted.get(place[0])
        if names is None:
            names = self._wanted[place[0]] = set()
            heappush(self._ahead, place[0])
        names.add(place[1])

    # ----------------------------------------------------------------------------------------------- one directory

    def _directory(self, key: bytes, names: set[bytes]) -> None:
        if key not in self._new and not self._state.is_directory(key):
            return  # it does not belong to the component; or it will be listed when it is seen
        fd = self._folders.open(key)
        if fd is None:
            self._want(place_of(key))
            for name in names:
                self._see((key, name), None)
            return
        here = os.fstat(fd)
        if self._devices.get(here.st_dev) != self._state.file_system(key):
            self._sight.foreign = True
        if names & _TAGS and key not in self._whole:
            self._list(key)
            names |= self._wanted.pop(key, set())
        self._belongs = self._lister.belongs(key, fd, here)
        for name in names:
            self._name(fd, (key, name))

    def _name(self, fd: int, place: Place) -> None:
        key, name = place
        try:
            file = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            self._see(place, None)
            return
        except OSError:
            self._sight.rest.add(place)
            return
        directory = stat.S_ISDIR(file.st_mode)
        if name == ROOT_NAME or self._belongs(name, directory):
            self._see(place, row_of(file))
            below = key_of(place)
            if directory and name != ROOT_NAME and key in self._whole:
                self._list(below)
        else:
            self._see(place, None)

    def _list(self, key: bytes) -> None:
        """Want all names of a directory, those that are known and those that are there, and all below it."""
        if key in self._whole:
            return
        self._whole.add(key)
        there = self._names(key)
        known = set[bytes]() if there is None or key in self._new else self._state.names(key)
        for name in (there or set()) | known:
            self._want((key, name))

    def _compare(self, key: bytes) -> None:
        """Want the names that are only there, or only known. What was told of the others is looked at anyway: only
        events in a directory that is gone lead nowhere, and in one that has taken its place they do."""
        if key not in self._whole and (there := self._names(key)) is not None:
            for name in there ^ self._state.names(key):
                self._want((key, name))

    def _names(self, key: bytes) -> set[bytes] | None:
        """The names in a directory; None when that has to wait."""
        try:
            fd = self._folders.open(key)
            return set(self._lister.names(key, fd, os.fstat(fd))) if fd is not None else set()
        except (Unseen, OSError):
            self._sight.rest_below.add(key)
            return None

    # --------------------------------------------------------------------------------------------------- one place

    def _see(self, place: Place, row: bytes | None) -> None:
        if place in self._done:
            return
        self._done.add(place)
        known = self._state.row(place)
        if row is None and known is None:
            return
        if row is not None and known is not None and row == known[0]:
            if settled(ROW.unpack(row)[_CTIME], known[1]):
                return
        elif row is not None and self._failed.get(place) == row:
            return
        self._sight.rows[place] = row
        self._count += row is not None or known is None or not is_directory(known[0])
        if place in self._told or known is None or row is None:
            self._want(place_of(place[0]))  # something came or went in there, be it of the same name and inode
        before, after = (known[0] if known else None), row
        if before is None or after is None or _identity(before) != _identity(after):
            self._came_or_went(place, before, after)
        elif is_directory(after) and place in self._told and place[1] != ROOT_NAME and _mtime(before) != _mtime(after):
            self._compare(key_of(place))  # it may have gone, and another one come with the same inode
        for each in (before, after):
            if each is not None:
                self._want_links(place, each)

    def _came_or_went(self, place: Place, before: bytes | None, after: bytes | None) -> None:
        key = key_of(place)
        if after is not None and is_directory(after):
            if before is None or not is_directory(before):
                self._new.add(key)
            self._list(key)
        elif before is not None and is_directory(before):
            for each in self._state.below(key):
                self._want(each)

    def _want_links(self, place: Place, row: bytes) -> None:
        fields = ROW.unpack(row)
        if fields[_LINKS] > 1:
            for other in self._state.links((self._state.file_system(place[0]), fields[_INODE])):
                self._want(other)

    def _want_holders(self) -> bool:
        """Look for names under which files are known that have several only now."""
        several: dict[Inode, int] = {}
        met: dict[Inode, int] = {}
        for place, row in self._sight.rows.items():
            fields = ROW.unpack(row) if row else None
            if fields and fields[_LINKS] > 1:
                inode = (self._state.file_system(place[0]), fields[_INODE])
                several[inode] = fields[_LINKS]
                met[inode] = met.get(inode, 0) + 1
        wanted = {inode for inode, links in several.items() if met[inode] < links} - self._asked
        wanted -= {inode for inode in wanted if self._state.links(inode)}
        self._asked |= wanted
        found = self._state.holders(wanted) if wanted else {}
        for place in found.values():
            self._want(place)
        return bool(found)

    # ---------------------------------------------------------------------------------------------- what has to wait

    def _put_off(self) -> None:
        """What was not looked at waits; a directory that went waits for all that is known below it."""
        rest = self._sight.rest
        rest |= {(key, name) for key, names in self._wanted.items() for name in names}
        self._sight.rest_below |= self._whole & self._wanted.keys()
        rows = self._sight.rows
        for key in {place[0] for place in rest}:
            while key:
                place = place_of(key)
                row = rows.get(place, b"")
                if row is None or (row and not is_directory(row) and self._state.is_directory(key)):
                    del rows[place]
                    rest.add(place)
                key = place[0]


def _mtime(row: bytes) -> int:
    return ROW.unpack(row)[5]


def _identity(row: bytes) -> tuple[int, int]:
    """What tells one thing from another that takes its name: its type and its inode."""
    fields = ROW.unpack(row)
    return fields[0] & 0o170000, fields[_INODE]
