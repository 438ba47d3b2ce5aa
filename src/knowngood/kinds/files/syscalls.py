"""What Linux offers and Python does not wrap: syncfs, cloning of blocks, punching of holes, setting of file flags."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys

from knowngood.core.errors import Busy
from knowngood.kinds.files.attributes import FS_IOC_GETFLAGS, SETTABLE_FLAGS

IMMUTABLE = 0x10
APPEND_ONLY = 0x20
LOCKING = IMMUTABLE | APPEND_ONLY
"""Flags that keep everybody, root too, from changing a file, renaming it or linking to it."""
EARLY = 0x00800000 | 0x4 | 0x400
"""Flags that decide how content is stored: of use only while a file is empty. No copy on write, (no) compression."""

FS_IOC_SETFLAGS = 0x40086602
_FICLONE = 0x40049409
_PUNCH_KEEPING_SIZE = 3
_COMPRESSING = {0x9123683E, 0x2FC12FC1, 0xF2F52010, 0xCA451A4E}  # btrfs, zfs, f2fs, bcachefs
_STATFS_BYTES = 256  # more than struct statfs has on any architecture

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def sync_file_system(fd: int) -> None:
    """Put all that was written to the file system of an open file on stable storage. Raises OSError."""
    _check(_libc.syncfs(fd))


def clone(source: int, into: int) -> bool:
    """Let the open file `into` share all blocks of `source`. False where that cannot be."""
    try:
        fcntl.ioctl(into, _FICLONE, source)
    except OSError as wrong:
        if wrong.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return False
    return True


def punch(fd: int, offset: int, length: int) -> None:
    """Make a range of a file a hole where the file system can; the bytes in it read as zeros. Raises OSError."""
    try:
        at, count = ctypes.c_int64(offset), ctypes.c_int64(length)
        _check(_libc.fallocate(fd, _PUNCH_KEEPING_SIZE, at, count))
    except OSError as wrong:
        if wrong.errno != errno.EOPNOTSUPP:
            raise


def set_flags(fd: int, wanted: int, among: int = SETTABLE_FLAGS) -> None:
    """Set those flags of `among` that are in `wanted`, clear its others, leave the rest. Raises OSError."""
    answer = bytearray(8)
    fcntl.ioctl(fd, FS_IOC_GETFLAGS, answer)
    have = int.from_bytes(answer[:4], sys.byteorder)
    new = (have & ~among) | (wanted & among)
    if new != have:
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, new.to_bytes(4, sys.byteorder) + bytes(4))


def mount_id(fd: int) -> bytes:
    """Which mount an open file was reached through: tells a bind mount from the folder it stands on."""
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        return next((line for line in file if line.startswith(b"mnt_id:")), b"")


def may_compress(fd: int) -> bool:
    """Whether the file system may need less room for a file than its size."""
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.fstatfs(fd, answer):
        return False
    kind = int.from_bytes(answer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder)
    return kind & 0xFFFFFFFF in _COMPRESSING


def lock_folder(fd: int, path: str) -> None:
    """Keep other recoveries out of a folder until it is closed. Raises Busy."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Busy(f"another recovery is writing to {path}", hint="wait for it to end") from None
    except OSError:  # a network file system may not lock folders; two recoveries at once are then not noticed
        return


def umask() -> int:
    """The process' mask of creation modes, read without changing it."""
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    return 0o7777  # unknown: every mode is then set explicitly
