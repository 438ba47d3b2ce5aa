"""Pages: what is encoded decodes, and every damage is told as damage."""

from __future__ import annotations

import struct

import pytest

from knowngood.core.errors import Damaged
from knowngood.core.ids import Name
from knowngood.tree.block import Block, BlockWriter, Content
from knowngood.tree.page import (
    LEAF,
    LIST,
    NODE,
    Child,
    decode_leaf,
    decode_list,
    decode_node,
    encode_leaf,
    encode_list,
    encode_node,
    page_kind,
)
from tests.unit.tree.growing import row
from tests.unit.tree.test_block import NAMES, block

CHILDREN = [
    Child(Name(NAMES[0]), 0, b"", b".", 7, 100),
    Child(Name(NAMES[1]), 0, b"a\0b", b"\xff\xfe", 1 << 40, (1 << 64) - 1),
]


def test_a_leaf_comes_back() -> None:
    other = BlockWriter(b"z", 0)
    other.add(b"x", row(5), Content.CHUNK, NAMES[1])
    blocks = [block(), other.block()]
    refs, body = encode_leaf(blocks)
    assert page_kind(body) == LEAF
    assert refs == NAMES[0] + NAMES[1] + NAMES[2]  # each once, in order of use
    found = decode_leaf(refs, body)
    assert all(one.same_as(other) for one, other in zip(found, blocks, strict=True))
    assert [each.origin for each in found] == [None, None]
    assert [each.origin for each in decode_leaf(refs, body, b"page")] == [(b"page", 0, 2), (b"page", 1, 2)]


def test_an_empty_leaf_comes_back() -> None:
    assert decode_leaf(*encode_leaf([])) == []


def test_a_node_comes_back() -> None:
    refs, body = encode_node(CHILDREN)
    assert page_kind(body) == NODE
    assert decode_node(refs, body) == CHILDREN
    assert CHILDREN[1].key == (b"a\0b", b"\xff\xfe")


def test_a_list_comes_back() -> None:
    names, lengths = [NAMES[0], NAMES[1], NAMES[0]], [5, 1 << 20, (1 << 32) - 1]
    refs, body = encode_list(names, lengths)
    assert page_kind(body) == LIST
    assert refs == NAMES[0] + NAMES[1]
    assert decode_list(refs, body) == (names, lengths)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_pages_that_are_cut_off_are_damage(cut: int) -> None:
    for encoded, decode in (
        (encode_leaf([block()]), decode_leaf),
        (encode_node(CHILDREN), decode_node),
        (encode_list(NAMES, [1] * len(NAMES)), decode_list),
    ):
        refs, body = encoded
        with pytest.raises(Damaged):
            decode(refs, body[:-cut])
        with pytest.raises(Damaged):
            decode(refs, body + bytes(cut))


def test_one_kind_of_page_is_no_other() -> None:
    leaf, node, listing = encode_leaf([]), encode_node([]), encode_list([], [])
    for encoded, decode in ((leaf, decode_node), (node, decode_list), (listing, decode_leaf), (node, decode_leaf)):
        with pytest.raises(Damaged):
            decode(*encoded)


def test_a_reference_that_is_not_there_is_damage() -> None:
    """Such a number once gave an empty name, and all uses behind it moved up by one."""
    refs, body = encode_leaf([block()])
    with pytest.raises(Damaged):
        decode_leaf(refs[:-32], body)
    listed, body = encode_list(NAMES, [1] * len(NAMES))
    with pytest.raises(Damaged):
        decode_list(listed[:-32], body)


def test_a_node_has_as_many_references_as_children() -> None:
    refs, body = encode_node(CHILDREN)
    for wrong in (refs[:-32], refs + bytes(32), refs[:-1]):
        with pytest.raises(Damaged):
            decode_node(wrong, body)


def test_names_and_entries_are_as_many() -> None:
    _, body = encode_leaf([block()])
    made = block()
    made.names = made.names.replace(b"\0", b"/", 1)
    assert len(made.names) == len(block().names)
    refs, body = encode_leaf([made])
    with pytest.raises(Damaged):
        decode_leaf(refs, body)


def test_absurd_counts_end_at_once() -> None:
    for kind in (LEAF, NODE, LIST):
        body = struct.pack("<cxxxI", kind, (1 << 32) - 1)
        for decode in (decode_leaf, decode_node, decode_list):
            with pytest.raises(Damaged):
                decode(b"", body)


def test_names_come_back_whether_each_is_used_once_or_again() -> None:
    blocks: list[Block] = []
    for number, uses in enumerate(([0, 1, 2], [3, 4], [4, 0, 5], [6, 5, 6], [7])):
        writer = BlockWriter(bytes([number + 97]), 0)
        for at, use in enumerate(uses):
            writer.add(bytes([at + 97]), row(5), Content.CHUNK, NAMES[use])
        blocks.append(writer.block())
    refs, body = encode_leaf(blocks)
    assert refs == b"".join(NAMES)
    assert all(one.same_as(other) for one, other in zip(decode_leaf(refs, body), blocks, strict=True))
    for cut in (1, 32, 33, 8 * 32):  # a name that is not whole is none
        with pytest.raises(Damaged):
            decode_leaf(refs[:-cut], body)
