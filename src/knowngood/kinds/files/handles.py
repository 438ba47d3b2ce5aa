"""Open directories along the path of a walk, however deep it goes.

Every name is opened below its open parent, never by a long path and never through a symlink: the walk cannot leave
the tree, and depth has no limit. Only the deepest levels stay open; a level that was closed is opened again by walking
down from the root, and is checked to be the directory that it was.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK
_CLOSED = -1


class Moved(OSError):
    """A directory above the walk is no longer where it was."""


def open_quietly(name: bytes | str, flags: int, above: int | None = None) -> int:
    """Open for reading without touching the time of access, where the system allows that. Raises OSError."""
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=above)
    except PermissionError:  # only the owner and root may ask for O_NOATIME
        return os.open(name, flags, dir_fd=above)


@dataclass(slots=True)
class _Level:
    name: bytes
    fd: int
    device: int
    inode: int


class Handles:
    """The directories from the root down to where the walk is. Owns their descriptors, the root's too."""

    def __init__(self, root: int, limit: int) -> None:
        self._limit = max(2, limit)
        here = os.fstat(root)
        self._levels = [_Level(b"", root, here.st_dev, here.st_ino)]
        self._lowest = 1  # levels from here on are open; between the root and here they are closed

    @property
    def fd(self) -> int:
        """The deepest directory. Raises Moved."""
        top = self._levels[-1]
        if top.fd == _CLOSED:
            self._open_again()
        return top.fd

    def enter(self, name: bytes) -> os.stat_result:
        """Go down into a directory of the deepest one. Raises OSError, or Moved for those above."""
        fd = open_quietly(name, DIRECTORY_FLAGS, self.fd)
        here = os.fstat(fd)
        self._levels.append(_Level(name, fd, here.st_dev, here.st_ino))
        if len(self._levels) - self._lowest >= self._limit:
            self._close(self._levels[self._lowest])
            self._lowest += 1
        return here

    def leave(self) -> None:
        """Go up by one level."""
        self._close(self._levels.pop())
        self._lowest = max(1, min(self._lowest, len(self._levels)))

    def close(self) -> None:
        """Close all that is open."""
        while self._levels:
            self._close(self._levels.pop())

    @staticmethod
    def _close(level: _Level) -> None:
        if level.fd != _CLOSED:
            os.close(level.fd)
            level.fd = _CLOSED

    def _open_again(self) -> None:
        """Walk down from the root; keep the deepest levels open, so that going up level by level stays cheap."""
        keep = max(1, len(self._levels) - self._limit + 1)
        above = self._levels[0]
        for number, level in enumerate(self._levels[1:], start=1):
            try:
                level.fd = open_quietly(level.name, DIRECTORY_FLAGS, above.fd)
                here = os.fstat(level.fd)
            except OSError as wrong:
                self._forget(number + 1)
                raise Moved(wrong.errno, wrong.strerror) from None
            if above is not self._levels[0] and number - 1 < keep:
                self._close(above)
            if (here.st_dev, here.st_ino) != (level.device, level.inode):
                self._forget(number + 1)
                raise Moved(errno.ESTALE, "another directory has taken its place")
            above = level
        self._lowest = keep

    def _forget(self, below: int) -> None:
        """Close the levels above `below` that a walk down had opened before it failed."""
        for level in self._levels[1:below]:
            self._close(level)
        self._lowest = len(self._levels)
