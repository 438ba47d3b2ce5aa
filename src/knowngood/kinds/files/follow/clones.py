"""Clones of large files: each shares all blocks of a file as it was when the log last learnt of it.

A clone holds its blocks: as long as it is there, what lies in the same place in a newer clone are the same bytes. So
two clones tell what changed without reading the file, and the newer one gives the bytes, as they were at one instant.
Clones have no name: nobody can open them, nothing has to leave them out, and none outlives the process. They are
open through mounts of our own, so that file systems can still be unmounted.
"""

from __future__ import annotations

import errno
import os
import resource
import time
from collections import OrderedDict
from collections.abc import Callable

from knowngood.core.sizes import MIB
from knowngood.kinds.files.follow.clone import Clone, make_clone
from knowngood.kinds.files.follow.known import Inode
from knowngood.linux.mounts import open_detached
from knowngood.tree.content import Extents

LEAST = MIB
"""Files below this are read whole: a clone costs as much."""

FILES = 1000
"""So many clones at most: each is an open descriptor, and they never take more than a quarter of those there may be."""

SHARE = 50
"""A file rests for so many times what its last clone took: writers wait for clones 2 % of the time at most."""

SCARCE, SHORT = 0.10, 0.05
"""Clones hold what others have let go. With less than the first share of a file system free, half of them go at each
look, those first that were changed least recently; with less than the second, all, and none is made."""

_LITTLE_ROOM = "there is little room on the file system: without their clones, changed files are read whole"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Clones:
    """Those of one component. What was held counts when it is kept."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        free: Callable[[int], float] | None = None,
        *,
        least: int = LEAST,
        files: int = FILES,
    ) -> None:
        """`free` says which share is free of the file system of an open file."""
        self.least = least
        self.files = min(files, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self.reason = ""
        """Why there are not as many as there could be."""
        self.none = False
        """Whether none can be made just now."""
        self._clock = clock
        self._free = free or free_share
        self._kept: OrderedDict[Inode, Clone] = OrderedDict()  # least recently changed first
        self._held: dict[int, Clone] = {}
        self._folders: dict[int, int] = {}  # where clones are made, by device
        self.stand_ins: dict[int, int] = {}
        """Devices of snapshots, and those of what they are of: clones are made there."""

    @property
    def count(self) -> int:
        """How many files have one."""
        return len(self._kept)

    # --------------------------------------------------------------------------------------------------------- held

    def hold(self, above: int, fd: int, file: os.stat_result) -> Clone | None:
        """Make a clone of an open file of an open directory (port Witness)."""
        if file.st_size < self.least:
            return None
        begun = self._clock()
        try:
            if self._free(fd) < SHORT:
                self._scarce(0)
                return None
            made = self._made(above, fd, file)
        except OSError as wrong:
            if wrong.errno in _FULL:
                self._scarce(0)
            return None
        if self.none:
            self.none, self.reason = False, ""
        if len(self._held) >= self.files:
            self._held.pop(min(self._held, key=lambda each: self._held[each].size)).close()
        made.begun = begun
        self._held[made.fd] = made
        return made

    def _made(self, above: int, fd: int, file: os.stat_result) -> Clone:
        device = self.stand_ins.get(file.st_dev, file.st_dev)
        folder = self._folders.get(device)
        if folder is None:
            folder = self._folders[device] = _opened_again(above)
        try:
            return make_clone(folder, fd, file)
        except FileNotFoundError:  # the directory was removed
            os.close(folder)
            self._folders[device] = _opened_again(above)
            return make_clone(self._folders[device], fd, file)

    def stream(self, fd: int, extents: Extents, row: bytes) -> None:
        """Nothing more is learnt from reading (port Witness)."""

    def made(self, fd: int) -> Clone | None:
        """What is held, and read by this descriptor."""
        return self._held.get(fd)

    def held(self) -> dict[tuple[int, bytes], Clone]:
        """All that is held, by inode number and row."""
        return {(each.file.st_ino, each.row): each for each in self._held.values()}

    def let_go(self) -> None:
        """What is held and was not kept is of no use any more."""
        for each in self._held.values():
            each.close()
        self._held.clear()

    # --------------------------------------------------------------------------------------------------------- kept

    def find(self, inode: Inode, row: bytes) -> Clone | None:
        """The clone of a file, if it is of what is known of it."""
        found = self._kept.get(inode)
        return found if found is not None and found.row == row else None

    def settle(self, inode: Inode, made: Clone | None) -> None:
        """This is what is known of a file now; None when there is no clone of that."""
        before = self._kept.pop(inode, None)
        if before is not None and before is not made:
            before.close()
        if made is None or not made.open:
            return
        self._held.pop(made.fd, None)
        made.rests_until = self._clock() + SHARE * made.cost
        self._kept[inode] = made
        if len(self._kept) > self.files:
            self._kept.popitem(last=False)[1].close()
            self.reason = f"more than {self.files} large files change: those that changed least recently are read whole"

    def rests(self, inode: Inode) -> bool:
        """Whether a file was cloned so short a while ago that it has to wait."""
        found = self._kept.get(inode)
        return found is not None and self._clock() < found.rests_until

    def age(self, inode: Inode) -> float:
        """For how many seconds nobody has read a file that has a clone: since before that was made."""
        found = self._kept.get(inode)
        return max(0.0, self._clock() - found.begun) if found is not None else 0.0

    def mind_room(self) -> None:
        """Give back what clones hold where room gets scarce."""
        systems = {each.file.st_dev: each.fd for each in self._kept.values()}
        least = min((self._free(fd) for fd in systems.values()), default=1.0)
        if least < SCARCE:
            self._scarce(self.count // 2 if least >= SHORT else 0)
        elif self.reason == _LITTLE_ROOM and not self.none:
            self.reason = ""

    def _scarce(self, left: int) -> None:
        self.none = not left
        self.reason = _LITTLE_ROOM
        while len(self._kept) > left:
            self._kept.popitem(last=False)[1].close()

    def clear(self) -> None:
        """Let go of all: nothing is known of any file."""
        while self._kept:
            self._kept.popitem()[1].close()
        while self._folders:
            os.close(self._folders.popitem()[1])
        self.let_go()


def _opened_again(folder: int) -> int:
    try:
        return open_detached(folder)
    except OSError:  # an older kernel: then file systems cannot be unmounted while there are clones
        return os.dup(folder)


def free_share(fd: int) -> float:
    """Which share of a file system can still be written to. Raises OSError."""
    room = os.fstatvfs(fd)
    return room.f_bavail / room.f_blocks if room.f_blocks else 1.0
