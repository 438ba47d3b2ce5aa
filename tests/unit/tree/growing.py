"""Trees for tests: a place for pages, and entries made from little."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from knowngood.core.ids import Name
from knowngood.seal.names import Namer
from knowngood.tree.block import ROW, Block, BlockWriter, Content, Extra
from knowngood.tree.build import TreeBuilder, ends_block
from knowngood.tree.read import TreeReader

NAMER = Namer.from_secret(bytes(32))
FILE = 0o100644


class Pages:
    """Pages in memory; tells which were put and which were read."""

    def __init__(self) -> None:
        self.kept: dict[bytes, tuple[bytes, bytes]] = {}
        self.read: list[bytes] = []

    def put(self, refs: bytes, body: bytes) -> Name:
        name = NAMER.page(refs, body)
        self.kept[name] = (refs, body)
        return name

    def get(self, name: bytes) -> tuple[bytes, bytes]:
        self.read.append(name)
        return self.kept[name]

    def reader(self, root: Name) -> TreeReader:
        self.read.clear()
        return TreeReader(root, self.get)


def row(size: int = 0, *, mode: int = FILE, mtime: int = 1) -> bytes:
    return ROW.pack(mode, 0, 0, 1, size, mtime, 2, 3)


def chunk_name(content: bytes) -> bytes:
    return NAMER.chunk(content)


def blocks_of(directory: bytes, files: Mapping[bytes, bytes]) -> Iterable[Block]:
    """The blocks of one directory: each file is one chunk, and empty ones are none."""
    writer = BlockWriter(directory, 0)
    for name in sorted(files):
        content = files[name]
        if content:
            writer.add(name, row(len(content)), Content.CHUNK, chunk_name(content))
        else:
            writer.add(name, row(), Content.NONE)
        if ends_block(len(writer), name) or writer.full:
            yield writer.block()
            writer = BlockWriter(directory, 0)
    if len(writer):
        yield writer.block()


def build(pages: Pages, tree: Mapping[bytes, Mapping[bytes, bytes]]) -> Name:
    """Directory key → name → content, as a tree; its root."""
    builder = TreeBuilder(pages.put)
    for directory in sorted(tree):
        for block in blocks_of(directory, tree[directory]):
            builder.add(block)
    return builder.finish()


def heavy(count: int) -> Extra:
    """The extra of a file of `count` chunks."""
    return Extra(lengths=(1 << 20,) * count)
