"""The file systems of a component, marked: which they are, and which of them cannot be."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, suppress

from knowngood.kinds.files.watch.feed import Lost, Refused
from knowngood.kinds.files.watch.mounted import Root, is_watchable
from knowngood.linux import fanotify as kernel
from knowngood.linux.mounts import Mount, open_btrfs_top

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_REASONS = {
    errno.EPERM: "not allowed to mark file systems: that needs CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH",
    errno.EINVAL: "this kernel is too old for it: Linux 5.17 or newer is needed",
    errno.ENOSYS: "this kernel was built without it",
    errno.EMFILE: "too many groups: raise fs.fanotify.max_user_groups",
    errno.ENOSPC: "too many marks: raise fs.fanotify.max_user_marks",
    errno.EXDEV: "it is below a subvolume whose file system cannot be marked as a whole",
    errno.ENODEV: "the file system has no id",
    errno.EOPNOTSUPP: "the file system has no handles for files",
    errno.EOVERFLOW: "the file system's handles are too long",
}


class Marks:
    """A group with the marks of a component's file systems."""

    def __init__(self, root: Root, fd: int, mount: Mount, others: dict[bytes, Mount]) -> None:
        """Mark the file system of the open root, and those of the other mounts. Raises Refused for the first."""
        self._root = root
        try:
            self.group = kernel.open_group()
        except OSError as wrong:
            raise _refused(wrong) from None
        try:
            self._id = self._mark(fd, mount)
            os.close(kernel.open_handle(fd, kernel.handle_of(fd)))
        except OSError as wrong:
            self.close()
            raise _refused(wrong) from None
        self._others: dict[bytes, tuple[bytes, tuple[int, int]]] = {}  # path below the root → file system, identity
        unwatched: list[bytes] = []
        for key, each in sorted(others.items()):
            if not self._add(fd, key, each):
                unwatched.append(key)
        self.unwatched = tuple(unwatched)

    def see(self, folder: int) -> None:
        """See what is made in an open folder as well, be it on another file system: one queue keeps the order.

        Where that cannot be, as in subvolumes of btrfs, nothing is seen there, unless its file system is marked.
        """
        with suppress(OSError):
            kernel.mark_folder(self.group, folder)

    def close(self) -> None:
        """End all marks."""
        os.close(self.group)

    def open(self, stack: ExitStack, root: int) -> dict[bytes, list[int]]:
        """Descriptors of the mounts, by the ids of their file systems. Raises Lost when they are not as they were."""
        found = {self._id: [root]}
        for path, (file_system, identity) in self._others.items():
            try:
                fd = os.open(path, _FLAGS, dir_fd=root)
            except OSError:
                raise Lost("a mount below the component's folder is gone") from None
            stack.callback(os.close, fd)
            if _identity(fd) != identity:
                raise Lost("another mount has taken the place of one below the component's folder")
            found.setdefault(file_system, []).append(fd)
        return found

    def _add(self, root: int, key: bytes, mount: Mount) -> bool:
        if not is_watchable(mount.kind):
            return False
        path = key.replace(b"\0", b"/")
        try:
            fd = os.open(path, _FLAGS, dir_fd=root)
        except OSError:
            return False
        try:
            self._others[path] = self._mark(fd, mount), _identity(fd)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def _mark(self, fd: int, mount: Mount) -> bytes:
        """Mark the file system of an open directory; returns the id that its events will have. Raises OSError."""
        try:
            kernel.mark(self.group, fd)
            return kernel.file_system_id(fd)
        except OSError as wrong:
            if wrong.errno != errno.EXDEV or mount.kind != b"btrfs":
                raise
        top = open_btrfs_top(mount.source)
        try:
            kernel.mark(self.group, top)
            return kernel.file_system_id(top)
        finally:
            os.close(top)


def _identity(fd: int) -> tuple[int, int]:
    here = os.fstat(fd)
    return here.st_dev, here.st_ino


def _refused(wrong: OSError) -> Refused:
    return Refused(_REASONS.get(wrong.errno or 0) or os.strerror(wrong.errno or 0).lower())
