"""SQLite's log as bytes: sums of anything, heads that are none, and files that SQLite itself has written."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st

from knowngood.wire.wal import (
    FRAME,
    HEADER,
    INDEX,
    Sums,
    add,
    is_page_size,
    parse_frame,
    parse_header,
    parse_index,
)


def slowly(data: bytes, sums: Sums, *, big: bool) -> Sums:
    """As the description of the format has it."""
    a, b = sums
    for first, second in struct.iter_unpack(">II" if big else "<II", data):
        a = (a + first + b) & 0xFFFFFFFF
        b = (b + second + a) & 0xFFFFFFFF
    return a, b


words = st.integers(0, 0xFFFFFFFF)


@given(st.binary(max_size=3000), st.integers(0, 40), words, words, st.booleans())
@example(b"\xff" * 4104, 3, 0xFFFFFFFF, 0xFFFFFFFF, True)
@example(b"\xff" * 8, 70_000, 0xFFFFFFFF, 0xFFFFFFFF, False)
def test_sums(data: bytes, times: int, first: int, second: int, big: bool) -> None:
    """Of any length, in both orders of bytes."""
    data = data[: len(data) // 8 * 8] * times
    assert add(data, (first, second), big=big) == slowly(data, (first, second), big=big)


@given(st.binary(max_size=INDEX + 20))
def test_what_is_no_head(data: bytes) -> None:
    """None, and no error."""
    assert parse_header(data) is None
    assert parse_index(data) is None


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_a_log_that_sqlite_has_written(tmp_path: Path, page_size: int) -> None:
    """Index, head and all frames say the same; one bit that is another one is found."""
    path = tmp_path / "db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"PRAGMA page_size={page_size}")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (data BLOB)")
        database.executemany("INSERT INTO t VALUES (?)", [(b"x" * size,) for size in (10, 5000, 70_000)])
        log, raw = (tmp_path / "db-wal").read_bytes(), (tmp_path / "db-shm").read_bytes()[:INDEX]
    index, header = parse_index(raw), parse_header(log)
    assert index
    assert header
    assert (header.page_size, index.page_size, header.number) == (page_size, page_size, 0)
    assert header.salts == index.salts
    sums, commits = header.sums, []
    for number in range(index.frames):
        at = HEADER + number * (FRAME + page_size)
        frame = parse_frame(log, at)
        assert frame.salts == header.salts
        sums = add(log[at : at + 8] + log[at + FRAME : at + FRAME + page_size], sums, big=header.big)
        assert sums == frame.sums
        commits += [frame.commit] if frame.commit else []
    assert sums == index.sums
    assert len(commits) == 4
    assert commits[-1] == index.pages
    assert parse_header(bytes([log[0]]) + bytes([log[1] ^ 1]) + log[2:]) is None
    for at in (0, 16, 20, 47, 48, 60):
        assert parse_index(raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :]) is None


def test_sizes_of_pages() -> None:
    """Powers of two between 512 and 65536."""
    assert [size for size in range(70_000) if is_page_size(size)] == [512 << shift for shift in range(8)]
