"""Events of fanotify as bytes: what is well-formed is read as it is, everything else is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from knowngood.core.errors import Damaged
from knowngood.wire import fanotify
from knowngood.wire.fanotify import SELF, Event, Place, likely_inode, parse

FSID = bytes(range(8))
FILE, PLACE, DIRECTORY, OLD, NEW = 1, 2, 3, 10, 12


def handle(opaque: bytes, kind: int = 1) -> bytes:
    """A handle as events have it."""
    return FSID + struct.pack("=Ii", len(opaque), kind) + opaque


def record(kind: int, where: bytes, name: bytes | None = None) -> bytes:
    """An information record, padded as the kernel pads it."""
    body = where + (b"" if name is None else name + b"\0")
    body += bytes(-len(body) % 4)
    return struct.pack("=BBH", kind, 0, len(body) + 4) + body


def event(mask: int, *records: bytes, pid: int = 7, version: int = 3, head: int = 24, fd: int = -1) -> bytes:
    """A whole event."""
    body = b"".join(records)
    return struct.pack("=IBBHQii", 24 + len(body), version, 0, head, mask, fd, pid) + body


HERE, THERE, THING = handle(b"directory"), handle(b"other dir"), handle(b"file", 0x81)


def test_events_are_read() -> None:
    """Of every form, in one buffer."""
    data = (
        event(fanotify.CREATE | fanotify.MODIFY, record(PLACE, HERE, b"name\xff"), record(FILE, THING))
        + event(fanotify.RENAME, record(OLD, HERE, b"a"), record(NEW, THERE, b"b"), record(FILE, THING), pid=0)
        + event(fanotify.ATTRIB, record(FILE, THING))
        + event(fanotify.ATTRIB | fanotify.ONDIR, record(DIRECTORY, HERE))
        + event(fanotify.OVERFLOW)
    )
    assert parse(data) == [
        Event(fanotify.CREATE | fanotify.MODIFY, 7, Place(HERE, b"name\xff"), None, None, THING),
        Event(fanotify.RENAME, 0, None, Place(HERE, b"a"), Place(THERE, b"b"), THING),
        Event(fanotify.ATTRIB, 7, None, None, None, THING),
        Event(fanotify.ATTRIB | fanotify.ONDIR, 7, Place(HERE, SELF), None, None, None),
        Event(fanotify.OVERFLOW, 7, None, None, None, None),
    ]
    assert parse(b"") == []


def test_unknown_records_are_skipped() -> None:
    """A newer kernel may say more."""
    data = event(fanotify.MODIFY, record(99, b"anything"), record(PLACE, HERE, b"a"))
    assert parse(data)[0].place == Place(HERE, b"a")


REFUSED: dict[str, Callable[[], bytes]] = {
    "cut short": lambda: event(2, record(PLACE, HERE, b"a"))[:-1],
    "head cut short": lambda: event(2) + bytes(23),
    "version": lambda: event(2, version=4),
    "head longer than event": lambda: event(2, head=25),
    "head too short": lambda: event(2, head=20),
    "no length": lambda: bytes(24),
    "an open file": lambda: event(2, fd=5),
    "record cut short": lambda: event(2, b"\x01\x00"),
    "record without length": lambda: event(2, struct.pack("=BBH", FILE, 0, 0)),
    "record too long": lambda: event(2, struct.pack("=BBH", FILE, 0, 400) + HERE),
    "handle cut short": lambda: event(2, record(FILE, HERE[:8])),
    "handle longer than record": lambda: event(2, record(FILE, FSID + struct.pack("=Ii", 100, 1))),
    "handle too long": lambda: event(2, record(FILE, handle(bytes(129)))),
    "no name": lambda: event(2, record(PLACE, HERE, b"")),
    "name without end": lambda: event(2, record(PLACE, HERE)),
    "a path": lambda: event(2, record(PLACE, HERE, b"a/b")),
    "upwards": lambda: event(2, record(NEW, HERE, b"..")),
    "name too long": lambda: event(2, record(OLD, HERE, b"n" * 1025)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_malformed_events_are_refused(what: str) -> None:
    """Also behind a good one."""
    with pytest.raises(Damaged):
        parse(REFUSED[what]())
    with pytest.raises(Damaged):
        parse(event(fanotify.MODIFY, record(FILE, THING)) + REFUSED[what]())


def test_inode_numbers_are_found_in_handles() -> None:
    """In the encodings of three file systems, and in no other."""
    assert likely_inode(handle(struct.pack("=II", 12, 99), 1)) == 12
    assert likely_inode(handle(struct.pack("=QI", 1 << 40, 99), 0x81)) == 1 << 40
    assert likely_inode(handle(struct.pack("=QQI", 257, 5, 99), 0x4D)) == 257
    assert likely_inode(handle(struct.pack("=III", 1, 12, 0), 1)) is None  # tmpfs
    assert likely_inode(handle(b"", 1)) is None


records = st.one_of(
    st.builds(record, st.integers(0, 255), st.binary(max_size=40).map(handle), st.none() | st.binary(max_size=20)),
    st.binary(max_size=40),
)
events = st.builds(lambda mask, parts: event(mask, *parts), st.integers(0, 2**64 - 1), st.lists(records, max_size=4))


@given(st.lists(events, max_size=5).map(b"".join) | st.binary(max_size=200), st.data())
def test_no_input_does_harm(data: bytes, draw: st.DataObject) -> None:
    """Whatever comes is read or refused; and what is read has names that are names."""
    if data and draw.draw(st.booleans()):
        at = draw.draw(st.integers(0, len(data) - 1))
        data = data[:at] + bytes([draw.draw(st.integers(0, 255))]) + data[at + 1 :]
    try:
        found = parse(data)
    except Damaged:
        return
    assert len(found) * 24 <= len(data)
    for each in found:
        for place in (each.place, each.old, each.new):
            assert place is None or (place.name and b"/" not in place.name and b"\0" not in place.name)
        for one in (each.file, *(place.directory for place in (each.place, each.old, each.new) if place)):
            assert one is None or len(one) >= 16
            likely_inode(one or handle(b""))
