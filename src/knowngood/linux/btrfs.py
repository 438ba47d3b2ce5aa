"""Subvolumes of btrfs: which one an open directory is, snapshots, and their end.

Sources: include/uapi/linux/btrfs.h (BTRFS_IOC_INO_LOOKUP, GET_SUBVOL_ROOTREF, SNAP_CREATE_V2, SNAP_DESTROY).
"""

from __future__ import annotations

import fcntl
import os
import struct

from knowngood.linux.extents import BTRFS, file_system_type

TOP = 5
"""The number of the subvolume that holds all others."""

_ROOT_INODE = 256
_INO_LOOKUP = 0xD0009412
_SNAP_CREATE = 0x50009417
_SNAP_DESTROY = 0x5000940F
_SUBVOL_ROOTREF = 0xD000943D
_READ_ONLY = 0x2
_REFERENCES = struct.Struct("=Q4080xB7x")  # min_treeid, rootref, num_items
_LOOKUP = struct.Struct("=QQ4080x")  # treeid, objectid, name
_NEW = struct.Struct("=qQQ32x4040s")  # fd, transid, flags, unused, name
_OLD = struct.Struct("=q4088s")  # fd, name
_NAME_BYTES = 255


def subvolume(fd: int) -> int | None:
    """The number of the subvolume whose root an open directory is; None when it is none. Raises OSError."""
    if file_system_type(fd) != BTRFS or os.fstat(fd).st_ino != _ROOT_INODE:
        return None
    answer = bytearray(_LOOKUP.pack(0, _ROOT_INODE))
    fcntl.ioctl(fd, _INO_LOOKUP, answer)
    return _LOOKUP.unpack(answer)[0]


def has_subvolumes(fd: int) -> bool:
    """Whether others lie in the subvolume of an open directory: snapshots leave these out. Raises OSError."""
    answer = bytearray(_REFERENCES.size)
    fcntl.ioctl(fd, _SUBVOL_ROOTREF, answer)
    return _REFERENCES.unpack(answer)[1] > 0


def make_snapshot(source: int, folder: int, name: bytes) -> None:
    """Make a read-only snapshot of an open subvolume in an open directory of the same file system.

    What was written to its files before this is in it. Raises OSError: EEXIST, ENOSPC, EPERM without CAP_SYS_ADMIN.
    """
    fcntl.ioctl(folder, _SNAP_CREATE, bytearray(_NEW.pack(source, 0, _READ_ONLY, _checked(name))))


def delete_snapshot(folder: int, name: bytes) -> None:
    """Remove a subvolume with all that is in it; its room is given back by and by. Raises OSError: ENOENT."""
    fcntl.ioctl(folder, _SNAP_DESTROY, bytearray(_OLD.pack(0, _checked(name))))


def _checked(name: bytes) -> bytes:
    if not name or b"/" in name or b"\0" in name or len(name) > _NAME_BYTES:
        raise ValueError("not a name for a subvolume")
    return name
