"""Extents: what the kernel answers, and where two files differ."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, strategies as st

from knowngood.core.errors import Damaged
from knowngood.wire.extents import (
    EXTENT_DATA,
    FIEMAP_EXTENT,
    Extent,
    differing,
    fiemap_extents,
    searched_extents,
)

_LAST, _ENCODED, _UNWRITTEN, _SHARED = 0x1, 0x8, 0x800, 0x2000


def test_fiemap() -> None:
    """Data has a source; what was never written has no bytes; what is not clear has no source."""
    answer = b"".join(
        FIEMAP_EXTENT.pack(*each)
        for each in (
            (0, 1000, 10, _SHARED),
            (10, 2000, 10, _UNWRITTEN),
            (30, 3000, 10, _ENCODED),
            (40, 1040, 10, _LAST),
        )
    )
    assert fiemap_extents(answer, 4) == ([(0, 10, 1000), (30, 40, None), (40, 50, 1000)], 50, False)
    assert fiemap_extents(answer, 3)[1:] == (40, True)
    assert fiemap_extents(b"", 0) == ([], 0, False)


@pytest.mark.parametrize("rows", [[(0, 1, 0, 0)], [(10, 1, 10, 0), (5, 1, 10, 0)], [(0, 1, 10, 0)] * 2])
def test_what_no_kernel_answers(rows: list[tuple[int, int, int, int]]) -> None:
    """Extents without length or order, or fewer than it says."""
    answer = b"".join(FIEMAP_EXTENT.pack(*each) for each in rows)
    with pytest.raises(Damaged):
        fiemap_extents(answer, len(rows))
    with pytest.raises(Damaged):
        fiemap_extents(answer, len(rows) + 1)


def _item(start: int, kind: int, address: int = 0, offset: int = 0, length: int = 0) -> bytes:
    body = struct.pack("<QQBBHB", 1, length, 0, 0, 0, kind)
    body += struct.pack("<QQQQ", address, length, offset, length) if kind else b"x" * length
    return struct.pack("=QQQII", 1, 257, start, EXTENT_DATA, len(body)) + body


def test_btrfs() -> None:
    """Of what is compressed, another part of one extent is something else."""
    items = _item(0, 0, length=100) + _item(4096, 1, 9, 0, 4096) + _item(8192, 1, 9, 8192, 4096)
    items += _item(12288, 1, 0, 0, 4096) + _item(16384, 2, 9, 0, 4096)
    found = [extent for _, extent in searched_extents(memoryview(items), 5)]
    assert found == [(0, 4096, None), (4096, 8192, (9, -4096)), (8192, 12288, (9, 0)), None, None]
    for cut in (10, 40, len(items) - 1):
        with pytest.raises(Damaged):
            list(searched_extents(memoryview(items[:cut]), 5))


_Layout = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.sampled_from([None, 0, 1, 2])), max_size=8)


def _laid(layout: list[tuple[int, int, int | None]]) -> list[Extent]:
    at, found = 0, list[Extent]()
    for gap, length, source in layout:
        found.append((at + gap, at + gap + length, source))
        at += gap + length
    return found


def _sources(extents: list[Extent], size: int) -> list[object]:
    """The source of each byte; "zero" where there is none."""
    found: list[object] = ["zero"] * size
    for start, end, source in extents:
        for at in range(start, min(end, size)):
            found[at] = source
    return found


@given(_Layout, _Layout, st.integers(0, 40))
def test_differing(one: list[tuple[int, int, int | None]], other: list[tuple[int, int, int | None]], size: int) -> None:
    """Each byte whose source is another one or not known, and no other one; in order, and told whether it is zero."""
    old, new = _laid(one), _laid(other)
    before, after = _sources(old, size), _sources(new, size)
    found = differing(old, new, size)
    assert found == sorted(found)
    told = [at for start, end, _ in found for at in range(start, end)]
    assert told == [at for at in range(size) if before[at] != after[at] or before[at] is None]
    assert all((after[at] == "zero") == hole for start, end, hole in found for at in range(start, end))
