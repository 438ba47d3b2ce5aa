"""Somebody who does everything that can be done to a tree, at random; and what the tree looks like at any time.

    python chaos.py ROOT OUTSIDE SEED COUNT all|moves

does so from another process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
import stat
import sys
from collections.abc import Callable

_libc = ctypes.CDLL(None, use_errno=True)
_EXCHANGE = 2
_PUNCH_KEEPING_SIZE = 3
_AT_FDCWD, _FOLLOW = -100, 0x400
_NAMES = (b"a", b"b", b"c", b"\xff", b"d d", b"e\n")

Rows = dict[tuple[bytes, bytes], tuple[int, ...]]
"""(key of the directory, name) → what a tree keeps of an entry: a change of anything shows as a time of change."""

INODE, LINKS, MODE = range(3)
"""Places in a row."""


def rows(root: bytes) -> Rows:
    """Every entry below a folder, and its own."""
    found: Rows = {(b"", b"."): _row(os.stat(root))}
    ahead = [b""]
    while ahead:
        key = ahead.pop()
        with os.scandir(os.path.join(root, key.replace(b"\0", b"/"))) as entries:
            for entry in entries:
                here = entry.stat(follow_symlinks=False)
                found[key, entry.name] = _row(here)
                if stat.S_ISDIR(here.st_mode):
                    ahead.append(key + b"\0" + entry.name if key else entry.name)
    return found


def _row(here: os.stat_result) -> tuple[int, ...]:
    links, size = (0, 0) if stat.S_ISDIR(here.st_mode) else (here.st_nlink, here.st_size)
    return (here.st_ino, links, here.st_mode, here.st_uid, size, here.st_mtime_ns, here.st_ctime_ns)


class Chaos:
    """Does random things in `root` and in `outside`, which is on the same file system."""

    def __init__(self, root: bytes, outside: bytes, seed: int, *, links: bool = True, moves: bool = True) -> None:
        """`links`: files get several names. `moves`: things go out of the root and come in.

        With both, it also writes to files whose name is gone.
        """
        self._random = random.Random(seed)
        self._root = root
        self._outside = outside
        self._open: list[int] = []
        self._links = links
        self._outside_share = 0.15 if moves else 0.0
        self._acts: list[Callable[[], None]] = [
            self._write, self._write, self._write, self._append, self._truncate, self._rename, self._rename,
            self._rename_folder, self._link, self._remove, self._remove, self._grow, self._grow, self._mode,
            self._attribute, self._punch, self._symlink, self._remove_tree, self._pipe, self._copy, self._times,
        ]  # fmt: skip
        if links and moves:
            self._acts += [self._keep_open, self._use_open, self._use_open, self._nameless, self._exchange]

    def act(self, count: int) -> None:
        """So many things; what cannot be done is not."""
        for _ in range(count):
            with contextlib.suppress(OSError):
                self._random.choice(self._acts)()

    def close(self) -> None:
        """Close what was kept open."""
        while self._open:
            os.close(self._open.pop())

    # ------------------------------------------------------------------------------------------------------ where

    def _folder(self) -> bytes:
        """Some folder, mostly in the root."""
        path = self._outside if self._random.random() < self._outside_share else self._root
        while self._random.random() < 0.6:
            with os.scandir(path) as entries:
                below = sorted(each.path for each in entries if each.is_dir(follow_symlinks=False))
            if not below:
                break
            path = self._random.choice(below)
        return path

    def _inner(self) -> bytes:
        folder = self._folder()
        return folder if folder not in (self._root, self._outside) else folder + b"/none"

    def _new(self) -> bytes:
        return os.path.join(self._folder(), self._random.choice(_NAMES))

    def _any(self) -> bytes:
        folder = self._folder()
        return os.path.join(folder, self._random.choice(sorted(os.listdir(folder)) or [b"none"]))

    def _file(self) -> bytes:
        path = self._any()
        return path if stat.S_ISREG(os.lstat(path).st_mode) else path + b"/none"

    # ------------------------------------------------------------------------------------------------------- what

    def _put(self, path: bytes, flags: int, size: int) -> None:
        fd = os.open(path, flags | os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW, 0o644)
        try:
            os.write(fd, self._random.randbytes(size))
        finally:
            os.close(fd)

    def _write(self) -> None:
        self._put(self._new(), os.O_CREAT | os.O_TRUNC, self._random.choice((0, 1, 5000)))

    def _append(self) -> None:
        self._put(self._file(), os.O_APPEND, 10)

    def _truncate(self) -> None:
        os.truncate(self._file(), self._random.choice((0, 3, 9000)))

    def _rename(self) -> None:
        os.rename(self._any(), self._new())

    def _rename_folder(self) -> None:
        os.rename(self._inner(), self._new())

    def _link(self) -> None:
        if self._links:
            os.link(self._file(), self._new())

    def _remove(self) -> None:
        path = self._any()
        (os.rmdir if stat.S_ISDIR(os.lstat(path).st_mode) else os.unlink)(path)

    def _remove_tree(self) -> None:
        if self._random.random() < 0.4:
            shutil.rmtree(self._inner())

    def _grow(self) -> None:
        """Nested folders at once, and files in them immediately."""
        path = self._new()
        deep = os.path.join(path, *self._random.choices(_NAMES, k=self._random.randint(0, 3)))
        os.makedirs(deep, exist_ok=True)
        for name in self._random.sample(_NAMES, 3):
            self._put(os.path.join(deep, name), os.O_CREAT, 4)

    def _mode(self) -> None:
        path = self._any()
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            os.chmod(path, self._random.choice((0o700, 0o755, 0o711)))

    def _attribute(self) -> None:
        os.setxattr(self._any(), "user.test", self._random.randbytes(3), follow_symlinks=False)

    def _times(self) -> None:
        os.utime(self._any(), ns=(1, self._random.randint(1, 1 << 40)), follow_symlinks=False)

    def _symlink(self) -> None:
        os.symlink(b"anywhere", self._new())

    def _pipe(self) -> None:
        os.mkfifo(self._new())

    def _copy(self) -> None:
        source = os.open(self._file(), os.O_RDONLY | os.O_NOFOLLOW)
        try:
            target = os.open(self._file(), os.O_WRONLY | os.O_NOFOLLOW)
            try:
                os.copy_file_range(source, target, 100)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _punch(self) -> None:
        fd = os.open(self._file(), os.O_WRONLY | os.O_NOFOLLOW)
        try:
            _libc.fallocate(fd, _PUNCH_KEEPING_SIZE, ctypes.c_int64(0), ctypes.c_int64(4096))
        finally:
            os.close(fd)

    # ----------------------------------------------------------------------------------------------------- tricks

    def _keep_open(self) -> None:
        """A file that may lose the name it was opened by."""
        if len(self._open) < 20:
            self._open.append(os.open(self._file(), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW))

    def _use_open(self) -> None:
        if self._open:
            os.write(self._random.choice(self._open), b"by no name")

    def _nameless(self) -> None:
        """A file that gets its name late, and is written to by its descriptor for ever after."""
        fd = os.open(self._folder(), os.O_TMPFILE | os.O_WRONLY | os.O_APPEND, 0o600)
        self._open.append(fd)
        os.write(fd, b"early")
        _libc.linkat(_AT_FDCWD, b"/proc/self/fd/%d" % fd, _AT_FDCWD, self._new(), _FOLLOW)

    def _exchange(self) -> None:
        _libc.renameat2(_AT_FDCWD, self._any(), _AT_FDCWD, self._any(), _EXCHANGE)


def main() -> None:
    """Act, and tell when it is done by ending."""
    root, outside, seed, count, kinds = sys.argv[1:]
    chaos = Chaos(os.fsencode(root), os.fsencode(outside), int(seed), links=kinds == "all")
    chaos.act(int(count))
    chaos.close()


if __name__ == "__main__":
    main()
