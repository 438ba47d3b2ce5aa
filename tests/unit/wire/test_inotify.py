"""Events of inotify as bytes: what is well-formed is read as it is, everything else is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, strategies as st

from knowngood.core.errors import Damaged
from knowngood.wire import inotify
from knowngood.wire.inotify import Event, parse


def event(watch: int, mask: int, cookie: int = 0, name: bytes = b"", length: int | None = None) -> bytes:
    """A whole event, padded as the kernel pads it."""
    padded = name + bytes(16 - len(name) % 16) if name else b""
    return struct.pack("=iIII", watch, mask, cookie, len(padded) if length is None else length) + padded


def test_events_are_read() -> None:
    """With names and without."""
    data = (
        event(1, inotify.CREATE, 0, b"a\xff") + event(2, inotify.MOVED_TO, 9, b"n" * 16) + event(-1, inotify.OVERFLOW)
    )
    assert parse(data) == [
        Event(1, inotify.CREATE, 0, b"a\xff"),
        Event(2, inotify.MOVED_TO, 9, b"n" * 16),
        Event(-1, inotify.OVERFLOW, 0, b""),
    ]


@pytest.mark.parametrize(
    "data",
    [
        event(1, 2)[:-1],
        event(1, 2, name=b"abc")[:-1],
        event(1, 2, length=1),
        event(1, 2, length=2000) + bytes(2000),
        event(1, 2, name=b"a/b"),
        event(1, 2, name=b".."),
    ],
)
def test_malformed_events_are_refused(data: bytes) -> None:
    """Also behind a good one."""
    with pytest.raises(Damaged):
        parse(data)
    with pytest.raises(Damaged):
        parse(event(1, inotify.MODIFY, 0, b"a") + data)


events = st.builds(event, st.integers(-1, 100), st.integers(0, 2**32 - 1), st.integers(0, 9), st.binary(max_size=40))


@given(st.lists(events, max_size=5).map(b"".join) | st.binary(max_size=200))
def test_no_input_does_harm(data: bytes) -> None:
    """Whatever comes is read or refused."""
    try:
        found = parse(data)
    except Damaged:
        return
    assert len(found) * 16 <= len(data)
    assert all(b"/" not in each.name and b"\0" not in each.name for each in found)
