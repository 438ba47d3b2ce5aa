"""Where the bytes of an open file lie: by FIEMAP, and on btrfs by a search of its trees.

FIEMAP does not say which part of a compressed extent a range is; the trees do. The search needs CAP_SYS_ADMIN.
Sources: Documentation/filesystems/fiemap.rst, ioctl_fiemap; BTRFS_IOC_TREE_SEARCH_V2 in include/uapi/linux/btrfs.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys

from knowngood.linux.calls import checked, libc
from knowngood.wire.extents import (
    FIEMAP_EXTENT,
    FIEMAP_HEAD,
    FIEMAP_SYNC,
    SEARCH_KEY,
    Extent,
    fiemap_extents,
    search_count,
    search_key,
    searched_extents,
)

BTRFS = 0x9123683E
XFS = 0x58465342

_FIEMAP = 0xC020660B
_TREE_SEARCH = 0xC0709411
_AT_ONCE = 4096  # extents
_ROOM = 1 << 18  # bytes of items
_STATFS_BYTES = 256  # more than struct statfs has on any architecture


def file_system_type(fd: int) -> int:
    """The magic number of the file system of an open file. Raises OSError."""
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    checked(libc.fstatfs(fd, answer))
    return int.from_bytes(answer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) & 0xFFFFFFFF


def extents_of(fd: int) -> list[Extent]:
    """The extents of a file, in order; what is still to be written out is written first.

    Raises OSError: EOPNOTSUPP where the file system does not tell; Damaged.
    """
    if file_system_type(fd) != BTRFS:
        return _mapped(fd)
    sync_extents(fd)
    return _searched(fd)


def sync_extents(fd: int) -> None:
    """Let all that was written to a file get its place on the disk: until then, extents do not show it."""
    fcntl.ioctl(fd, _FIEMAP, bytearray(FIEMAP_HEAD.pack(0, 1, FIEMAP_SYNC, 0, 1, 0) + bytes(FIEMAP_EXTENT.size)))


def _mapped(fd: int) -> list[Extent]:
    found: list[Extent] = []
    start, more = 0, True
    answer = bytearray(FIEMAP_HEAD.size + _AT_ONCE * FIEMAP_EXTENT.size)
    while more:
        FIEMAP_HEAD.pack_into(answer, 0, start, (1 << 64) - 1 - start, 0 if start else FIEMAP_SYNC, 0, _AT_ONCE, 0)
        fcntl.ioctl(fd, _FIEMAP, answer)
        count = FIEMAP_HEAD.unpack_from(answer)[3]
        extents, start, more = fiemap_extents(memoryview(answer)[FIEMAP_HEAD.size :], count)
        found += extents
    return found


def _searched(fd: int) -> list[Extent]:
    inode = os.fstat(fd).st_ino
    found: list[Extent] = []
    start, count = 0, 1
    answer = bytearray(SEARCH_KEY.size + _ROOM)
    while count:
        answer[: SEARCH_KEY.size] = search_key(inode, start, _ROOM)
        fcntl.ioctl(fd, _TREE_SEARCH, answer)
        count = search_count(bytes(answer[: SEARCH_KEY.size]))
        for at, extent in searched_extents(memoryview(answer)[SEARCH_KEY.size :], count):
            start = at + 1
            if extent is not None:
                found.append(extent)
    return found
