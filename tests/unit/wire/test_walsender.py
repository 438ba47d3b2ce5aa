"""Messages inside a copy, as PostgreSQL's documentation lays them out."""

from __future__ import annotations

import struct

import pytest

from knowngood.core.errors import Damaged
from knowngood.wire.walsender import Alive, Archive, LogData, parse, parse_archive, status


def test_what_a_server_says() -> None:
    """A piece of the log, and that it is there."""
    assert parse(struct.pack(">cQQq", b"w", 10, 20, 30) + b"abc") == LogData(10, b"abc")
    assert parse(struct.pack(">cQqB", b"k", 20, 30, 1)) == Alive(20, answer=True)


@pytest.mark.parametrize("message", [b"", b"w", b"x" * 40, b"k" + bytes(30)])
def test_what_none_says(message: bytes) -> None:
    """The one error."""
    with pytest.raises(Damaged):
        parse(message)


def test_what_we_say() -> None:
    """Places, and a time since 2000."""
    said = status(7, 5, 946_684_800 * 10**9 + 3_000, answer=True)
    assert struct.unpack(">cQQQqB", said) == (b"r", 7, 5, 5, 3, 1)


def test_archives() -> None:
    """Of the data folder, and of a tablespace."""
    assert parse_archive(b"nbase.tar\0\0") == Archive("base.tar", "")
    assert parse_archive(b"n16384.tar\0/mnt/fast\0") == Archive("16384.tar", "/mnt/fast")
    with pytest.raises(Damaged):
        parse_archive(b"nbase.tar")
