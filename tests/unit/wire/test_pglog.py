"""The chain of a PostgreSQL log: what belongs there passes however it is cut, and nothing else does."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from knowngood.core.errors import Damaged
from knowngood.wire.pglog import PAGE, Chain, History, lsn_text, parse_lsn

HISTORY = History(system=7_000_000_000_000_000_001, timeline=3, segment=1 << 20)
START = 5 << 20


def page(
    lsn: int, *, timeline: int = 3, magic: int = 0xD110, at: int | None = None, system: int | None = None
) -> bytes:
    """A page of the log, as a server writes it."""
    is_long = lsn % HISTORY.segment == 0
    header = struct.pack("=HHIQI4x", magic, 2 if is_long else 0, timeline, lsn if at is None else at, 0)
    if is_long:
        header += struct.pack("=QII", system or HISTORY.system, HISTORY.segment, PAGE)
    return header.ljust(PAGE, b"\1")


def log(pages: int, start: int = START) -> bytes:
    """So many good pages."""
    return b"".join(page(start + number * PAGE) for number in range(pages))


@given(st.lists(st.integers(0, 20 * PAGE), max_size=12))
def test_a_good_log_passes_however_it_is_cut(cuts: list[int]) -> None:
    """Also in the midst of a header."""
    data = log(20)
    chain = Chain(HISTORY, START)
    for first, last in pairwise([0, *sorted(cuts), len(data)]):
        chain.feed(data[first:last])
    assert chain.at == START + len(data)


@pytest.mark.parametrize("skip", [1, 19, PAGE - 1, PAGE, PAGE + 7])
def test_it_may_begin_anywhere(skip: int) -> None:
    """What is before the first whole header is taken as it is."""
    chain = Chain(HISTORY, START + skip)
    chain.feed(log(3)[skip:])
    assert chain.at == START + 3 * PAGE


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (page(START + PAGE, at=START), "says that it is at"),
        (page(START + PAGE, timeline=4), "timeline"),
        (page(START + PAGE, timeline=2), "timeline"),
        (page(START + PAGE, magic=0xD113), "none of a log"),
        (b"\2" * PAGE, "none of a log"),
        (bytes(PAGE) + page(START + 2 * PAGE), "behind the end"),
    ],
)
def test_a_page_that_does_not_belong_there(wrong: bytes, why: str) -> None:
    """Each way to be wrong, byte by byte, too."""
    for step in (PAGE, 100):
        chain, data = Chain(HISTORY, START), page(START) + wrong
        with pytest.raises(Damaged, match=why):
            for at in range(0, len(data), step):
                chain.feed(data[at : at + step])


def test_a_segment_of_another_server() -> None:
    """Its system identifier says so."""
    with pytest.raises(Damaged, match="another server"):
        Chain(HISTORY, START).feed(page(START, system=1))


def test_a_timeline_begins_with_a_copy_of_the_one_before() -> None:
    """But it never goes back."""
    chain = Chain(HISTORY, START)
    chain.feed(page(START, timeline=2) + page(START + PAGE))
    assert chain.at == START + 2 * PAGE


def test_zeros_up_to_the_next_segment() -> None:
    """A server that switches to the next segment leaves the rest of this one empty."""
    rest = HISTORY.segment - 2 * PAGE
    chain, data = Chain(HISTORY, START), log(2) + bytes(rest) + log(2, START + HISTORY.segment)
    for at in range(0, len(data), 10_007):
        chain.feed(data[at : at + 10_007])
    assert chain.at == START + len(data)


def test_places_and_names_of_files() -> None:
    """As the server writes them."""
    assert lsn_text(parse_lsn("1A/3000028")) == "1A/3000028"
    assert History(1, 1, 16 << 20).file(parse_lsn("1A/3000028")) == b"000000010000001A00000003"
    assert HISTORY.file(parse_lsn("0/3000028")) == b"000000030000000000000030"
    for wrong in ("", "0", "0/", "x/1", "0/1/2", "-1/0", "123456789/0"):
        with pytest.raises(Damaged):
            parse_lsn(wrong)
