"""An edited tree is, page for page, the tree that building all of it anew gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings, strategies as st

from knowngood.core.ids import Name
from knowngood.tree import block as block_module, build as build_module
from knowngood.tree.edit import Change, edit
from tests.unit.tree.growing import Pages
from tests.unit.tree.rebuilding import Entries, changed, entry, rebuild

NAMES = [b"a", b"aa", b"a-", b"b", b"\x01", b"\xff", b".", b"c", *(b"f%02d" % n for n in range(40))]
DIRECTORIES = [b"", b"a", b"a\0a", b"a-", b"aa", b"b", b"b\0b\0b", b"c", b"c\0a"]

bounds = st.fixed_dictionaries(
    {
        "TARGET": st.sampled_from([100, 200, 1000]),
        "LIMIT": st.sampled_from([300, 4000]),
        "USES_LIMIT": st.sampled_from([6, 1000]),
        "NODE_MASK": st.sampled_from([0, 1, 3]),
        "NODE_LIMIT": st.sampled_from([2, 3, 8]),
        "BLOCK_FROM": st.sampled_from([1, 2, 5]),
        "BLOCK_MASK": st.sampled_from([1, 3, 7]),
        "BLOCK_LIMIT": st.sampled_from([5, 11]),
    }
)
fullness = st.fixed_dictionaries(
    {"BLOCK_USES": st.sampled_from([4, 9, 1000]), "BLOCK_BYTES": st.sampled_from([60, 300, 10**6])}
)
seeds = st.integers(0, 99)
file_systems = st.sampled_from([0, 0, 1])
places = st.tuples(st.sampled_from(DIRECTORIES), st.sampled_from(NAMES))
trees = st.dictionaries(places, st.tuples(seeds, file_systems), max_size=90)
edits = st.dictionaries(
    st.one_of(places, places, places, st.sampled_from(DIRECTORIES[1:]).map(lambda directory: (directory, b""))),
    st.one_of(st.none(), st.tuples(seeds, file_systems)),
    max_size=12,
)


@contextmanager
def small(of_build: dict[str, Any], of_block: dict[str, Any]) -> Iterator[Pages]:
    """While this lasts, little trees have many blocks, leaves and levels."""
    with patch.multiple(build_module, **of_build), patch.multiple(block_module, **of_block):
        yield Pages()


def made(tree: dict[tuple[bytes, bytes], tuple[int, int]]) -> Entries:
    return {place: entry(*place, seed, file_system=number) for place, (seed, number) in tree.items()}


def steps(wishes: dict[tuple[bytes, bytes], tuple[int, int] | None]) -> list[Change]:
    """Changes in tree order. Where a subtree goes there is no entry for its own key."""
    return [
        Change(*place, entry(*place, wish[0], file_system=wish[1]) if wish and place[1] else None)
        for place, wish in sorted(wishes.items())
    ]


def check(pages: Pages, entries: Entries, root: Name, changes: list[Change]) -> tuple[Entries, Name]:
    expected = changed(entries, changes)
    new = edit(root, pages.get, pages.put, changes)
    assert new == rebuild(pages, expected)
    return expected, new


@settings(max_examples=settings().max_examples * 4)
@given(trees, st.lists(edits, min_size=1, max_size=3), bounds, fullness)
def test_an_edited_tree_is_the_tree_built_anew(
    tree: dict, several: list[dict], of_build: dict[str, int], of_block: dict[str, int]
) -> None:
    with small(of_build, of_block) as pages:
        entries = made(tree)
        root = rebuild(pages, entries)
        for wishes in several:
            entries, root = check(pages, entries, root, steps(wishes))


@settings(max_examples=settings().max_examples * 2)
@given(
    st.lists(st.tuples(seeds, st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1])), max_size=120),
    st.lists(st.tuples(st.integers(0, 130), st.one_of(st.none(), st.tuples(seeds, file_systems))), max_size=12),
    bounds,
    fullness,
)
def test_file_systems_that_change_within_a_directory(
    files: list[tuple[int, int]],
    wishes: list[tuple[int, tuple[int, int] | None]],
    of_build: dict[str, int],
    of_block: dict[str, int],
) -> None:
    """Where one ends goes by the entry that follows, be it pages away."""
    with small(of_build, of_block) as pages:
        entries = made({(b"d", b"%04d" % number): file for number, file in enumerate(files)})
        check(pages, entries, rebuild(pages, entries), steps({(b"d", b"%04d" % n): wish for n, wish in wishes}))


@given(st.integers(0, 400), st.integers(0, 1 << 32), st.lists(st.integers(0, 450), max_size=8), bounds, fullness, seeds)
def test_long_directories(
    length: int, shuffle: int, numbers: list[int], of_build: dict[str, int], of_block: dict[str, int], seed: int
) -> None:
    """Many blocks of one directory: where cuts begin has to be found again."""
    with small(of_build, of_block) as pages:
        entries = {
            (b"d", b"%04d" % n): entry(b"d", b"%04d" % n, (n * 7 + shuffle) % 100) for n in range(0, 2 * length, 2)
        }
        root = rebuild(pages, entries)
        wishes = {(b"d", b"%04d" % n): ((seed + n) % 100, 0) if n % 3 else None for n in numbers}
        check(pages, entries, root, steps(wishes))
