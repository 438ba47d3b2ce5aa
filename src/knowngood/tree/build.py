"""Builds a tree from blocks that come in order, with page boundaries that depend on content alone.

Because a boundary depends only on the block before it, a change in one place leaves all other pages as they were:
they keep their names and are not stored again (the idea of prolly trees: Noms, Dolt).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zlib import crc32

from knowngood.core.ids import NAME_BYTES, Name
from knowngood.core.sizes import KIB
from knowngood.tree.block import Block, sizes_of
from knowngood.tree.page import Child, encode_leaf, encode_node

TARGET = 96 * KIB
LIMIT = 4 * TARGET
USES_LIMIT = 1 << 16
NODE_MASK = 127
NODE_LIMIT = 512
BLOCK_FROM = 512
BLOCK_MASK = 511
BLOCK_LIMIT = 4096

PutPage = Callable[[bytes, bytes], Name]


def ends_block(count: int, name: bytes) -> bool:
    """Whether a block of `count` entries that ends with `name` is full: only long directories are ever split."""
    return count >= BLOCK_FROM and (count >= BLOCK_LIMIT or not crc32(name) & BLOCK_MASK)


def fitting(count: int, names: Sequence[bytes]) -> int:
    """How many of these names still go into a block of `count` entries: up to the one that ends it, or all."""
    last = min(len(names), BLOCK_LIMIT - count)
    for at in range(max(0, BLOCK_FROM - count - 1), last):
        if not crc32(names[at]) & BLOCK_MASK:
            return at + 1
    return last


def _ends_page(block: Block, gathered: int, uses: int) -> bool:
    chance = block.size * (1 << 32) // TARGET
    return gathered >= LIMIT or uses >= USES_LIMIT or crc32(block.first, crc32(block.directory)) < chance


def logical_bytes(block: Block) -> int:
    """Sum of the sizes in a block's rows."""
    return sum(sizes_of(block.rows))


class TreeBuilder:
    """Takes blocks in tree order; stores pages through `put`; ends with the root's name."""

    def __init__(self, put: PutPage) -> None:
        self._put = put
        self._blocks: list[Block] = []
        self._gathered = self._uses = 0
        self._levels: list[list[Child]] = []
        self._known: dict[bytes, Child] = {}

    def know(self, child: Child) -> None:
        """Tell of a leaf that an earlier tree has: when all its blocks come again, it is reused unread."""
        self._known[child.page] = child

    def add(self, block: Block) -> bool:
        """Append a block. True when a page ended with it."""
        self._blocks.append(block)
        self._gathered += block.size
        self._uses += len(block.refs) // NAME_BYTES
        if not _ends_page(block, self._gathered, self._uses):
            return False
        self._end_leaf()
        return True

    def takes(self, level: int) -> bool:
        """Whether nothing is pending below this level: a page of it may follow as a whole."""
        return not self._blocks and not any(self._levels[:level])

    def graft(self, child: Child) -> None:
        """Append a page of an earlier tree, with all that is below it, unread.

        Only where the builder `takes` its level; and the page must have ended because of its content, not because its
        tree did: then it is the page that its blocks, one after the other, would make here.
        """
        while len(self._levels) < child.level:
            self._levels.append([])
        self._ascend(child.level, child)

    def finish(self) -> Name:
        """Store what is left and return the root page's name."""
        if self._blocks or not self._levels:
            self._end_leaf()
        level = 0
        while level < len(self._levels) - 1 or len(self._levels[level]) > 1:
            if self._levels[level]:
                self._end_node(level)
            level += 1
        return self._levels[-1][0].page

    def _end_leaf(self) -> None:
        blocks, self._blocks, self._gathered, self._uses = self._blocks, [], 0, 0
        self._ascend(0, self._reused(blocks) or self._leaf(blocks))

    def _reused(self, blocks: list[Block]) -> Child | None:
        origin = blocks[0].origin if blocks else None
        if origin is None or origin[2] != len(blocks):
            return None
        page = origin[0]
        if any(block.origin != (page, index, len(blocks)) for index, block in enumerate(blocks)):
            return None
        return self._known.pop(page, None)

    def _leaf(self, blocks: list[Block]) -> Child:
        page = self._put(*encode_leaf(blocks))
        directory, first = (blocks[0].directory, blocks[0].first) if blocks else (b"", b"")
        entries = sum(block.count for block in blocks)
        return Child(page, 0, directory, first, entries, sum(logical_bytes(block) for block in blocks))

    def _ascend(self, level: int, child: Child) -> None:
        if level == len(self._levels):
            self._levels.append([])
        siblings = self._levels[level]
        siblings.append(child)
        full = len(siblings) >= NODE_LIMIT or not crc32(child.page) & NODE_MASK
        if full and len(siblings) > 1:
            self._end_node(level)

    def _end_node(self, level: int) -> None:
        children, self._levels[level] = self._levels[level], []
        page = self._put(*encode_node(children))
        first = children[0]
        entries, size = sum(child.entries for child in children), sum(child.bytes for child in children)
        self._ascend(level + 1, Child(page, level + 1, first.directory, first.first, entries, size))
