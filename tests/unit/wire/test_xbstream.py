"""The stream of mariabackup."""

from __future__ import annotations

import contextlib
import struct
from io import BytesIO
from zlib import crc32

import pytest
from hypothesis import given, strategies as st

from knowngood.core.errors import Damaged
from knowngood.wire.xbstream import Chunk, chunks


def part(path: bytes, data: bytes, offset: int = 0) -> bytes:
    """A part of a file."""
    head = struct.pack("<8sBcI", b"XBSTCK01", 0, b"P", len(path)) + path
    return head + struct.pack("<QQI", len(data), offset, crc32(data)) + data


def end(path: bytes) -> bytes:
    """A file is whole."""
    return struct.pack("<8sBcI", b"XBSTCK01", 0, b"E", len(path)) + path


def test_files_that_come_interleaved() -> None:
    """Each in its own order."""
    stream = part(b"./a", b"one") + part(b"d/b", b"x") + part(b"./a", b"two", 3) + end(b"d/b") + end(b"./a") + end(b"c")
    found = list(chunks(BytesIO(stream).read))
    assert found == [
        Chunk(b"a", b"one"),
        Chunk(b"d/b", b"x"),
        Chunk(b"a", b"two"),
        Chunk(b"d/b", None),
        Chunk(b"a", None),
        Chunk(b"c", None),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        part(b"a", b"one"),  # it is never whole
        part(b"a", b"one", 1) + end(b"a"),
        part(b"a", b"one") + part(b"a", b"two", 2) + end(b"a"),
        part(b"a", b"one")[:-1],
        part(b"a", b"one")[:-1] + b"!" + end(b"a"),
        part(b"../a", b"one") + end(b"../a"),
        part(b"/a", b"one") + end(b"/a"),
        part(b"a//b", b"one") + end(b"a//b"),
        part(b"", b"one") + end(b""),
        part(b"a\0", b"one") + end(b"a\0"),
        part(b"a" * 600, b"one") + end(b"a" * 600),
        b"XBSTCK02" + part(b"a", b"one")[8:],
        struct.pack("<8sBcI", b"XBSTCK01", 0, b"S", 1) + b"a",
        struct.pack("<8sBcI", b"XBSTCK01", 0, b"P", 1) + b"a" + struct.pack("<QQI", 1 << 40, 0, 0),
        b"XB",
    ],
)
def test_hostile_streams(wrong: bytes) -> None:
    """Cut off, out of order, changed, out of the tree, too long, unknown: damage."""
    with pytest.raises(Damaged):
        list(chunks(BytesIO(wrong).read))


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Nothing but damage is ever raised."""
    with contextlib.suppress(Damaged):
        list(chunks(BytesIO(data).read))
