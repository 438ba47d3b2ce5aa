"""inotify's events: bytes as read from the kernel in, events out. Source: inotify(7)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from knowngood.core.errors import Damaged

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
UNMOUNT = 0x2000
OVERFLOW = 0x4000
IGNORED = 0x8000  # the watch is gone
ISDIR = 0x40000000
"""Bits of a mask."""

MAX_NAME_BYTES = 1024  # with its padding; more than any file system allows
_HEAD = struct.Struct("=iIII")  # wd, mask, cookie, len


class Event(NamedTuple):
    """What happened in a watched directory, to `name`; to the directory itself when the name is empty.

    `cookie` is the same for both halves of a rename, 0 otherwise.
    """

    watch: int
    mask: int
    cookie: int
    name: bytes


def parse(data: bytes) -> list[Event]:
    """All events of one read. Raises Damaged for anything that is not a row of whole events."""
    events: list[Event] = []
    at, size = 0, len(data)
    while at < size:
        if size - at < _HEAD.size:
            raise Damaged("an event of inotify is cut short")
        watch, mask, cookie, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if length > MAX_NAME_BYTES or length > size - at:
            raise Damaged("an event of inotify has an impossible length")
        name = data[at : at + length].partition(b"\0")[0]
        if b"/" in name or name in (b".", b".."):
            raise Damaged("inotify reports something that is no name")
        events.append(Event(watch, mask, cookie, name))
        at += length
    return events
