"""fanotify(7) and file handles: a group that marks whole file systems, and handles back to open directories.

Needs CAP_SYS_ADMIN for marks of file systems and CAP_DAC_READ_SEARCH for open_by_handle_at(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import time

from knowngood.linux.calls import checked, libc, waiting_bytes
from knowngood.wire.fanotify import (
    ATTRIB,
    CLOSE_WRITE,
    CREATE,
    DELETE,
    FSID_BYTES,
    HANDLE_HEAD,
    MAX_HANDLE_BYTES,
    MODIFY,
    ONDIR,
    RENAME,
)

CHANGES = CREATE | DELETE | RENAME | MODIFY | CLOSE_WRITE | ATTRIB | ONDIR
"""Everything that changes an entry. CLOSE_WRITE is what tells of stores through a mapping, at its end."""

READ_BYTES = 1 << 18
"""A good size for reads of a group: some thousand events."""

_CLOEXEC, _NONBLOCK, _UNLIMITED_QUEUE = 0x1, 0x2, 0x10
_REPORT_FILE, _REPORT_DIRECTORY, _REPORT_NAME, _REPORT_TARGET = 0x200, 0x400, 0x800, 0x1000
_REPORTS = _REPORT_FILE | _REPORT_DIRECTORY | _REPORT_NAME | _REPORT_TARGET
_MARK_ADD, _MARK_FILESYSTEM = 0x1, 0x100
_TRIES, _PAUSE = 200, 0.001  # seconds
_EMPTY_PATH = 0x1000  # AT_EMPTY_PATH
_EVENT_BYTES = 24  # what FIONREAD counts for each event
_HANDLE = struct.Struct("=Ii")  # handle_bytes, handle_type
_STATFS_FSID = 7 * ctypes.sizeof(ctypes.c_long)  # where f_fsid is in struct statfs
_STATFS_BYTES = 256  # more than struct statfs has on any architecture


def open_group(*, unlimited: bool = True) -> int:
    """A group's descriptor: it does not block, and reports where, under which name, and to what it happened.

    An unlimited queue takes 141 bytes of kernel memory per event; another one holds 16,384 and then says that it
    overflowed. Raises OSError: EPERM without the capability, EINVAL before Linux 5.17, EMFILE for too many groups.
    """
    flags = _CLOEXEC | _NONBLOCK | _REPORTS | (_UNLIMITED_QUEUE if unlimited else 0)
    return checked(libc.fanotify_init(flags, os.O_RDONLY | os.O_CLOEXEC))


def mark(group: int, fd: int, mask: int = CHANGES) -> None:
    """Report all changes on the file system that an open directory is on. It can still be unmounted.

    Raises OSError: EXDEV below a subvolume of btrfs, ENODEV or EOPNOTSUPP where files have no handles, EPERM without
    the capability, ENOSPC for too many marks.
    """
    flags = _MARK_ADD | _MARK_FILESYSTEM
    checked(libc.fanotify_mark(group, flags, ctypes.c_uint64(mask), fd, b"."))


def mark_folder(group: int, fd: int) -> None:
    """Report what is made in an open directory, and nothing else on its file system. Raises OSError, as `mark`."""
    checked(libc.fanotify_mark(group, _MARK_ADD, ctypes.c_uint64(CREATE), fd, b"."))


def queued(group: int) -> int:
    """How many events wait in a group's queue. The kernel counts them one by one. Raises OSError."""
    return waiting_bytes(group) // _EVENT_BYTES


def open_handle(mount: int, handle: bytes, flags: int = os.O_PATH) -> int:
    """Open what a handle stands for, below the mount of a file on its file system that is open, and not by O_PATH.

    `handle` is as `wire.fanotify` gives it. Raises OSError: ESTALE when it is gone, EPERM without the capability.
    """
    file_handle = handle[FSID_BYTES:]
    for _ in range(_TRIES):
        try:
            return checked(libc.open_by_handle_at(mount, file_handle, flags | os.O_CLOEXEC))
        except OSError as wrong:
            # Also what the kernel says while the inode number is just being given to a new file: the old one is gone,
            # as it will say in a moment (inode.c: iget_locked finds an inode that is I_CREATING).
            if wrong.errno != errno.ENOMEM:
                raise
        time.sleep(_PAUSE)
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def handle_of(fd: int) -> bytes:
    """The handle of an open file or directory, as events give it. Raises OSError: EOPNOTSUPP where there are none."""
    buffer = ctypes.create_string_buffer(_HANDLE.pack(MAX_HANDLE_BYTES, 0), HANDLE_HEAD + MAX_HANDLE_BYTES)
    mount = ctypes.c_int()
    checked(libc.name_to_handle_at(fd, b"", buffer, ctypes.byref(mount), _EMPTY_PATH))
    length = _HANDLE.unpack_from(buffer)[0]
    return file_system_id(fd) + buffer.raw[: _HANDLE.size + length]


def file_system_id(fd: int) -> bytes:
    """The 8 bytes that events name a file system by; zeros where it has none. Raises OSError.

    Subvolumes of btrfs have ids of their own; events there have the id of the whole.
    """
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    checked(libc.fstatfs(fd, answer))
    return answer.raw[_STATFS_FSID : _STATFS_FSID + FSID_BYTES]
