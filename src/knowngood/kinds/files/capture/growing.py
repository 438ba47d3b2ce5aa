"""The tree as it grows: its pages go to the sink and are remembered, and now and then it is noted how far it came.

Noting means: all content so far is made durable, then the finished leaves, the entries after them and the file in the
middle are committed to the basis. An interrupted capture continues from there.
"""

from __future__ import annotations

import time

from knowngood.core.ids import Name
from knowngood.core.ports import ChunkSink
from knowngood.kinds.files.capture.basis import Basis, Partial, Place
from knowngood.kinds.files.capture.remembered import names_of
from knowngood.kinds.files.limits import Limits
from knowngood.tree.block import Block, BlockWriter, Content
from knowngood.tree.build import TreeBuilder
from knowngood.tree.page import LEAF, Child, decode_leaf, encode_leaf, page_kind


class GrowingTree:
    """Takes blocks in tree order, as a TreeBuilder does, and remembers."""

    def __init__(self, sink: ChunkSink, basis: Basis, limits: Limits) -> None:
        self.open: BlockWriter | None = None  # the block that is being gathered
        self._sink = sink
        self._basis = basis
        self._limits = limits
        self._builder = TreeBuilder(self.put)
        self._blocks: list[Block] = []  # since the last whole leaf
        self._leaves: list[bytes] = []  # since the last note
        self._leaf = b""
        self._lists = False  # whether a block since the last whole leaf refers to list pages
        self._upto: Place = (b"", b"")
        self._bytes = 0
        self._noted = time.monotonic()

    def know(self, child: Child) -> None:
        """Tell of a leaf that is in the vault, so that it need not be made again."""
        self._builder.know(child)

    def put(self, refs: bytes, body: bytes) -> Name:
        """Give a page to the sink and remember it."""
        name = put_page(self._sink, self._basis, refs, body, lists=self._lists)
        if page_kind(body) == LEAF:
            self._leaf = name
        return name

    def add(self, block: Block) -> None:
        """Append a block."""
        self._blocks.append(block)
        if Content.LIST in block.contents:
            self._lists = True
        self._leaf = b""
        if self._builder.add(block):
            self._end_leaf()
        if self.due:
            self.note()

    def _end_leaf(self) -> None:
        last = self._blocks[-1]
        reused = last.origin[0] if last.origin else b""
        self._leaves.append(self._leaf or reused)
        self._upto = _last_place(last)
        self._blocks, self._lists = [], False

    def finish(self) -> Name:
        """Store what is left, remember the whole tree; return its root."""
        root = self._builder.finish()
        self._basis.finish(root)
        return root

    # ---------------------------------------------------------------------------------------------- how far it came

    def landed(self, count: int) -> None:
        """So many bytes of content went to the sink."""
        self._bytes += count

    @property
    def due(self) -> bool:
        """Whether enough went by since the last note. What holds nothing new is not worth one."""
        if not self._bytes:
            return False
        if self._bytes >= self._limits.record_bytes:
            return True
        return time.monotonic() - self._noted >= self._limits.record_seconds

    def note(self, partial: Partial | None = None) -> None:
        """Make all content durable and commit how far the capture came."""
        self._sink.flush()
        unfinished = [self.open.block()] if self.open and len(self.open) else []
        blocks = [*self._blocks, *unfinished]
        upto = _last_place(blocks[-1]) if blocks else self._upto
        self._basis.record(self._leaves, upto, encode_leaf(blocks) if blocks else None, partial)
        self._leaves = []
        self._bytes, self._noted = 0, time.monotonic()


def put_page(sink: ChunkSink, basis: Basis, refs: bytes, body: bytes, *, lists: bool = True) -> Name:
    """Give a page to the sink and remember it. A leaf whose entries refer to no list pages need not be asked."""
    name = sink.page(refs, body)
    leaf = lists and page_kind(body) == LEAF
    basis.pages.keep(name, refs, body, _list_pages(refs, body) if leaf else b"")
    return name


def _list_pages(refs: bytes, body: bytes) -> bytes:
    """Names of the list pages that a leaf refers to."""
    blocks = (block for block in decode_leaf(refs, body) if Content.LIST in block.contents)
    entries = (entry for block in blocks for entry in block.entries())
    uses = b"".join(entry.refs for entry in entries if entry.content == Content.LIST)
    return b"".join(dict.fromkeys(names_of(uses)))


def _last_place(block: Block) -> Place:
    return block.directory, block.names.rpartition(b"\0")[2]
