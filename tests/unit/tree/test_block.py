"""Blocks: entries go in, the same entries come out, and no block grows beyond what a frame can hold."""

from __future__ import annotations

import struct

import pytest

from knowngood.core.errors import Damaged
from knowngood.tree.block import BLOCK_BYTES, BLOCK_USES, Block, BlockWriter, Content, Extra, encode_extras
from knowngood.tree.columns import find, position
from tests.unit.tree.growing import heavy, row

NAMES = [bytes([n]) * 32 for n in range(8)]


def block(**changes: bytes) -> Block:
    writer = BlockWriter(b"a\0b", 3)
    writer.add(b"dir", row(mode=0o40755), Content.NONE)
    writer.add(b"link", row(6, mode=0o120777), Content.INLINE, inline=b"target")
    writer.add(b"many", row(30), Content.CHUNKS, NAMES[0] + NAMES[1] + NAMES[0], extra=Extra(lengths=(10, 10, 10)))
    writer.add(b"one", row(5), Content.CHUNK, NAMES[2], extra=Extra(flags=16))
    writer.add(b"tiny", row(4), Content.INLINE, inline=b"tiny", extra=Extra(xattrs=((b"user.k", b"v"),)))
    made = writer.block()
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_entries_come_back() -> None:
    entries = {entry.name: entry for entry in block().entries()}
    assert [*entries] == [b"dir", b"link", b"many", b"one", b"tiny"]
    assert entries[b"link"].inline == b"target"
    assert entries[b"many"].names() == [NAMES[0], NAMES[1], NAMES[0]]
    assert entries[b"one"].refs == NAMES[2]
    assert entries[b"one"].extra.flags == 16
    assert entries[b"tiny"].inline == b"tiny"
    assert entries[b"tiny"].extra.xattrs == ((b"user.k", b"v"),)
    assert all(entry.file_system == 3 for entry in entries.values())


def test_an_entry_knows_its_place() -> None:
    first = next(block().entries())
    assert (first.key, first.path) == (b"a\0b\0dir", b"a/b/dir")
    assert first.is_directory
    assert not first.is_file
    assert first.row == row(mode=0o40755)
    root = BlockWriter(b"", 0)
    root.add(b".", row(mode=0o40755), Content.NONE)
    assert [(entry.key, entry.path) for entry in root.block().entries()] == [(b"", b".")]


def test_extents_say_where_data_is() -> None:
    def extents(size: int, packed: bytes) -> list[tuple[int, int]]:
        writer = BlockWriter(b"", 0)
        writer.add(b"f", row(size), Content.CHUNK, NAMES[0], extra=Extra(extents=packed))
        return next(writer.block().entries()).extents()

    assert extents(10, b"") == [(0, 10)]
    assert extents(0, b"") == []
    assert extents(10, struct.pack("<4Q", 2, 3, 7, 1)) == [(2, 3), (7, 1)]


def test_extras_that_say_nothing_are_left_out() -> None:
    writer = BlockWriter(b"", 0)
    writer.add(b"f", row(), Content.NONE, extra=Extra())
    assert writer.block().extras == b""
    assert encode_extras({2: Extra(flags=1), 1: Extra(flags=1)}) == encode_extras(
        {1: Extra(flags=1), 2: Extra(flags=1)}
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"refs": b"".join(NAMES[:3])},
        {"refs": b"".join(NAMES[:5])},
        {"inline": b"targettin"},
        {"inline": b"targettiny!"},
        {"extras": b"\xc1"},
        {"extras": b"\x81\x02\x91\x91\xa1x"},
        {"contents": bytes([0, 2, 3, 1, 9])},
    ],
    ids=str,
)
def test_columns_that_contradict_each_other_are_damage(changes: dict[str, bytes]) -> None:
    with pytest.raises(Damaged):
        list(block(**changes).entries())


def test_same_is_every_column() -> None:
    assert block().same_as(block())
    for name in ("directory", "names", "rows", "contents", "refs", "inline", "extras"):
        assert not block().same_as(block(**{name: b"other"}))


def test_a_block_of_large_files_is_full_before_a_frame_is() -> None:
    """200 files of 1000 chunks once were one block of 200000 references: more than a frame may have."""
    writer = BlockWriter(b"", 0)
    count = 0
    while not writer.full:
        writer.add(b"%06d" % count, row(1 << 30), Content.CHUNKS, NAMES[0] * 1000, extra=heavy(1000))
        count += 1
    assert count == -(-BLOCK_USES // 1000)
    assert len(writer.block().refs) // 32 < BLOCK_USES + 1000


@pytest.mark.parametrize(
    "extra", [Extra(extents=bytes(1 << 20)), Extra(xattrs=((b"user.k", bytes(1 << 16)),))], ids=["extents", "xattrs"]
)
def test_a_block_of_heavy_extras_is_full_before_a_frame_is(extra: Extra) -> None:
    writer = BlockWriter(b"", 0)
    count = 0
    while not writer.full:
        writer.add(b"%06d" % count, row(1), Content.NONE, extra=extra)
        count += 1
    assert BLOCK_BYTES <= writer.block().size < BLOCK_BYTES + (2 << 20)


def test_long_directories_of_small_files_are_not_full_early() -> None:
    writer = BlockWriter(b"", 0)
    for count in range(4096):
        assert not writer.full
        writer.add(b"%06d" % count, row(1), Content.CHUNK, NAMES[0])


@pytest.mark.parametrize(
    "names", [[b"a"], [b"a", b"aa", b"aaa", b"b"], [b"\xff", b"\xff\xff"], [b"one", b"two", b"won"]]
)
def test_an_entry_is_found_by_its_whole_name_only(names: list[bytes]) -> None:
    writer = BlockWriter(b"", 0)
    for at, name in enumerate(names):
        writer.add(name, row(at), Content.INLINE, inline=bytes(at))
    made = writer.block()
    for at, name in enumerate(names):
        assert position(made, name) == at
        found = find(made, name)
        assert found is not None
        assert (found.name, found.inline) == (name, bytes(at))
    for other in (b"aaaa", b"o", b"w", b"n", b"ne", b"tw", b"\xff\xff\xff", b".", b"e", b"zzz"):
        assert (position(made, other) is None) == (other not in names)
