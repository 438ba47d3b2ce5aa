"""A model of a tree of files, the records that its changes make, and trees of it in a vault in memory."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from operator import xor

from knowngood.core.ids import Name
from knowngood.core.log import Form, LogRecord, Operation
from knowngood.core.ports import PageSource
from knowngood.kinds.files.recovery.layout import fetch, holes, pieces
from knowngood.seal.codec import Codec, decode, zstd
from knowngood.testing.memory import MemoryVault
from knowngood.tree.block import ROW, BlockWriter, Content, Entry, Extra
from knowngood.tree.build import TreeBuilder
from knowngood.tree.content import ChunkList, pack_extents
from knowngood.tree.read import TreeReader

FILE, FOLDER, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777


@dataclass(eq=False)
class Node:
    """One file, directory or symlink of the model."""

    mode: int
    inode: int
    data: bytes = b""
    links: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 1
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    flags: int = 0
    rdev: int = 0

    @property
    def row(self) -> bytes:
        size = 0 if stat.S_ISDIR(self.mode) else len(self.data)
        head = (self.mode, self.uid, self.gid, self.links, size)
        return ROW.pack(*head, self.mtime, self.mtime + 1, self.inode)

    def shown(self) -> tuple:
        """All that must come back."""
        rest = (tuple(sorted(self.xattrs.items())), self.flags, self.rdev)
        return (self.mode, self.uid, self.gid, self.links, self.mtime, self.inode, *rest, self.data)


class Model:
    """What a tree of files should be. Every method does one change, and returns the record of it."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, Node] = {b"": Node(FOLDER, 1)}
        self._inodes = count(2)
        self._moments = count(10)
        self.sequence = 0

    def record(self, operation: Operation, path: bytes, node: Node | None, **rest) -> LogRecord:
        row = node.row if node and rest.pop("row", True) else b""
        rest.pop("row", None)
        self.sequence += 1
        return LogRecord(
            sequence=self.sequence - 1, time_ns=next(self._moments), operation=operation, path=path, row=row, **rest
        )

    def paths(self, *kinds: int) -> list[bytes]:
        """Paths of these types, the root's with the directories."""
        return sorted(path for path, node in self.nodes.items() if stat.S_IFMT(node.mode) in kinds)

    def below(self, path: bytes) -> list[bytes]:
        return [each for each in self.nodes if each.startswith(path + b"\0")]

    def create(self, path: bytes, mode: int, data: bytes = b"", rdev: int = 0) -> LogRecord:
        node = Node(mode, next(self._inodes), data, 0 if stat.S_ISDIR(mode) else 1, mtime=self.sequence, rdev=rdev)
        self.nodes[path] = node
        form = Form.BYTES if data else Form.NONE
        return self.record(Operation.CREATE, path, node, form=form, data=data, length=len(data), value=rdev)

    def write(
        self, path: bytes, offset: int, data: bytes, form: Form, vault: MemoryVault | None = None, *, row: bool = True
    ) -> LogRecord:
        node = self.nodes[path]
        end = offset + len(data)
        before = node.data.ljust(end, b"\0")[offset:end]
        body = data
        if form == Form.ZEROS:
            data, body = bytes(len(data)), b""
        elif form == Form.DELTA:
            body = delta(before, data)
        elif form == Form.CHUNK:
            assert vault is not None
            body = vault.namer.chunk(data)
            vault.chunks[Name(body)] = data
        if data:
            node.data = node.data.ljust(offset, b"\0")[:offset] + data + node.data[end:]
        node.mtime += row
        rest = {"offset": offset, "length": len(data), "form": form, "data": bytes(body), "row": row}
        return self.record(Operation.WRITE, path, node, **rest)

    def truncate(self, path: bytes, length: int, *, row: bool = True) -> LogRecord:
        node = self.nodes[path]
        node.data = node.data[:length].ljust(length, b"\0")
        node.mtime += row
        return self.record(Operation.TRUNCATE, path, node, length=length, row=row)

    def link(self, path: bytes, second: bytes) -> LogRecord:
        node = self.nodes[path] = self.nodes[second]
        node.links += 1
        return self.record(Operation.LINK, path, node, second=second)

    def unlink(self, path: bytes, *, row: bool = True) -> LogRecord:
        node = self.nodes.pop(path)
        node.links = max(0, node.links - 1)
        return self.record(Operation.UNLINK, path, node, row=row)

    def rename(self, path: bytes, second: bytes, *, exchange: bool = False, row: bool = True) -> LogRecord:
        node, other = self.nodes[path], self.nodes.get(second)
        if node is not other:
            if other and not exchange:
                other.links = max(0, other.links - 1)
                del self.nodes[second]
            moved = {second + each[len(path) :]: self.nodes.pop(each) for each in [path, *self.below(path)]}
            if exchange:
                back = {path + each[len(second) :]: self.nodes.pop(each) for each in [second, *self.below(second)]}
                self.nodes |= back
            self.nodes |= moved
        return self.record(Operation.RENAME, path, node, second=second, value=int(exchange), row=row)

    def attributes(self, path: bytes, number: int) -> LogRecord:
        node = self.nodes[path]
        match number % 3:
            case 0:
                node.mode = stat.S_IFMT(node.mode) | (number % 0o777)
                return self.record(Operation.MODE, path, node)
            case 1:
                node.uid, node.gid = number, number + 1
                return self.record(Operation.OWNER, path, node)
            case _:
                node.mtime = number
                return self.record(Operation.TIMES, path, node)

    def xattr(self, path: bytes, name: bytes, value: bytes | None) -> LogRecord:
        node = self.nodes[path]
        if value is None:
            del node.xattrs[name]
            return self.record(Operation.XATTR, path, node, second=name, row=False)
        node.xattrs[name] = value
        rest = {"second": name, "form": Form.BYTES, "data": value, "length": len(value), "row": False}
        return self.record(Operation.XATTR, path, node, **rest)

    def flags(self, path: bytes, value: int) -> LogRecord:
        self.nodes[path].flags = value
        return self.record(Operation.FLAGS, path, self.nodes[path], value=value)

    def mark(self, identifier: bytes) -> LogRecord:
        return self.record(Operation.MARK, b"", None, second=identifier)

    def shown(self) -> dict[bytes, tuple]:
        """Everything by path, and which paths are one file."""
        firsts: dict[Node, bytes] = {}
        return {
            path: (*self.nodes[path].shown(), firsts.setdefault(self.nodes[path], path)) for path in sorted(self.nodes)
        }


def delta(before: bytes, after: bytes) -> bytes:
    """zstd of the XOR."""
    return zstd.compress(bytes(map(xor, before, after)))


def expand(data: bytes, length: int) -> bytes:
    """What the seal gives to replay."""
    return decode(Codec.ZSTD, data, length)


def land(model: Model, vault: MemoryVault, *, piece: int = 100, hole: int = 64) -> Name:
    """A tree of the model, its contents in chunks of `piece` bytes, and with holes where `hole` zeros are aligned."""

    def put(refs: bytes, body: bytes) -> Name:
        name = vault.namer.page(refs, body)
        vault.pages[name] = (refs, body)
        return name

    builder = TreeBuilder(put)
    writer: BlockWriter | None = None
    for entry in sorted(_entries(model), key=lambda each: (each.directory, each.name)):
        entry_extents = _holes(entry.inline, hole) if entry.is_file and entry.size > 2 * hole else []
        if writer is None or writer.directory != entry.directory:
            if writer:
                builder.add(writer.block())
            writer = BlockWriter(entry.directory, 0)
        content, refs, inline, extra = entry.content, b"", entry.inline, entry.extra
        if entry.is_file and len(inline) > 8:
            chunks = ChunkList(put)
            for offset, length in entry_extents or [(0, entry.size)]:
                for at in range(offset, offset + length, piece):
                    data = inline[at : min(at + piece, offset + length)]
                    name = vault.namer.chunk(data)
                    vault.chunks[Name(name)] = data
                    chunks.add(name, len(data))
            content, refs, lengths = chunks.finish()
            inline = b""
            extra = Extra(lengths, pack_extents(entry_extents), extra.xattrs, extra.flags)
        writer.add(entry.name, entry.row, content, refs, inline, extra)
    if writer:
        builder.add(writer.block())
    return builder.finish()


def _entries(model: Model) -> Iterator[Entry]:
    for path, node in model.nodes.items():
        directory, _, name = path.rpartition(b"\0")
        extra = Extra(xattrs=tuple(sorted(node.xattrs.items())), flags=node.flags, rdev=node.rdev)
        content = int(Content.INLINE if node.data else Content.NONE)
        yield Entry.of(directory, name or b".", node.row, 0, content, inline=node.data, extra=extra)


def _holes(data: bytes, hole: int) -> list[tuple[int, int]]:
    """Extents of content in which aligned zeros are holes; none when there is no hole."""
    found: list[tuple[int, int]] = []
    for at in range(0, len(data), hole):
        part = data[at : at + hole]
        if any(part):
            if found and sum(found[-1]) == at:
                found[-1] = (found[-1][0], found[-1][1] + len(part))
            else:
                found.append((at, len(part)))
    return [] if found == [(0, len(data))] else found or [(0, 0)]


def content(entry: Entry, reader: TreeReader, pages: PageSource) -> bytes:
    """The bytes of a file, read as recovery reads them."""
    data = bytearray(entry.size)
    for piece in pieces(entry, reader):
        chunk = bytes(fetch(piece, entry, pages))
        assert 0 < len(chunk) <= 4 << 20
        for offset, start, stop in piece[2]:
            data[offset : offset + stop - start] = chunk[start:stop]
    assert not any(any(data[offset : offset + length]) for offset, length in holes(entry))
    return bytes(data)


def read(root: Name, pages: PageSource) -> dict[bytes, tuple]:
    """What a tree has, as the model shows it."""
    reader = TreeReader(root, pages.page)
    found: dict[bytes, tuple] = {}
    firsts: dict[object, bytes] = {}
    places: list[tuple[bytes, bytes]] = []
    for entry in reader.entries():
        places.append((entry.directory, entry.name))
        data = content(entry, reader, pages) if entry.is_file else entry.inline
        one: object = (entry.inode, "file") if entry.is_file and entry.links > 1 else entry.key
        head = (entry.mode, entry.uid, entry.gid, entry.links, entry.mtime_ns, entry.inode)
        rest = (entry.extra.xattrs, entry.extra.flags, entry.extra.rdev, data)
        found[entry.key] = (*head, *rest, one)
        firsts[one] = min(entry.key, firsts.get(one, entry.key))
    assert places == sorted(set(places))
    return {key: (*shown, firsts[one]) for key, (*shown, one) in sorted(found.items())}
