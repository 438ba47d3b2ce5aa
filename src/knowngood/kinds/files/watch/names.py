"""Files by their other names: changed by one outside of the component, by one that is gone, or by none at all.

The kernel tells of the name a file was opened by. The file may have other names, and these may be the component's; it
tells of every change of the number of names as well, by the file's handle alone. So every name that was used is looked
at: when it still is that file's, and the only one, nothing else has to be reported.
"""

from __future__ import annotations

import errno
import os
import stat

from knowngood.kinds.files.watch.directories import Opened, key_of, path_of
from knowngood.kinds.files.watch.dirty import Dirty, own_entry
from knowngood.kinds.files.watch.scope import Scope
from knowngood.linux.fanotify import open_handle
from knowngood.wire.fanotify import FSID_BYTES, Place, likely_inode

_GONE = frozenset({errno.ESTALE, errno.ENOENT})


class Names:
    """Gathers files that were changed, and finds out what to report beside the names that were used."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._used: dict[bytes, set[tuple[bytes, bytes]]] = {}  # by directory: names and the files they were used for
        self._unsure: set[bytes] = set()

    def used(self, place: Place, file: bytes) -> None:
        """A file was changed by this name."""
        known = self._used.get(place.directory)
        if known is None:
            known = self._used[place.directory] = set()
        known.add((place.name, file))

    def unsure(self, file: bytes) -> None:
        """Names of a file may have come or gone, or it was changed by none."""
        self._unsure.add(file)

    def settle(self, opened: Opened, dirty: Dirty) -> None:
        """Report what is, or may be, in the component. Raises OSError when the kernel cannot say."""
        for directory, used in self._used.items():
            self._look(opened, directory, used, dirty)
        self._used.clear()
        for file in self._unsure:
            self._find(opened, file, dirty)
        self._unsure.clear()

    def _look(self, opened: Opened, directory: bytes, used: set[tuple[bytes, bytes]], dirty: Dirty) -> None:
        fd = _open(opened, directory)
        if fd is None:
            self._unsure.update(file for _, file in used)
            return
        try:
            for name, file in used:
                try:
                    here = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except OSError:
                    self._unsure.add(file)
                    continue
                if here.st_ino != likely_inode(file):
                    self._unsure.add(file)
                elif here.st_nlink > 1:
                    dirty.inodes.add(here.st_ino)
        finally:
            os.close(fd)

    def _find(self, opened: Opened, file: bytes, dirty: Dirty) -> None:
        """Find a file by its handle alone."""
        fd = _open(opened, file)
        if fd is None:
            return
        try:
            here = os.fstat(fd)
            if here.st_nlink == 0 or stat.S_ISDIR(here.st_mode):
                return
            if here.st_nlink > 1 or (key := _only_name(opened, fd, here)) is None:
                dirty.inodes.add(here.st_ino)
                return
        finally:
            os.close(fd)
        above, name = own_entry(key)
        if key and self._belongs(opened, above, name):
            dirty.entries.add((above, name))

    def _belongs(self, opened: Opened, above: bytes, name: bytes) -> bool:
        try:
            found = self._scope.find(opened.root, above)
        except OSError:
            return True  # it moves: better once too often
        if found is None:
            return False
        folder, fd = found
        os.close(fd)
        return self._scope.has(folder, name, is_directory=False)


def _open(opened: Opened, handle: bytes) -> int | None:
    """Open by handle; None when it is gone."""
    for mount in opened.mounts.get(handle[:FSID_BYTES], ()):
        try:
            return open_handle(mount, handle)
        except OSError as wrong:
            if wrong.errno not in _GONE:
                raise
    return None


def _only_name(opened: Opened, fd: int, here: os.stat_result) -> bytes | None:
    """The key of the one name of a file, b"" when that is outside; None when the kernel does not know it."""
    try:
        path = path_of(fd)
        there = os.lstat(path)
    except OSError:
        return None
    same = (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
    return (key_of(opened, path) or b"") if same else None
