"""fanotify's events of a group that reports file handles: bytes as read from the kernel in, events out.

An event is a head (`struct fanotify_event_metadata`, version 3) and information records: where it happened (a
directory's handle and a name in it), and what it happened to (a file's handle). Source: fanotify(7),
include/uapi/linux/fanotify.h. A handle is kept as the kernel sent it: 8 bytes of file system id, then `struct
file_handle` (length, type, opaque bytes), as open_by_handle_at(2) takes it.
"""

from __future__ import annotations

import struct
import sys
from typing import NamedTuple

from knowngood.core.errors import Damaged

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
CREATE = 0x100
DELETE = 0x200
OVERFLOW = 0x4000
RENAME = 0x10000000
ONDIR = 0x40000000  # it happened to a directory
"""Bits of a mask: one event may have several, for the kernel merges them."""

FSID_BYTES = 8
HANDLE_HEAD = 16
"""Bytes before a handle's opaque part: file system id, length, type."""
MAX_HANDLE_BYTES = 128  # MAX_HANDLE_SZ
MAX_NAME_BYTES = 1024  # more than any file system allows
SELF = b"."
"""The name under which a directory reports what happened to itself."""

_HEAD = struct.Struct("=IBBHQii")  # event_len, vers, reserved, metadata_len, mask, fd, pid
_VERSION = 3
_NO_FD = -1
_RECORD = struct.Struct("=BBH")  # info_type, pad, len
_LENGTH = struct.Struct("=I")  # handle_bytes
_LENGTH_AT = 12  # in a record: after its head and the file system's id
_FID_BYTES = _RECORD.size + HANDLE_HEAD
_FILE, _PLACE, _DIRECTORY, _OLD, _NEW = 1, 2, 3, 10, 12
_INODE_32, _INODE_64, _BTRFS = (kind.to_bytes(4, sys.byteorder) for kind in (1, 0x81, 0x4D))  # handle types
_KNOWN = frozenset({_FILE, _PLACE, _DIRECTORY, _OLD, _NEW})


class Place(NamedTuple):
    """A name in a directory."""

    directory: bytes  # handle
    name: bytes


class Event(NamedTuple):
    """What happened. `place` is where it was seen, `old` and `new` are those of a rename, `file` is the handle of what
    it happened to. Each is None where the kernel did not say.
    """

    mask: int
    pid: int
    place: Place | None
    old: Place | None
    new: Place | None
    file: bytes | None


def parse(data: bytes) -> list[Event]:
    """All events of one read. Raises Damaged for anything that is not a row of whole events."""
    events: list[Event] = []
    at, size = 0, len(data)
    while at < size:
        if size - at < _HEAD.size:
            raise Damaged("an event of fanotify is cut short")
        length, version, _, head, mask, fd, pid = _HEAD.unpack_from(data, at)
        if version != _VERSION:
            raise Damaged(f"an event of fanotify has version {version}, not {_VERSION}")
        if not _HEAD.size <= head <= length <= size - at:
            raise Damaged("an event of fanotify has an impossible length")
        if fd != _NO_FD:
            raise Damaged("an event of fanotify has an open file, not a handle")
        events.append(_event(data, at + head, at + length, mask, pid))
        at += length
    return events


def _event(data: bytes, at: int, end: int, mask: int, pid: int) -> Event:
    place = old = new = file = None
    while at < end:
        if end - at < _RECORD.size:
            raise Damaged("an information record of fanotify is cut short")
        kind, _, length = _RECORD.unpack_from(data, at)
        after = at + length
        if not _RECORD.size <= length or after > end:
            raise Damaged("an information record of fanotify has an impossible length")
        if kind in _KNOWN:  # others may come with newer kernels; they say more, and not something else
            if length < _FID_BYTES:
                raise Damaged("a handle of fanotify is cut short")
            size = _LENGTH.unpack_from(data, at + _LENGTH_AT)[0]
            middle = at + _FID_BYTES + size
            if size > MAX_HANDLE_BYTES or middle > after:
                raise Damaged("a handle of fanotify has an impossible length")
            handle = data[at + _RECORD.size : middle]
            if kind == _FILE:
                file = handle
            elif kind == _DIRECTORY:
                place = Place(handle, SELF)
            else:
                named = Place(handle, _name(data[middle:after]))
                if kind == _PLACE:
                    place = named
                elif kind == _OLD:
                    old = named
                else:
                    new = named
        at = after
    return Event(mask, pid, place, old, new, file)


def _name(padded: bytes) -> bytes:
    name = padded.partition(b"\0")[0]
    if not name or len(name) > MAX_NAME_BYTES or b"/" in name or name == b"..":
        raise Damaged("fanotify reports something that is no name")
    return name


def likely_inode(handle: bytes) -> int | None:
    """The inode number inside a handle, in the encodings of ext4, XFS and btrfs; None for others.

    A hint that saves system calls: the number is the file system's business. Source: include/linux/exportfs.h.
    """
    kind, size = handle[12:HANDLE_HEAD], len(handle) - HANDLE_HEAD
    if kind == _INODE_32 and size == 8:
        return int.from_bytes(handle[HANDLE_HEAD : HANDLE_HEAD + 4], sys.byteorder)
    if (kind == _INODE_64 and size >= 12) or (kind == _BTRFS and size >= 20):
        return int.from_bytes(handle[HANDLE_HEAD : HANDLE_HEAD + 8], sys.byteorder)
    return None
