"""Cutting: what is cut joins again, however it is fed, and a change moves few cuts."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import accumulate

import pytest

from knowngood.seal.chunker import Chunker, ChunkSizes

SMALL = ChunkSizes(64, 256, 1024)
DATA = random.Random(11).randbytes(200_000)


def feed(data: bytes, at_once: int = 1 << 30) -> Callable[[memoryview], int]:
    at = 0

    def fill(view: memoryview) -> int:
        nonlocal at
        piece = data[at : at + min(at_once, len(view))]
        view[: len(piece)] = piece
        at += len(piece)
        return len(piece)

    return fill


def cuts(data: bytes, sizes: ChunkSizes = SMALL, seed: int = 99, at_once: int = 1 << 30) -> list[bytes]:
    return [bytes(each) for each in Chunker(sizes, seed).cut(feed(data, at_once))]


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 255, 1024, 1025, 100_001])
def test_chunks_join_to_what_was_cut(size: int) -> None:
    chunks = cuts(DATA[:size])
    assert b"".join(chunks) == DATA[:size]
    assert all(SMALL.minimum <= len(each) <= SMALL.maximum for each in chunks[:-1])
    assert all(chunks)


@pytest.mark.parametrize("block", [1024, 1025, 4096, 65536, 1 << 20])
@pytest.mark.parametrize("at_once", [1, 777, 1 << 30])
def test_blocks_and_short_reads_do_not_move_cuts(block: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cuts(DATA[:50_000])
    monkeypatch.setattr(Chunker, "BLOCK", block)
    assert cuts(DATA[:50_000], at_once=at_once) == whole


def test_cutting_may_begin_anew_at_any_cut() -> None:
    chunks = cuts(DATA)
    for at in list(accumulate(map(len, chunks)))[::50]:
        assert b"".join(cuts(DATA[at:])) == DATA[at:]
        assert cuts(DATA[at:]) == chunks[len(chunks) - len(cuts(DATA[at:])) :]


def test_another_seed_cuts_elsewhere() -> None:
    assert cuts(DATA, seed=1) != cuts(DATA, seed=2)


def test_an_insertion_moves_only_the_cuts_around_it() -> None:
    before = cuts(DATA)
    after = cuts(DATA[:100_000] + b"inserted" + DATA[100_000:])
    assert len(set(after) - set(before)) <= 8


def test_a_chunk_stays_as_it_is_while_it_is_held() -> None:
    held = list(Chunker(SMALL, 5).cut(feed(DATA)))
    assert b"".join(held) == DATA
    assert all(each.readonly for each in held)
