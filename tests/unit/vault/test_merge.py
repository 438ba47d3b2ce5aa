"""Merging: no row is lost, none that is unwanted stays, and the boundaries of runs lie between leading bytes."""

from __future__ import annotations

import random

import pytest

from knowngood.testing.stores import MemoryStore
from knowngood.vault.epoch import Epoch
from knowngood.vault.index import Index
from knowngood.vault.layout import run_key
from knowngood.vault.merge import merge_runs, put_run
from knowngood.vault.run import Run, make_row, row_frame

PACKS = {bytes([byte]) * 32: 1 + byte % 2 for byte in range(5)}


def filled(some: random.Random, runs: int = 6, rows: int = 100) -> tuple[MemoryStore, set[bytes]]:
    store, everything = MemoryStore(), set[bytes]()
    for _ in range(runs):
        here = {make_row(some.randbytes(32), some.choice(list(PACKS)), some.randrange(999), 5) for _ in range(rows)}
        here |= set(some.sample(sorted(everything), min(20, len(everything))))  # two runs may tell of one frame
        put_run(store, PACKS, sorted(here))
        everything |= here
    return store, everything


def opened(store: MemoryStore, names: list[bytes]) -> list[Run]:
    return [Run(name, store.view(run_key(name))) for name in names]


@pytest.mark.parametrize("run_rows", [1, 2, 10, 37, 10_000], ids="{}".format)
def test_merged_runs_hold_every_row_once(run_rows: int, some: random.Random) -> None:
    store, everything = filled(some)
    names = merge_runs(store, Index.open(store, Epoch()), lambda _: True, run_rows=run_rows)
    merged = opened(store, names)
    rows = [row for run in merged for byte in range(256) for row in run.rows(byte)]
    assert rows == sorted(everything)
    for byte in range(256):
        assert sum(run.covers(byte) for run in merged) <= 1
    assert all(run.count >= run_rows for run in merged[:-1])
    assert all(run.intact() for run in merged)
    for run in merged:
        for byte in range(256):
            for row in run.rows(byte):
                assert run.pack_of(row)[0][:8] == row[16:24]


def test_rows_of_unwanted_packs_are_left_out(some: random.Random) -> None:
    store, everything = filled(some)
    gone = b"\x01" * 8
    names = merge_runs(store, Index.open(store, Epoch()), lambda row: row_frame(row)[0] != gone, run_rows=50)
    rows = {row for run in opened(store, names) for byte in range(256) for row in run.rows(byte)}
    assert rows == {row for row in everything if row[16:24] != gone}
    assert all(b"\x01" * 32 not in run.packs for run in opened(store, names))


def test_nothing_merges_to_no_run() -> None:
    store = MemoryStore()
    assert merge_runs(store, Index.open(store, Epoch()), lambda _: True) == []
    put_run(store, PACKS, [make_row(b"n" * 32, b"\x00" * 32, 0, 1)])
    assert merge_runs(store, Index.open(store, Epoch()), lambda _: False) == []


def test_merging_the_merged_changes_nothing(some: random.Random) -> None:
    store, _ = filled(some)
    names = merge_runs(store, Index.open(store, Epoch()), lambda _: True, run_rows=64)
    index = Index(opened(store, names), frozenset())
    assert merge_runs(store, index, lambda _: True, run_rows=64) == names


def test_the_order_of_runs_does_not_matter(some: random.Random) -> None:
    store, _ = filled(some)
    index = Index.open(store, Epoch())
    backwards = Index(list(reversed(index.runs)), frozenset())
    assert merge_runs(store, index, lambda _: True) == merge_runs(store, backwards, lambda _: True)
