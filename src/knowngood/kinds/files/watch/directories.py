"""From the handle of a directory, as events carry it, to the directories of the component that it is.

Mostly one or none; several where a bind mount shows a directory twice. Each answer is remembered until a directory is
renamed. Handles are resolved when events are read, not when they happened: a directory that has moved meanwhile has
its own event, by which its whole subtree becomes dirty where it is now.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from knowngood.kinds.files.watch.scope import Folder, Scope
from knowngood.linux.fanotify import open_handle
from knowngood.wire.fanotify import FSID_BYTES

_REMEMBERED = 100_000
_GONE = frozenset({errno.ESTALE, errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Opened(NamedTuple):
    """The mounts of the component while events are read: descriptors by the id of their file system."""

    root: int
    path: bytes  # of the root, as the kernel names it now
    mounts: dict[bytes, list[int]]


class Directories:
    """Answers by handle. Up to 100,000 are remembered, about 300 bytes each."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._known: dict[bytes, tuple[Folder, ...]] = {}

    def forget(self) -> None:
        """A directory was renamed: any answer may be another now."""
        self._known.clear()
        self._scope.forget()

    def find(self, opened: Opened, handle: bytes) -> tuple[Folder, ...]:
        """The directories of the component that a handle stands for: none when it is elsewhere, or gone.

        Raises OSError when the kernel cannot say.
        """
        known = self._known.get(handle)
        if known is not None:
            return known
        found: dict[bytes, Folder] = {}
        for mount in opened.mounts.get(handle[:FSID_BYTES], ()):
            try:
                fd = open_handle(mount, handle)
            except OSError as wrong:
                if wrong.errno in _GONE:
                    return ()
                raise
            try:
                if folder := self._at(opened, fd):
                    found[folder.key] = folder
            finally:
                os.close(fd)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        answer = self._known[handle] = tuple(found.values())
        return answer

    def _at(self, opened: Opened, fd: int) -> Folder | None:
        """The directory of the component that an open directory is; None when it is none, or no longer."""
        try:
            path = path_of(fd)
        except OSError as wrong:
            if wrong.errno != errno.ENAMETOOLONG:
                raise
            return self._above(opened, fd)
        key = key_of(opened, path)
        if key is None:
            return None
        try:
            found = self._scope.find(opened.root, key)
        except OSError as wrong:
            if wrong.errno in _GONE:
                return None  # removed, moved or hidden by a mount since; each of these is told of
            raise
        if found is None:
            return None
        folder, there = found
        try:
            return folder if os.path.sameopenfile(there, fd) else None
        finally:
            os.close(there)

    def _above(self, opened: Opened, fd: int) -> Folder | None:
        """The nearest directory above that the kernel can name."""
        parent = os.open(b"..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            folder = self._at(opened, parent)
            return folder._replace(whole=True) if folder else None
        finally:
            os.close(parent)


def path_of(fd: int) -> bytes:
    """The path of an open file or directory as the kernel knows it. Raises OSError."""
    return os.readlink(b"/proc/self/fd/%d" % fd)


def key_of(opened: Opened, path: bytes) -> bytes | None:
    """The key of what has this path; None when it is not in or below the root."""
    root = opened.path
    if path == root:
        return b""
    above = root if root.endswith(b"/") else root + b"/"
    return path[len(above) :].replace(b"/", b"\0") if path.startswith(above) else None
