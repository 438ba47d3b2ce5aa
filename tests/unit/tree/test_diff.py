"""Differences between two trees: exact, in order, and without reading what both share."""

from __future__ import annotations

from knowngood.tree.diff import diff
from knowngood.tree.read import TreeReader
from tests.unit.tree.growing import Pages, build

OLD = {b"d%03d" % d: {b"f%04d" % f: b"content %d %d" % (d, f) for f in range(300)} for d in range(200)}


def changes(pages: Pages, old: bytes, new: bytes) -> list[tuple[bytes, bool, bool]]:
    pages.read.clear()
    readers = (TreeReader(root, pages.get) for root in (old, new))  # type: ignore[arg-type]
    return [((before or after).path, bool(before), bool(after)) for before, after in diff(*readers)]  # type: ignore[union-attr]


def test_equal_trees_differ_in_nothing_and_cost_two_pages() -> None:
    pages = Pages()
    root = build(pages, OLD)
    assert changes(pages, root, root) == []
    assert len(pages.read) <= 2


def test_one_change_reads_few_pages() -> None:
    pages = Pages()
    new = {directory: dict(files) for directory, files in OLD.items()}
    new[b"d100"][b"f0030"] = b"changed"
    old_root, new_root = build(pages, OLD), build(pages, new)
    assert changes(pages, old_root, new_root) == [(b"d100/f0030", True, True)]
    assert len(pages.read) <= 8
    assert len(pages.kept) > 30


def test_additions_and_removals_are_told_apart() -> None:
    pages = Pages()
    new = {directory: dict(files) for directory, files in OLD.items()}
    del new[b"d000"], new[b"d199"][b"f0299"]
    new[b"d100\0new"] = {b"x": b"x"}
    found = changes(pages, build(pages, OLD), build(pages, new))
    assert found == [
        *((b"d000/f%04d" % f, True, False) for f in range(300)),
        (b"d100/new/x", False, True),
        (b"d199/f0299", True, False),
    ]


def test_against_an_empty_tree_everything_differs() -> None:
    pages = Pages()
    root, empty = build(pages, {b"": {b"a": b"1", b"b": b""}}), build(pages, {})
    assert changes(pages, empty, root) == [(b"a", False, True), (b"b", False, True)]
    assert changes(pages, root, empty) == [(b"a", True, False), (b"b", True, False)]


def test_trees_of_different_height_compare() -> None:
    pages = Pages()
    small = {b"d100": OLD[b"d100"]}
    found = changes(pages, build(pages, OLD), build(pages, small))
    assert len(found) == 199 * 300
    assert all(before and not after for _, before, after in found)
