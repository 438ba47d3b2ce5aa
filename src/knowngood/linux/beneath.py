"""Ways to things below an open directory that never lead out of it: openat2(2), and renameat2(2), fallocate(2)."""

from __future__ import annotations

import ctypes
import os
import struct

from knowngood.linux.calls import checked, libc

_OPENAT2 = 437  # the same number on every architecture
_HOW = struct.Struct("=QQQ")
_NO_MAGIC_LINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_RESOLVE = _NO_MAGIC_LINKS | _NO_SYMLINKS | _BENEATH
_MODES = os.O_CREAT | getattr(os, "O_TMPFILE", 0)
_IO_FLUSHER = 57  # PR_SET_IO_FLUSHER of <linux/prctl.h>

EXCHANGE = 2
"""The flag of a rename that lets two names change places."""


def open_beneath(directory: int, path: bytes, flags: int, mode: int = 0) -> int:
    """Open a path below an open directory, through no symlink. Raises OSError: EXDEV or ELOOP when it leads away."""
    if flags & os.O_NOFOLLOW and b"/" not in path and path != b"..":  # one name leads nowhere else, and is done sooner
        return os.open(path, flags, mode, dir_fd=directory)
    how = _HOW.pack(flags | os.O_CLOEXEC, mode if flags & _MODES else 0, _RESOLVE)
    return checked(libc.syscall(_OPENAT2, directory, path, how, len(how)))


def rename_beneath(old: int, name: bytes, new: int, new_name: bytes, flags: int) -> None:
    """Rename between open directories, with flags as of renameat2(2). Raises OSError."""
    if not flags:
        os.rename(name, new_name, src_dir_fd=old, dst_dir_fd=new)
        return
    checked(libc.renameat2(old, name, new, new_name, flags))


def allocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2). Raises OSError."""
    checked(libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


def serve_writeback() -> None:
    """This process takes part in writing pages out: the kernel must not wait for it when it asks for memory.

    Where the kernel does not know that, nothing happens.
    """
    libc.prctl(_IO_FLUSHER, 1, 0, 0, 0)
