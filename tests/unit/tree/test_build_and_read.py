"""Building and reading: order, boundaries, reuse, and how few pages a question reads."""

from __future__ import annotations

import random

import pytest

from knowngood.core.errors import NotFound
from knowngood.tree.block import BlockWriter, Content
from knowngood.tree.build import NODE_LIMIT, TreeBuilder
from knowngood.tree.page import NODE, decode_node, page_kind
from knowngood.tree.read import TreeReader, key_of, within
from tests.unit.tree.growing import Pages, blocks_of, build, heavy, row

SOME = random.Random(3)
WIDE = {b"d%03d" % d: {b"f%04d" % f: b"content %d" % f for f in range(40)} for d in range(300)}


def depth(pages: Pages, root: bytes) -> int:
    refs, body = pages.kept[root]
    return 1 + depth(pages, decode_node(refs, body)[0].page) if page_kind(body) == NODE else 1


def test_an_empty_tree() -> None:
    pages = Pages()
    tree = pages.reader(build(pages, {}))
    assert list(tree.entries()) == []
    with pytest.raises(NotFound):
        tree.lookup(b"anything")


def test_everything_is_found_in_order() -> None:
    pages = Pages()
    tree = pages.reader(build(pages, WIDE))
    found = [(entry.directory, entry.name) for entry in tree.entries()]
    assert found == [(directory, name) for directory in sorted(WIDE) for name in sorted(WIDE[directory])]


def test_a_lookup_reads_one_page_per_level() -> None:
    pages = Pages()
    root = build(pages, WIDE)
    levels = depth(pages, root)
    assert levels > 1
    for path in (b"d000/f0000", b"d150/f0020", b"d299/f0039", b"/d299//./f0039/"):
        tree = pages.reader(root)
        assert tree.lookup(path).path == key_of(path).replace(b"\0", b"/")
        assert len(pages.read) == levels
    for path in (b"a", b"d000", b"d150/f0020x", b"d150/a", b"d299/z", b"z", b"", b"d1500/f"):
        tree = pages.reader(root)
        with pytest.raises(NotFound):
            tree.lookup(path)
        assert len(pages.read) <= levels


def test_a_subtree_is_found_without_what_is_beside_it() -> None:
    files = {b"f%03d" % n: b"x%d" % n for n in range(30)}
    tree: dict[bytes, dict[bytes, bytes]] = dict.fromkeys((b"a", b"a\0b", b"a\0b\0c", b"a-b", b"a0", b"ab"), files)
    pages = Pages()
    reader = pages.reader(build(pages, tree))
    assert {entry.directory for entry in reader.entries(b"a")} == {b"a", b"a\0b", b"a\0b\0c"}
    assert {entry.directory for entry in reader.entries(b"a\0b")} == {b"a\0b", b"a\0b\0c"}
    assert [entry.name for entry in reader.directory(b"a")] == sorted(files)
    assert list(reader.directory(b"a\0x")) == []


def test_the_root_has_an_entry_of_its_own() -> None:
    writer = BlockWriter(b"", 0)
    for name in (b"!first", b".", b"a"):
        writer.add(name, row(mode=0o40755), Content.NONE)
    pages = Pages()
    builder = TreeBuilder(pages.put)
    builder.add(writer.block())
    reader = pages.reader(builder.finish())
    assert reader.lookup(b"").key == b""
    assert reader.lookup(b".").key == b""
    assert [entry.name for entry in reader.directory(b"")] == [b"!first", b"a"]


def test_a_leaf_whose_blocks_come_again_is_not_made_again() -> None:
    pages = Pages()
    root = build(pages, WIDE)
    tree = TreeReader(root, pages.get)
    again = TreeBuilder(pages.put)
    made: list[bytes] = []
    again._put = lambda refs, body: made.append(body) or pages.put(refs, body)
    for leaf in tree.leaves():
        again.know(leaf)
        for block in tree.leaf(leaf):
            again.add(block)
    assert again.finish() == root
    assert all(page_kind(body) == NODE for body in made)


def test_a_leaf_that_lost_a_block_is_made_again() -> None:
    pages = Pages()
    tree = TreeReader(build(pages, WIDE), pages.get)
    builder = TreeBuilder(pages.put)
    left_out = next(tree.blocks())
    for leaf in tree.leaves():
        builder.know(leaf)
        for block in tree.leaf(leaf):
            if not block.same_as(left_out):
                builder.add(block)
    without = {directory: files for directory, files in WIDE.items() if directory != left_out.directory}
    assert builder.finish() == build(pages, without)


def test_pages_of_large_files_stay_within_a_frame() -> None:
    """Many directories of one large file each: references end a page as well as bytes do."""
    builder = TreeBuilder(Pages().put)
    pages: list[int] = []
    builder._put = lambda refs, body: pages.append(len(refs) // 32) or bytes(32)  # type: ignore[assignment,return-value]
    names = [SOME.randbytes(32 * 1000) for _ in range(150)]
    for number, refs in enumerate(names):
        writer = BlockWriter(b"%04d" % number, 0)
        writer.add(b"f", row(1 << 30), Content.CHUNKS, refs, extra=heavy(1000))
        builder.add(writer.block())
    builder.finish()
    assert sum(pages) >= 150_000
    assert max(pages) < 1 << 17


def test_nodes_have_bounded_children() -> None:
    pages = Pages()
    builder = TreeBuilder(pages.put)
    for block in blocks_of(b"", {b"%08d" % n: b"" for n in range(200_000)}):
        builder.add(block)
    builder.finish()
    nodes = [len(refs) // 32 for refs, body in pages.kept.values() if page_kind(body) == NODE]
    assert nodes
    assert max(nodes) <= NODE_LIMIT


def test_keys_and_paths() -> None:
    assert key_of(b"/a//b/./c/") == b"a\0b\0c"
    assert key_of(b"/") == b""
    assert within(b"a\0b", b"a")
    assert within(b"a", b"a")
    assert within(b"anything", b"")
    assert not within(b"ab", b"a")
