"""The binary log of MariaDB as an unbroken chain."""

from __future__ import annotations

import contextlib
import struct
from zlib import crc32

import pytest
from hypothesis import given, strategies as st

from knowngood.core.errors import Damaged
from knowngood.wire.binlog import Chain, Place, born_of

FORMAT, ROTATE, QUERY, HEARTBEAT = 15, 4, 2, 27
IN_USE, ARTIFICIAL = 0x1, 0x20


def event(kind: int, after: int, body: bytes = b"", flags: int = 0, *, checksum: bool = True) -> bytes:
    """An event; `after` is where the next one stands."""
    size = 19 + len(body) + 4 * checksum
    data = struct.pack("<IBIIIH", 1, kind, 7, size, after, flags) + body
    plain = data[:17] + bytes([data[17] & ~IN_USE]) + data[18:] if kind == FORMAT else data
    return data + (crc32(plain).to_bytes(4, "little") if checksum else b"")


def rotate(file: bytes, offset: int = 4, flags: int = ARTIFICIAL, after: int = 0) -> bytes:
    """The primary says where it goes on."""
    return event(ROTATE, after, struct.pack("<Q", offset) + file, flags)


def test_a_log_from_its_beginning_into_the_next_file() -> None:
    """What only the protocol needs is left out; what stands in the files comes with its place."""
    chain = Chain(Place("bin.000001", 4), checksums=True)
    assert chain.feed(rotate(b"bin.000001")) is None
    first = event(FORMAT, 4 + 33, b"x" * 10, IN_USE)
    found = chain.feed(first)
    assert found is not None
    assert (found.place, found.data) == (Place("bin.000001", 4), first)
    assert chain.feed(event(HEARTBEAT, 37)) is None
    real = rotate(b"bin.000002", flags=0, after=37 + 41)
    found = chain.feed(real)
    assert found is not None
    assert found.data == real
    assert chain.end == Place("bin.000001", 78)
    assert chain.feed(rotate(b"bin.000002")) is None
    assert chain.end == Place("bin.000002", 4)
    assert chain.feed(event(FORMAT, 4 + 33, b"x" * 10)) is not None


def test_in_the_middle_of_a_file() -> None:
    """The format is told again there, and stands in no file."""
    chain = Chain(Place("bin.000001", 500), checksums=True)
    assert chain.feed(rotate(b"bin.000001", 500)) is None
    assert chain.feed(event(FORMAT, 0, b"x" * 10)) is None
    assert chain.feed(event(QUERY, 530, b"1234567")) is not None


def test_another_file_of_the_same_name() -> None:
    """Its first event, which is told before one goes on in the middle, was written at another time."""
    told = event(FORMAT, 0, b"x" * 10)
    assert born_of(told) == 1
    assert born_of(event(QUERY, 530, b"1234567")) is None
    assert Chain(Place("bin.000001", 500), checksums=True, born=1).feed(told) is None
    with pytest.raises(Damaged, match="begun anew"):
        Chain(Place("bin.000001", 500), checksums=True, born=2).feed(told)


@pytest.mark.parametrize(
    "wrong",
    [
        event(QUERY, 531, b"1234567"),  # one byte is missing before it
        event(QUERY, 530, b"1234567")[:-1],
        event(QUERY, 530, b"1234567")[:-1] + b"!",
        event(QUERY, 530, b"1234567") + b"!",
        b"",
        b"\0" * 18,
        rotate(b"bin.000001", 900),
        rotate(b"bin.000002", 900),
        rotate(b"../bin.000002"),
        rotate(b""),
        event(ROTATE, 0, b"1234", ARTIFICIAL),
        rotate(b"\xff"),
    ],
)
def test_a_broken_chain(wrong: bytes) -> None:
    """Whatever is not the next event is damage, and never taken in."""
    chain = Chain(Place("bin.000001", 500), checksums=True)
    with pytest.raises(Damaged):
        chain.feed(wrong)
    assert chain.feed(event(QUERY, 530, b"1234567")) is not None


def test_without_checksums() -> None:
    """Older configurations have none."""
    chain = Chain(Place("bin.000001", 500), checksums=False)
    assert chain.feed(event(QUERY, 526, b"1234567", checksum=False)) is not None


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Nothing but damage is ever raised."""
    chain = Chain(Place("bin.000001", 4), checksums=False)
    with contextlib.suppress(Damaged):
        chain.feed(data)
