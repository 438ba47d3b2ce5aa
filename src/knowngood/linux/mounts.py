"""Which mounts there are, whether that has changed, and mounts that nobody else can see.

Source: proc_pid_mountinfo(5), which also says that a poll tells of changes; fsopen(2), fsmount(2),
open_tree(2), mount_setattr(2).
"""

from __future__ import annotations

import os
import re
import select
import struct
from typing import NamedTuple

from knowngood.linux.calls import checked, libc

_OCTAL = re.compile(rb"\\([0-7]{3})")
_OPEN_TREE, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 430, 431, 432, 442  # on every architecture
_EMPTY_PATH = 0x1000  # AT_EMPTY_PATH
_CLONE, _TREE_CLOEXEC = 0x1, os.O_CLOEXEC  # of open_tree
_PRIVATE = 1 << 18  # MS_PRIVATE
_ATTRIBUTES = struct.Struct("=QQQQ")  # attr_set, attr_clr, propagation, userns_fd
_CLOEXEC = 1
_SET_STRING, _CREATE = 1, 6
_MOUNT_LIMIT = 1 << 26  # bytes of mountinfo


class Mount(NamedTuple):
    """One mount of this process' namespace."""

    id: int
    path: bytes
    kind: bytes  # of its file system
    source: bytes  # a device, for those that have one


def parse(text: bytes) -> list[Mount]:
    """The mounts that a mountinfo file tells of; a line that cannot be understood is left out."""
    found: list[Mount] = []
    for line in text.splitlines():
        front, dash, back = line.partition(b" - ")
        fields, more = front.split(b" "), back.split(b" ")
        if dash and len(fields) >= 6 and len(more) >= 2 and fields[0].isdigit():
            found.append(Mount(int(fields[0]), unescaped(fields[4]), more[0], unescaped(more[1])))
    return found


def unescaped(text: bytes) -> bytes:
    r"""A path as /proc writes it, with `\040` for a blank, as it is."""
    return _OCTAL.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), text) if b"\\" in text else text


class MountTable:
    """The mounts of this process' namespace, and whether they have changed since they were last read."""

    def __init__(self) -> None:
        self._fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLPRI)

    def read(self) -> list[Mount]:
        """All mounts, the newest last."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        text = bytearray()
        while len(text) < _MOUNT_LIMIT and (block := os.read(self._fd, 1 << 16)):
            text += block
        return parse(bytes(text))

    def changed(self) -> bool:
        """Whether something was mounted, unmounted or moved since the last time this was asked."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Let go of the kernel's table."""
        os.close(self._fd)


def open_detached(fd: int) -> int:
    """An open directory once more, through a mount of its own that nobody else can see; it ends with the descriptor.

    What is open through it does not keep the file system from being unmounted elsewhere. Raises OSError: EPERM without
    CAP_SYS_ADMIN, ENOSYS before Linux 5.12.
    """
    tree = checked(libc.syscall(_OPEN_TREE, fd, b"", _CLONE | _EMPTY_PATH | _TREE_CLOEXEC))
    try:
        wanted = _ATTRIBUTES.pack(0, 0, _PRIVATE, 0)
        checked(libc.syscall(_MOUNT_SETATTR, tree, b"", _EMPTY_PATH, wanted, _ATTRIBUTES.size))
        return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
    finally:
        os.close(tree)


def open_btrfs_top(device: bytes) -> int:
    """The top directory of a mounted btrfs, through a mount that nobody else can see; it ends with the descriptor.

    Raises OSError: EPERM without CAP_SYS_ADMIN.
    """
    context = checked(libc.syscall(_FSOPEN, b"btrfs", _CLOEXEC))
    try:
        for key, value in ((b"source", device), (b"subvolid", b"5")):
            checked(libc.syscall(_FSCONFIG, context, _SET_STRING, key, value, 0))
        checked(libc.syscall(_FSCONFIG, context, _CREATE, None, None, 0))
        return checked(libc.syscall(_FSMOUNT, context, _CLOEXEC, 0))
    finally:
        os.close(context)
