"""Numbered trees against plain dictionaries, and ranges of files against plain bytes."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import assume, given, strategies as st

from knowngood.core.errors import Damaged, NotFound
from knowngood.core.ids import Name
from knowngood.tree.block import ROOT_NAME, Content, Entry, Extra
from knowngood.tree.numbered import NumberedTree, page_cache
from knowngood.tree.page import Child, encode_list, encode_node
from knowngood.tree.ranges import FileMap, list_cache
from tests.property.test_tree import flat, names, teardown_function, trees, with_small_pages
from tests.unit.tree.growing import Pages, build, chunk_name

__all__ = ["teardown_function"]

# ---------------------------------------------------------------------------------------------------------- numbers


@given(trees, st.integers(1, 1000), names)
def test_numbers_stand_for_entries(tree: dict[bytes, dict[bytes, bytes]], cached: int, other: bytes) -> None:
    """Found by number as by name, listed from any number on; however little is kept."""
    pages = with_small_pages()
    numbered = NumberedTree(build(pages, tree), pages.get, page_cache(cached))
    ordered = sorted(flat(tree))
    for number, (directory, name) in enumerate(ordered):
        found = numbered.find(directory, name)
        assert found is not None
        assert (found[0], found[1].name, found[1].directory) == (number, name, directory)
        assert numbered.at(number) == found[1]
    for number in (-1, len(ordered)):
        with pytest.raises(NotFound):
            numbered.at(number)
    for directory, files in tree.items():
        if other not in files:
            assert numbered.find(directory, other) is None
        first = numbered.first(directory)
        expected = [(first + place, name) for place, name in enumerate(sorted(files))]
        for skipped in range(len(files) + 1):
            listed = [(number, entry.name) for number, entry in numbered.listing(directory, first + skipped)]
            assert listed == expected[skipped:]
    assert list(numbered.listing(b"no\0such", numbered.first(b"no\0such"))) == []
    assert numbered.find(b"no\0such", other) is None


@given(trees)
def test_the_root_tells_of_itself(tree: dict[bytes, dict[bytes, bytes]]) -> None:
    """And is no name below itself."""
    pages = with_small_pages()
    below = tree.get(b"", {})
    assume(below)
    numbered = NumberedTree(build(pages, {**tree, b"": {**below, ROOT_NAME: b""}}), pages.get, page_cache())
    root = numbered.root()
    assert root is not None
    assert root.key == b""
    assert [entry.name for _, entry in numbered.listing(b"", numbered.first(b""))] == sorted(below)


def test_a_page_that_lies_about_its_entries() -> None:
    """Numbers would lead to other entries than before: that is damage."""
    pages = Pages()
    leaves = [build(pages, {b"": {name: b"x"}}) for name in (b"a", b"b")]
    children = [Child(leaf, 0, b"", name, 2, 1) for leaf, name in zip(leaves, (b"a", b"b"), strict=True)]
    numbered = NumberedTree(pages.put(*encode_node(children)), pages.get, page_cache())
    with pytest.raises(Damaged):
        numbered.at(0)
    with pytest.raises(Damaged):
        numbered.find(b"", b"b")
    with pytest.raises(Damaged):
        NumberedTree(pages.put(*encode_node([])), pages.get, page_cache()).at(0)


# --------------------------------------------------------------------------------------------------------- contents


def _file(parts: list[tuple[int, bytes]], tail: int, cuts: list[int], *, many: bool) -> tuple[Entry, Pages, bytes]:
    """A file of (hole before, content) and a hole at the end, its chunks, and its bytes."""
    pages = Pages()
    whole, stream, extents = bytearray(), bytearray(), bytearray()
    for hole, content in parts:
        whole += bytes(hole)
        extents += struct.pack("<QQ", len(whole), len(content))
        whole += content
        stream += content
    whole += bytes(tail)
    edges = [0, *sorted({cut % len(stream) for cut in cuts} - {0}), len(stream)] if stream else [0]
    chunks = [bytes(stream[start:end]) for start, end in pairwise(edges)]
    for chunk in chunks:
        pages.kept[chunk_name(chunk)] = (b"", chunk)
    lengths = [len(chunk) for chunk in chunks]
    refs, content_kind = b"".join(map(chunk_name, chunks)), Content.CHUNKS
    if many:
        lists = [(chunks[at : at + 2], lengths[at : at + 2]) for at in range(0, len(chunks), 2)]
        listed = [pages.put(*encode_list([chunk_name(each) for each in some], sizes)) for some, sizes in lists]
        refs, lengths, content_kind = b"".join(listed), [sum(sizes) for _, sizes in lists], Content.LIST
    is_sparse = bool(tail or any(hole for hole, _ in parts)) or not stream
    extra = Extra(lengths=tuple(lengths), extents=bytes(extents) if is_sparse else b"")
    if not stream:
        content_kind, refs, extra = Content.NONE, b"", Extra()
    fixed = (0o100644, 0, 0, 1, len(whole), 0, 0, 0, 0)
    return Entry(b"", b"f", *fixed, int(content_kind), refs, b"", extra), pages, bytes(whole)


def _read(file: FileMap, pages: Pages, offset: int, length: int) -> bytes:
    found = bytearray()
    for chunk, start, stop, size in file.pieces(offset, length):
        assert stop > start
        if chunk is None:
            found += bytes(stop - start)
        else:
            data = pages.kept[chunk][1] if chunk else file.inline or b""
            assert len(data) == size
            found += data[start:stop]
    return bytes(found)


holed = st.lists(st.tuples(st.integers(0, 9), st.binary(min_size=1, max_size=20)), max_size=5)


@given(holed, st.integers(0, 9), st.lists(st.integers(1, 99), max_size=6), st.booleans(), st.data())
def test_any_range_of_a_file(
    parts: list[tuple[int, bytes]], tail: int, cuts: list[int], many: bool, data: st.DataObject
) -> None:
    """Bytes and holes are where they were, wherever one begins to read."""
    entry, pages, whole = _file(parts, tail, cuts, many=many)
    file = FileMap(entry, pages.get, list_cache())
    assert _read(file, pages, 0, 1 << 40) == whole
    offset = data.draw(st.integers(0, len(whole) + 2))
    length = data.draw(st.integers(0, len(whole) + 2))
    assert _read(file, pages, offset, length) == whole[offset : offset + length]
    solid = bytearray(len(whole))
    at = 0
    for hole, content in parts:
        at += hole
        solid[at : at + len(content)] = b"\1" * len(content)
        at += len(content)
    if offset < len(whole):
        data_at, hole_at = bytes(solid).find(b"\1", offset), bytes(solid).find(b"\0", offset)
        assert file.seek(offset, hole=False) == (None if data_at < 0 else data_at)
        assert file.seek(offset, hole=True) == (len(whole) if hole_at < 0 else hole_at)
    else:
        assert file.seek(offset, hole=False) is None
        assert file.seek(offset, hole=True) is None


@given(st.binary(max_size=40), st.integers(0, 50), st.integers(0, 50))
def test_any_range_of_an_inline_file(content: bytes, offset: int, length: int) -> None:
    """Tiny files have no chunks."""
    fixed = (0o100644, 0, 0, 1, len(content), 0, 0, 0, 0)
    entry = Entry(b"", b"f", *fixed, int(Content.INLINE), b"", content, Extra())
    file = FileMap(entry, Pages().get, list_cache())
    assert _read(file, Pages(), offset, length) == content[offset : offset + length]


def _entry(size: int, content: Content, refs: bytes, extra: Extra, inline: bytes = b"") -> Entry:
    return Entry(b"", b"f", 0o100644, 0, 0, 1, size, 0, 0, 0, 0, int(content), refs, inline, extra)


@pytest.mark.parametrize(
    "entry",
    [
        _entry(10, Content.CHUNKS, b"n" * 32, Extra(lengths=(9,))),
        _entry(10, Content.CHUNKS, b"n" * 64, Extra(lengths=(10,))),
        _entry(10, Content.CHUNKS, b"n" * 64, Extra(lengths=(11, -1))),
        _entry(10, Content.CHUNKS, b"n" * 64, Extra(lengths=(1 << 64, 1))),
        _entry(10, Content.INLINE, b"", Extra(), b"short"),
        _entry(10, Content.CHUNK, b"n" * 32, Extra(extents=b"x" * 17)),
        _entry(10, Content.CHUNK, b"n" * 32, Extra(extents=struct.pack("<QQQQ", 4, 4, 2, 2))),
        _entry(10, Content.CHUNK, b"n" * 32, Extra(extents=struct.pack("<QQ", 4, 7))),
    ],
)
def test_layouts_that_contradict_themselves(entry: Entry) -> None:
    """Are damage, and found before anything is read."""
    with pytest.raises(Damaged):
        FileMap(entry, Pages().get, list_cache())


def test_a_list_that_is_not_as_long_as_it_should_be() -> None:
    """Is found when it is read."""
    pages = Pages()
    listed = pages.put(*encode_list([b"n" * 32], [9]))
    entry = _entry(10, Content.LIST, listed, Extra(lengths=(10,)))
    file = FileMap(entry, lambda name: pages.get(Name(name)), list_cache())
    with pytest.raises(Damaged):
        list(file.pieces(0, 10))
