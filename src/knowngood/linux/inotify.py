"""inotify(7): watches of single directories, for everybody."""

from __future__ import annotations

import os

from knowngood.linux.calls import checked, libc
from knowngood.wire.inotify import (
    ATTRIB,
    CLOSE_WRITE,
    CREATE,
    DELETE,
    DELETE_SELF,
    MODIFY,
    MOVE_SELF,
    MOVED_FROM,
    MOVED_TO,
)

CHANGES = CREATE | DELETE | MOVED_FROM | MOVED_TO | MODIFY | CLOSE_WRITE | ATTRIB | DELETE_SELF | MOVE_SELF
"""Everything that changes an entry of a directory, or the directory itself."""

READ_BYTES = 1 << 18
_ONLYDIR = 0x01000000


def open_instance() -> int:
    """A descriptor that does not block. Raises OSError: EMFILE for too many instances of this user."""
    return checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def add_watch(instance: int, fd: int) -> int:
    """Watch an open directory; returns the watch's number, the same one for the same directory.

    Raises OSError: ENOSPC when this user has no more watches, EACCES without the right to read it.
    """
    return checked(libc.inotify_add_watch(instance, b"/proc/self/fd/%d" % fd, CHANGES | _ONLYDIR))


def remove_watch(instance: int, watch: int) -> None:
    """End a watch. Raises OSError: EINVAL when it has ended by itself."""
    checked(libc.inotify_rm_watch(instance, watch))


def add_file_watch(instance: int, path: str, mask: int) -> int:
    """Watch one file by its path; it is not opened. Raises OSError as `add_watch` does."""
    return checked(libc.inotify_add_watch(instance, path.encode(errors="surrogateescape"), mask))
