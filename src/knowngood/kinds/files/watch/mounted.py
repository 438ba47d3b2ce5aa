"""The root of a component, and the mounts that it consists of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from knowngood.core.model import ComponentSpec
from knowngood.kinds.files.syscalls import mount_id
from knowngood.kinds.files.watch.directories import path_of
from knowngood.kinds.files.watch.feed import Lost
from knowngood.linux.mounts import Mount

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ELSEWHERE = frozenset(
    (b"nfs", b"nfs4", b"cifs", b"smb3", b"9p", b"ceph", b"afs", b"coda", b"lustre", b"gfs2", b"ocfs2", b"virtiofs")
)
"""File systems that others change without this kernel's knowledge, or that do not last."""
_MADE_UP = frozenset((b"proc", b"sysfs", b"devpts", b"cgroup", b"cgroup2", b"debugfs", b"tracefs", b"configfs"))


def is_watchable(kind: bytes) -> bool:
    """Whether this kernel knows of every change on a file system of this kind."""
    return kind not in _ELSEWHERE and kind not in _MADE_UP and kind.split(b".")[0] not in (b"fuse", b"fuseblk")


class Root:
    """The root directory of a component. It is held open only while events are read, so that it can be unmounted."""

    def __init__(self, component: ComponentSpec) -> None:
        """Raises OSError when it is not there, NotADirectoryError for a single file."""
        self._path = os.fsencode(component.path)
        self._one_file_system = component.one_file_system
        fd = os.open(self._path, _FLAGS)
        try:
            self.stat = os.fstat(fd)
            self.path = path_of(fd)
            self._mount = int(mount_id(fd).split()[-1])
        finally:
            os.close(fd)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The open directory. Raises Lost when another one, or none, is in its place."""
        try:
            fd = os.open(self._path, _FLAGS)
        except OSError as wrong:
            raise Lost(f"the component's folder is gone: {os.strerror(wrong.errno or 0).lower()}") from None
        try:
            here = os.fstat(fd)
            if (here.st_dev, here.st_ino) != (self.stat.st_dev, self.stat.st_ino) or path_of(fd) != self.path:
                raise Lost("another folder has taken the place of the component's")
            yield fd
        finally:
            os.close(fd)

    def mount(self, table: list[Mount]) -> Mount | None:
        """The mount that it is on."""
        return next((each for each in table if each.id == self._mount), None)

    def below(self, table: list[Mount], wanted: Callable[[bytes], bool]) -> dict[bytes, Mount]:
        """The mounts below it that belong to the component, by key."""
        above = self.path.rstrip(b"/") + b"/"
        found: dict[bytes, Mount] = {}
        for each in table:  # of several at one path, the last one hides the others
            if each.path.startswith(above) and len(each.path) > len(above):
                key = each.path[len(above) :].replace(b"/", b"\0")
                if self._counts(each) and wanted(key):
                    found[key] = each
        return found

    def _counts(self, mount: Mount) -> bool:
        if not self._one_file_system:
            return True
        if not is_watchable(mount.kind):  # another one for certain; asking a server that is gone would not return
            return False
        try:
            return os.stat(mount.path).st_dev == self.stat.st_dev
        except OSError:
            return False
