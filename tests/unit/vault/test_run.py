"""Index runs: what was put in is found, nothing else is, and damage shows."""

from __future__ import annotations

import random

import pytest

from knowngood.core.errors import Damaged
from knowngood.vault.run import ROW_BYTES, Run, encode_run, make_row

PACK = b"p" * 32


def run_of(rows: list[bytes], packs: dict[bytes, int] | None = None) -> Run:
    rows = sorted(rows)
    name, parts = encode_run(packs or {PACK: 1}, rows, len(rows))
    return Run(name, b"".join(parts))


def rows_of(run: Run) -> list[bytes]:
    return [row for byte in range(256) for row in run.rows(byte)]


@pytest.mark.parametrize("count", [0, 1, 2, 700, 1 << 15, (1 << 15) + 700], ids="{}".format)
def test_every_row_is_found_in_narrow_and_wide_runs(count: int, some: random.Random) -> None:
    names = [some.randbytes(32) for _ in range(count)]
    rows = sorted(make_row(name, PACK, at, 7) for at, name in enumerate(names))
    run = run_of(rows)
    assert run.count == count
    assert run.intact()
    assert rows_of(run) == rows
    for at in some.sample(range(count), min(count, 300)):
        (found,) = run.find(names[at])
        assert found[1] == make_row(names[at], PACK, at, 7)
        assert run.row(found[0]) == found[1]
        place = run.locate(found[1])
        assert (place.pack_kind, place.pack, place.offset, place.length) == (1, PACK, at, 7)
    assert not list(run.find(some.randbytes(32)))


def test_a_run_covers_the_leading_bytes_of_its_names() -> None:
    run = run_of([make_row(bytes([byte]) * 32, PACK, 0, 1) for byte in (0, 7, 255)])
    assert [byte for byte in range(256) if run.covers(byte)] == [0, 7, 255]


def test_an_empty_run_finds_nothing() -> None:
    run = run_of([])
    assert not list(run.find(bytes(32)))
    assert not any(run.covers(byte) for byte in range(256))
    assert rows_of(run) == []


def test_every_copy_of_a_name_is_found() -> None:
    rows = [make_row(b"n" * 32, PACK, at, 1) for at in (1, 2, 3)]
    run = run_of([*rows, make_row(b"m" * 32, PACK, 9, 1), make_row(b"o" * 32, PACK, 9, 1)])
    assert sorted(row for _, row in run.find(b"n" * 32)) == rows


def test_a_name_that_only_appears_across_rows_is_not_found() -> None:
    """Rows are searched as bytes: a match that does not begin where a row begins is none."""
    name = b"\x41" * 16
    # the pack's prefix, offset and length of the first row continue into the second row's name
    tail = run_of(
        [make_row(b"\x41" * 8 + b"\x00" * 8 + bytes(16), b"\x41" * 32, 0x41414141, 0x41414141)], {b"\x41" * 32: 1}
    )
    assert not list(tail.find(name))
    hidden = make_row(b"\x41\x41" + bytes(30), b"\x41" * 32, 0x41414141, 0x41414141)
    after = make_row(b"\x41" * 32, b"\x41" * 32, 5, 6)
    both = run_of([hidden, after], {b"\x41" * 32: 1})
    assert [row for _, row in both.find(name)] == [after]


def test_a_search_ends_with_the_rows_of_its_slot() -> None:
    """The last row of a run, and of a slot, is found; what lies behind it is not."""
    last = make_row(b"\xff" * 32, PACK, 0, 1)
    assert [row for _, row in run_of([last]).find(b"\xff" * 32)] == [last]


def test_the_last_of_packs_with_neighbouring_names_is_told_apart() -> None:
    packs = {bytes([byte]) * 32: 1 + byte % 2 for byte in range(10)}
    run = run_of([make_row(bytes([byte]) * 32, bytes([byte]) * 32, byte, 1) for byte in range(10)], packs)
    for byte in range(10):
        (found,) = run.find(bytes([byte]) * 32)
        assert run.pack_of(found[1]) == (bytes([byte]) * 32, 1 + byte % 2)


def test_a_row_into_an_unknown_pack_is_damage() -> None:
    run = run_of([make_row(b"n" * 32, b"unknown" * 5, 0, 1)])
    with pytest.raises(Damaged):
        run.locate(rows_of(run)[0])


@pytest.mark.parametrize("cut", [0, 1, 3, 23, 24, 50, 1000, -1, -ROW_BYTES], ids="{}".format)
def test_a_cut_run_does_not_open(cut: int) -> None:
    name, parts = encode_run({PACK: 1}, [make_row(b"n" * 32, PACK, 0, 1)], 1)
    with pytest.raises(Damaged):
        Run(name, b"".join(parts)[:cut])


def test_any_flipped_bit_shows(some: random.Random) -> None:
    rows = sorted(make_row(some.randbytes(32), PACK, at, 7) for at in range(50))
    name, parts = encode_run({PACK: 1}, rows, len(rows))
    whole = b"".join(parts)
    for _ in range(300):
        at = some.randrange(len(whole))
        changed = bytearray(whole)
        changed[at] ^= 1 << some.randrange(8)
        try:
            run = Run(name, bytes(changed))
        except Damaged:
            continue
        assert not run.intact()
