"""A read-only snapshot of a component that is a subvolume of btrfs: all its files at one instant, for one checkpoint.

It lies in the directory above all subvolumes, reached through a mount of our own: mostly nobody else can see it. It has
the same name each time, so that the one of a killed process is found and removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256

from knowngood.kinds.files.syscalls import mount_id
from knowngood.linux.btrfs import TOP, delete_snapshot, has_subvolumes, make_snapshot, subvolume
from knowngood.linux.mounts import Mount, MountTable, open_btrfs_top

SNAPSHOT = "btrfs snapshot"
"""How a checkpoint says that it was made of one."""

PREFIX = b".knowngood-"
"""How their names begin."""

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Snapshots:
    """Those of one component; one at a time."""

    def __init__(self, path: bytes, state_dir: str) -> None:
        """`path` is the component's folder; its state folder tells it from all others."""
        self._path = path
        self._state_dir = state_dir
        self.name = PREFIX + sha256(os.fsencode(os.path.realpath(state_dir))).hexdigest()[:24].encode()

    def sweep(self) -> None:
        """Remove what a killed process left."""
        with suppress(OSError):
            source = self._source()
            if source is not None:
                os.close(source[0])
                self._drop(_top(source[1]))

    @contextmanager
    def taken(self) -> Iterator[int | None]:
        """The open root directory of a snapshot; None where there can be none."""
        top = root = None
        with suppress(OSError):
            top, root = self._take()
        try:
            yield root
        finally:
            if root is not None:
                os.close(root)
            if top is not None:
                self._drop(top)

    def _take(self) -> tuple[int | None, int | None]:
        """The directory that the snapshot is in, and its own, both open."""
        source = self._source()
        if source is None:
            return None, None
        fd, mount = source
        try:
            top = _top(mount)
            try:
                self._make(fd, top)
                if not has_subvolumes(fd):  # asked for afterwards: none can have come between
                    return top, os.open(self.name, _FLAGS | os.O_NOFOLLOW, dir_fd=top)
            except BaseException:
                self._drop(top)
                raise
            self._drop(top)
            return None, None
        finally:
            os.close(fd)

    def _drop(self, top: int) -> None:
        with suppress(OSError):
            delete_snapshot(top, self.name)
        os.close(top)

    def _make(self, fd: int, top: int) -> None:
        try:
            make_snapshot(fd, top, self.name)
        except FileExistsError:
            delete_snapshot(top, self.name)
            make_snapshot(fd, top, self.name)

    def _source(self) -> tuple[int, Mount] | None:
        """The open folder and its mount, if it is a subvolume of which a snapshot would have everything."""
        fd = os.open(self._path, _FLAGS)
        try:
            mount = self._mount(fd) if subvolume(fd) not in (None, TOP) else None
            if mount is not None and os.fstat(fd).st_dev != os.stat(self._state_dir).st_dev:
                return os.dup(fd), mount
        finally:
            os.close(fd)
        return None

    def _mount(self, fd: int) -> Mount | None:
        """The mount of the open folder; None when others are mounted in it."""
        table = MountTable()
        try:
            mounts = table.read()
        finally:
            table.close()
        inside = self._path.rstrip(b"/") + b"/"
        if any(each.path.startswith(inside) for each in mounts):
            return None
        number = int(mount_id(fd).split()[-1])
        return next((each for each in mounts if each.id == number), None)


def _top(mount: Mount) -> int:
    """The directory above all subvolumes, open. Raises OSError."""
    tree = open_btrfs_top(mount.source)
    try:
        return os.open(b".", _FLAGS, dir_fd=tree)
    finally:
        os.close(tree)
