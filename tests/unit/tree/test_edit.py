"""Edits of trees with the bounds as they are: how little is read and written, and what happens at every border."""

from __future__ import annotations

from functools import cache

import pytest

from knowngood.core.errors import Damaged
from knowngood.core.ids import Name
from knowngood.tree import build
from knowngood.tree.block import Block, BlockWriter, Content, Entry
from knowngood.tree.build import TreeBuilder
from knowngood.tree.edit import Change, edit
from tests.unit.tree.growing import Pages, heavy, row
from tests.unit.tree.rebuilding import Entries, changed, entry, rebuild

DIRECTORIES = [b"d%03d" % n for n in range(100)]


@cache
def wide() -> tuple[Pages, Entries, Name]:
    """Many directories of 100 entries, and one of 20000."""
    entries = {
        (d, b"f%03d" % n): entry(d, b"f%03d" % n, n + 100 * i) for i, d in enumerate(DIRECTORIES) for n in range(100)
    }
    entries |= {(b"long", b"%05d" % n): entry(b"long", b"%05d" % n, n) for n in range(20_000)}
    pages = Pages()
    return pages, entries, rebuild(pages, entries)


def edited(*changes: Change) -> tuple[int, int]:
    """Edit the wide tree; how many pages were read and written. The result must be the tree built anew."""
    pages, entries, root = wide()
    pages.read.clear()
    written: list[Name] = []

    def put(refs: bytes, body: bytes) -> Name:
        written.append(pages.put(refs, body))
        return written[-1]

    new = edit(root, pages.get, put, changes)
    read = len(pages.read)
    assert new == rebuild(Pages(), changed(entries, changes))
    return read, len(written)


def test_nothing_to_change_reads_nothing() -> None:
    assert edited() == (0, 0)


def test_a_change_reads_and_writes_one_way_down() -> None:
    place = (b"d050", b"f050")
    for change in (
        Change(*place, entry(*place, 7)),
        Change(*place),
        Change(b"d050", b"f0500", entry(b"d050", b"f0500", 1)),
        Change(b"d050\0new", b"x", entry(b"d050\0new", b"x", 1)),
        Change(b"d050", b"not there"),
    ):
        read, written = edited(change)
        assert read <= 6
        assert written <= 5


def test_the_ends_of_the_tree() -> None:
    for place in ((b"", b"."), (b"", b"a"), (b"a", b"a"), (b"zzz", b"z"), (b"long", b"99999"), (b"long", b"19999")):
        read, written = edited(Change(*place, entry(*place, 3)))
        assert read <= 7
        assert written <= 6


def test_a_long_directory_is_read_where_it_changes() -> None:
    read, written = edited(*(Change(b"long", b"%05d" % n) for n in range(7000, 7600)))
    assert read <= 12
    assert written <= 8


def test_what_is_cleared_is_not_read() -> None:
    read, written = edited(Change(b"long", b""))
    assert read <= 6
    assert written <= 4


def test_a_directory_is_replaced() -> None:
    changes = [Change(b"d060", b""), *(Change(b"d060", b"g%d" % n, entry(b"d060", b"g%d" % n, n)) for n in range(3))]
    assert max(edited(*changes)) <= 6


def test_everything_goes_and_comes() -> None:
    _, entries, _ = wide()
    edited(Change(b"", b""))
    edited(Change(b"", b""), Change(b"", b".", entry(b"", b".", 5)))
    edited(*(Change(*place) for place in sorted(entries)))
    edited(*(Change(*place) for place in sorted(entries) if place != (b"d099", b"f099")))


def test_an_empty_tree_grows() -> None:
    pages = Pages()
    root = TreeBuilder(pages.put).finish()
    change = Change(b"a", b"b", entry(b"a", b"b", 3))
    assert edit(root, pages.get, pages.put, [change]) == rebuild(pages, {change.key: change.entry})  # type: ignore[dict-item]
    assert edit(root, pages.get, pages.put, [Change(b"a", b"b")]) == root


def test_a_huge_cut_begins_far_back() -> None:
    """Blocks that were full end early, and the count by which their cut ends goes on over pages that are not read."""
    huge = [(b"d", b"%04d" % n) for n in range(600)]
    entries: Entries = {place: _huge(*place) for place in huge}
    pages = Pages()
    root = rebuild(pages, entries)
    for number in (100, 520):
        changes = [Change(b"d", b"%04d" % number), Change(b"d", b"%04dx" % number, _huge(b"d", b"%04dx" % number))]
        pages.read.clear()
        assert edit(root, pages.get, pages.put, changes) == rebuild(pages, changed(entries, changes))
        assert len(pages.read) < 30


def _huge(directory: bytes, name: bytes) -> Entry:
    """A file of 900 chunks: 19 of them fill a block."""
    refs = b"".join(name.ljust(28, b".") + number.to_bytes(4, "big") for number in range(900))
    return Entry.of(directory, name, row(900 << 20), 0, Content.CHUNKS, refs, extra=heavy(900))


def test_columns_that_contradict_each_other_are_damage() -> None:
    writer = BlockWriter(b"", 0)
    writer.add(b"a", row(5), Content.CHUNK, bytes(32))
    block: Block = writer.block()
    block.refs *= 2
    pages = Pages()
    builder = TreeBuilder(pages.put)
    builder.add(block)
    root = builder.finish()
    with pytest.raises(Damaged):
        edit(root, pages.get, pages.put, [Change(b"", b"b", entry(b"", b"b", 1))])


@pytest.mark.parametrize("target", [1 << 20, 1], ids=["one leaf", "a leaf for each block"])
def test_what_kept_two_blocks_apart_goes(target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another file system ends the block before it; without it, that goes on, be it in another page."""
    monkeypatch.setattr(build, "TARGET", target)
    pages = Pages()
    entries = {(b"d", b"%02d" % n): entry(b"d", b"%02d" % n, n, file_system=int(n % 4 == 2)) for n in range(40)}
    root = rebuild(pages, entries)
    for number in range(40):
        place = (b"d", b"%02d" % number)
        for change in (Change(*place), *(Change(*place, entry(*place, 9, file_system=fs)) for fs in (0, 1, 2))):
            assert edit(root, pages.get, pages.put, [change]) == rebuild(pages, changed(entries, [change]))
