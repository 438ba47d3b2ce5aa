"""Pages: the bytes of leaves (blocks of entries), nodes (child pages) and lists (chunks of a huge file).

A page's references are kept apart from its body, in the plain part of its frame: collection, checking and copying
follow them without a key. The body says which reference belongs where, by number.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain

from knowngood.core.errors import Damaged
from knowngood.core.ids import NAME_BYTES, Name
from knowngood.tree.block import Block

LEAF, NODE, LIST = b"L", b"N", b"C"
_PAGE_HEAD = struct.Struct("<cxxxI")
_BLOCK_HEAD = struct.Struct("<IIIIIII")
_CHILD = struct.Struct("<BxxxIIQQ")
_NUMBER = struct.Struct("<I")
_NAME = struct.Struct(f"{NAME_BYTES}s")
_RUN_LIMIT = 1 << 16  # references of a block that are found at once


@dataclass(frozen=True, slots=True)
class Child:
    """What a node knows of a page below it: where it begins and how much it holds."""

    page: Name
    level: int  # 0 for a leaf
    directory: bytes
    first: bytes
    entries: int
    bytes: int

    @property
    def key(self) -> tuple[bytes, bytes]:
        """Where it begins, in tree order."""
        return self.directory, self.first


def page_kind(body: bytes) -> bytes:
    """LEAF, NODE or LIST."""
    return body[:1]


def _little(numbers: array[int]) -> array[int]:
    """The same numbers for a page, or from one: in a page they are little-endian."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _one_by_one(names: bytes) -> list[bytes]:
    return list(chain.from_iterable(_NAME.iter_unpack(names)))


def _number(uses: bytes, table: dict[bytes, int]) -> bytes:
    names = _one_by_one(uses)
    fresh = dict.fromkeys(names)
    if len(fresh) == len(names) and table.keys().isdisjoint(fresh):  # as nearly always: then without a look-up for each
        numbers = range(len(table), len(table) + len(names))
        table.update(zip(names, numbers, strict=True))
        return _little(array("I", numbers)).tobytes()
    return _little(array("I", [table.setdefault(name, len(table)) for name in names])).tobytes()


def encode_leaf(blocks: Sequence[Block]) -> tuple[bytes, bytes]:
    """Blocks → (references, body)."""
    table: dict[bytes, int] = {}
    parts = [_PAGE_HEAD.pack(LEAF, len(blocks))]
    for block in blocks:
        numbers = _number(block.refs, table)
        parts += (
            _BLOCK_HEAD.pack(
                block.file_system,
                len(block.directory),
                block.count,
                len(block.names),
                len(numbers),
                len(block.inline),
                len(block.extras),
            ),
            block.directory,
            block.names,
            block.rows,
            block.contents,
            numbers,
            block.inline,
            block.extras,
        )
    return b"".join(table), b"".join(parts)


@cache
def _ascending() -> bytes:
    """Numbers from 0 on, as a page has them."""
    return _little(array("I", range(_RUN_LIMIT))).tobytes()


class _Uses:
    """Names of references by their numbers. Most blocks use each once, in their order: then it is a copy."""

    def __init__(self, refs: bytes) -> None:
        self._refs = refs
        self._names: list[bytes] | None = None

    def of(self, numbers: bytes) -> bytes:
        """The names, laid end to end. Raises Damaged."""
        if len(numbers) % _NUMBER.size:
            raise Damaged("a page is cut off")
        first = _NUMBER.unpack_from(numbers)[0] if numbers else 0
        start, end = NAME_BYTES * first, NAME_BYTES * (first + len(numbers) // _NUMBER.size)
        if end <= len(self._refs) and _ascending().startswith(numbers, _NUMBER.size * first):
            return self._refs[start:end]
        if self._names is None:
            self._names = _one_by_one(self._refs[: len(self._refs) // NAME_BYTES * NAME_BYTES])
        try:
            return b"".join(map(self._names.__getitem__, _little(array("I", numbers))))
        except IndexError:
            raise Damaged("a page refers to a name it does not have") from None


def decode_leaf(refs: bytes, body: bytes, page: bytes = b"") -> list[Block]:
    """(references, body) → blocks. Raises Damaged."""
    table = _Uses(refs)
    try:
        kind, count = _PAGE_HEAD.unpack_from(body)
        blocks: list[Block] = []
        at = _PAGE_HEAD.size
        for index in range(count):
            file_system, *lengths = _BLOCK_HEAD.unpack_from(body, at)
            at += _BLOCK_HEAD.size
            in_directory, entries, in_names, in_numbers, in_inline, in_extras = lengths
            columns: list[bytes] = []
            for length in (in_directory, in_names, 48 * entries, entries, in_numbers, in_inline, in_extras):
                columns.append(body[at : at + length])
                at += length
            directory, names, rows, contents, numbers, inline, extras = columns
            uses = table.of(numbers)
            if names.count(b"\0") + 1 != entries:
                raise Damaged("a page names more or fewer entries than it has")
            origin = (page, index, count) if page else None
            blocks.append(Block(directory, file_system, names, rows, contents, uses, inline, extras, origin))
    except struct.error:
        raise Damaged("a page is cut off") from None
    if kind != LEAF or at != len(body):
        raise Damaged("a page is not the leaf it should be")
    return blocks


def encode_node(children: Sequence[Child]) -> tuple[bytes, bytes]:
    """Children → (references, body). The same page is never below one node twice."""
    parts = [_PAGE_HEAD.pack(NODE, len(children))]
    for child in children:
        head = _CHILD.pack(child.level, len(child.directory), len(child.first), child.entries, child.bytes)
        parts += (head, child.directory, child.first)
    return b"".join(child.page for child in children), b"".join(parts)


def decode_node(refs: bytes, body: bytes) -> list[Child]:
    """(references, body) → children. Raises Damaged."""
    try:
        kind, count = _PAGE_HEAD.unpack_from(body)
        children: list[Child] = []
        at = _PAGE_HEAD.size
        for index in range(count):
            level, in_directory, in_first, entries, size = _CHILD.unpack_from(body, at)
            at += _CHILD.size
            directory, first = body[at : at + in_directory], body[at + in_directory : at + in_directory + in_first]
            at += in_directory + in_first
            name = Name(refs[NAME_BYTES * index : NAME_BYTES * (index + 1)])
            children.append(Child(name, level, directory, first, entries, size))
    except struct.error:
        raise Damaged("a page is cut off") from None
    if kind != NODE or at != len(body) or len(refs) != NAME_BYTES * count:
        raise Damaged("a page is not the node it should be")
    return children


def encode_list(names: Sequence[bytes], lengths: Sequence[int]) -> tuple[bytes, bytes]:
    """Chunks of a huge file, in order → (references, body)."""
    table: dict[bytes, int] = {}
    numbers = _little(array("I", [table.setdefault(name, len(table)) for name in names]))
    sizes = _little(array("I", lengths))
    return b"".join(table), _PAGE_HEAD.pack(LIST, len(names)) + numbers.tobytes() + sizes.tobytes()


def decode_list(refs: bytes, body: bytes) -> tuple[list[bytes], list[int]]:
    """(references, body) → names and lengths of the chunks. Raises Damaged."""
    if len(body) < _PAGE_HEAD.size:
        raise Damaged("a page is cut off")
    kind, count = _PAGE_HEAD.unpack_from(body)
    middle = _PAGE_HEAD.size + 4 * count
    if kind != LIST or len(body) != middle + 4 * count:
        raise Damaged("a page is not the list it should be")
    uses = _Uses(refs).of(body[_PAGE_HEAD.size : middle])
    return _one_by_one(uses), list(_little(array("I", body[middle:])))
