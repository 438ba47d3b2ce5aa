"""Replies, byte by byte, and what both sides agree on at the beginning."""

from __future__ import annotations

import struct

import pytest

from knowngood.wire.fuse import replies
from knowngood.wire.fuse.bodies import Init
from knowngood.wire.fuse.opcodes import InitFlag, OpenFlag
from knowngood.wire.fuse.replies import Attributes, Directory

FOUND = Attributes(11, 12, 13, 1_000_000_002, 3_000_000_004, -1, 0o100644, 2, 1000, 1001, 0x1234)
PACKED = struct.pack(
    "=QQQqqqIIIIIIIIII",
    *(11, 12, 13, 1, 3, -1, 2, 4, 999_999_999, 0o100644, 2, 1000, 1001, 0x1234, 4096, 0),
)


def test_headers() -> None:
    """Length, error, and which request it answers."""
    assert list(replies.reply(7, b"ab", b"c")) == [struct.pack("=IiQ", 19, 0, 7), b"ab", b"c"]
    assert list(replies.error(7, 2)) == [struct.pack("=IiQ", 16, -2, 7)]
    assert replies.unique_of(replies.reply(1 << 60, b"x")) == 1 << 60


def test_attributes() -> None:
    """struct fuse_attr; a time before 1970 has its nanoseconds counted upwards."""
    assert replies.attributes(FOUND) == PACKED
    assert replies.attributes_reply(FOUND, 1_500_000_000) == struct.pack("=QII", 1, 500_000_000, 0) + PACKED


def test_entries() -> None:
    """struct fuse_entry_out; node 0 says that there is none."""
    assert replies.entry(5, FOUND, 1_000_000_001, 2_000_000_002) == struct.pack("=QQQQII", 5, 0, 1, 2, 1, 2) + PACKED
    assert replies.no_entry(3_000_000_004) == struct.pack("=QQQQII", 0, 0, 3, 0, 4, 0) + bytes(88)


def test_small_ones() -> None:
    """Each has the length that the kernel expects."""
    assert replies.opened(7, OpenFlag.KEEP_CACHE) == struct.pack("=QIi", 7, 2, 0)
    assert replies.length(5) == struct.pack("=II", 5, 0)
    assert replies.position(1 << 40) == struct.pack("=Q", 1 << 40)
    assert replies.control(-1, b"data") == struct.pack("=iIII", -1, 0, 0, 0) + b"data"
    known = replies.statistics(block_bytes=4096, name_bytes=255, blocks=1, free=2, files=3)
    assert known == struct.pack("=QQQQQIII4x24x", 1, 2, 2, 3, 0, 4096, 255, 4096)


def test_directories_are_aligned_and_bounded() -> None:
    """Entries begin at multiples of eight bytes; what has no room is left for the next time."""
    directory = Directory(72)
    assert directory.add(b"abc", 9, 0o040000, 1)
    assert directory.add(b"12345678", 10, 0o100000, 2)
    assert not directory.add(b"x", 11, 0, 3)
    first = struct.pack("=QQII", 9, 1, 3, 4) + b"abc" + bytes(5)
    second = struct.pack("=QQII", 10, 2, 8, 8) + b"12345678"
    assert b"".join(directory.parts) == first + second
    plus = Directory(160)
    assert plus.add(b"abc", 9, 0o040000, 1, Directory.unknown())
    assert b"".join(plus.parts) == bytes(128) + first


WANTED = InitFlag.ASYNC_READ | InitFlag.MAX_PAGES | InitFlag.PASSTHROUGH
KERNEL = Init(7, 45, 131072, InitFlag.ASYNC_READ | InitFlag.MAX_PAGES | InitFlag.INIT_EXT | InitFlag.POSIX_ACL)


def test_agreement() -> None:
    """The older of both versions; the flags that both know."""
    agreement, body = replies.negotiate(KERNEL, WANTED, max_read=1 << 20, max_write=4096, max_background=64)
    assert agreement
    assert (agreement.major, agreement.minor) == (7, 45)
    assert agreement.flags == InitFlag.ASYNC_READ | InitFlag.MAX_PAGES | InitFlag.INIT_EXT
    flags = int(InitFlag.ASYNC_READ | InitFlag.MAX_PAGES | InitFlag.INIT_EXT)
    fields = (7, 45, 131072, flags, 64, 48, 4096, 1, 256, 0, 0, 0, 0)
    assert body == struct.pack("=IIIIHHIIHHIIH22x", *fields)
    older, _ = replies.negotiate(Init(7, 31, 0, 0), WANTED, max_read=4096, max_write=4096, max_background=1)
    assert older
    assert (older.minor, older.flags) == (31, 0)


@pytest.mark.parametrize(("major", "minor", "answered"), [(8, 0, True), (7, 30, False), (6, 99, False)])
def test_versions_that_do_not_fit(major: int, minor: int, answered: bool) -> None:
    """A newer kernel is told which version we speak, and asks again; one that is too old is refused."""
    init = Init(major, minor, 0, 0)
    agreement, body = replies.negotiate(init, 0, max_read=4096, max_write=4096, max_background=1)
    assert agreement is None
    assert body[:8] == (struct.pack("=II", 7, 45) if answered else b"")
