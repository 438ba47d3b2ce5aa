"""Things that happen to the blocks of files, and that only some file systems know."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from knowngood.linux.calls import checked, libc
from knowngood.linux.reflink import clone, clone_range

BLOCK = 4096
_KEEP_SIZE, _PUNCH, _COLLAPSE, _ZERO, _INSERT, _UNSHARE = 1, 2, 8, 16, 32, 64
_DEFRAG = 0x50009402


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """As fallocate(2). Raises OSError."""
    checked(libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


class BlockChanger:
    """Changes ranges of open files. What a file system does not know raises OSError."""

    def __init__(self, some: random.Random) -> None:
        self.some = some

    def change(self, path: Path, other: Path) -> None:
        """Do one thing to a file; some need another one."""
        acts: list[Callable[[int, int], None]] = [
            self.write, self.write, self.write, self.small, self.truncate, self.punch, self.zero, self.allocate,
            self.beyond, self.mapped, self.rewrite, self.collapse, self.insert, self.unshare, self.defragment,
            self.share_range, self.share_range, self.copy_range, self.append, self.sync,
        ]  # fmt: skip
        fd = os.open(path, os.O_RDWR)
        try:
            if self.some.random() < 0.1:
                self.share(fd, other)
            else:
                self.some.choice(acts)(fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)

    def _range(self, size: int) -> tuple[int, int]:
        start = self.some.randrange(size + 1)
        return start, self.some.choice((1, 100, BLOCK, 3 * BLOCK, 70_000))

    def _blocks(self, size: int) -> tuple[int, int]:
        return BLOCK * self.some.randrange(size // BLOCK + 1), BLOCK * self.some.randrange(1, 20)

    def write(self, fd: int, size: int) -> None:
        """Some blocks."""
        start, length = self._blocks(size)
        os.pwrite(fd, self.some.randbytes(length), start)

    def small(self, fd: int, size: int) -> None:
        """Some bytes, in no relation to blocks."""
        start, length = self._range(size)
        os.pwrite(fd, self.some.randbytes(length), start)

    def append(self, fd: int, size: int) -> None:
        """At the end."""
        os.pwrite(fd, self.some.randbytes(self._range(size)[1]), size)

    def sync(self, fd: int, _size: int) -> None:
        """Write out what is held: the next write goes elsewhere."""
        os.fdatasync(fd)

    def truncate(self, fd: int, size: int) -> None:
        """Shorter, or longer; or both, which leaves zeros."""
        os.ftruncate(fd, self.some.randrange(size + 1))
        if self.some.random() < 0.7:
            os.ftruncate(fd, self.some.randrange(size + 100_000))

    def punch(self, fd: int, size: int) -> None:
        """A hole."""
        fallocate(fd, _KEEP_SIZE | _PUNCH, *self._range(size))

    def zero(self, fd: int, size: int) -> None:
        """Zeros that take room."""
        fallocate(fd, _ZERO, *self._range(size))

    def allocate(self, fd: int, size: int) -> None:
        """Room, also beyond the end."""
        fallocate(fd, 0, *self._range(size))

    def beyond(self, fd: int, size: int) -> None:
        """Room that does not show."""
        fallocate(fd, _KEEP_SIZE, size, self._range(size)[1])

    def mapped(self, fd: int, size: int) -> None:
        """Stores through a map."""
        with closing(mmap.mmap(fd, size)) as view:
            for _ in range(3):
                at = self.some.randrange(size)
                view[at : at + 1] = self.some.randbytes(1)

    def rewrite(self, fd: int, size: int) -> None:
        """The same bytes again: they lie elsewhere then."""
        start, length = self._blocks(size)
        os.pwrite(fd, os.pread(fd, length, start), start)

    def collapse(self, fd: int, size: int) -> None:
        """Take blocks out."""
        fallocate(fd, _COLLAPSE, *self._blocks(size))

    def insert(self, fd: int, size: int) -> None:
        """Put a hole in between."""
        fallocate(fd, _INSERT, *self._blocks(size))

    def unshare(self, fd: int, size: int) -> None:
        """Blocks of its own."""
        fallocate(fd, _UNSHARE, *self._blocks(size))

    def defragment(self, fd: int, _size: int) -> None:
        """On btrfs."""
        fcntl.ioctl(fd, _DEFRAG, 0)

    def share_range(self, fd: int, size: int) -> None:
        """The same blocks twice in a file."""
        start, length = self._blocks(size)
        target, _ = self._blocks(size)
        source = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        try:
            if target == start:
                return
            clone_range(source, start, min(length, abs(target - start)), fd, target)
        finally:
            os.close(source)

    def copy_range(self, fd: int, size: int) -> None:
        """As copy_file_range(2) does it."""
        start, length = self._range(size)
        os.copy_file_range(fd, fd, min(length, size // 3), start, self.some.randrange(size))

    def share(self, fd: int, other: Path) -> None:
        """All blocks of another file."""
        with other.open("rb") as source:
            if self.some.random() < 0.5:
                os.ftruncate(fd, 0)
                clone(source.fileno(), fd)
            else:
                clone_range(source.fileno(), 0, BLOCK * self.some.randrange(1, 30), fd, 0)
