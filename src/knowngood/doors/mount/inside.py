"""The trees themselves: directories, files, symlinks and what they carry, read when somebody asks."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Sequence

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged
from knowngood.core.lru import Lru
from knowngood.core.ports import PageSource
from knowngood.core.sizes import MIB
from knowngood.doors.mount.attributes import FILE_TYPE, LONG_NS, TRUSTED, of_entry, of_root
from knowngood.doors.mount.nodes import Nodes, Opened, number_of
from knowngood.doors.mount.shelf import Shelf
from knowngood.tree.block import Entry
from knowngood.tree.ranges import FileMap, list_cache
from knowngood.wire.fuse import replies
from knowngood.wire.fuse.bodies import Control, GetXattr, ListXattr, Named, Read, Seek
from knowngood.wire.fuse.opcodes import Opcode, OpenFlag
from knowngood.wire.fuse.requests import Request

MAX_READ = MIB
"""Most bytes of one READ."""

_CACHED_MAPS = 1 << 19  # chunks and extents of files that are being read: about 24 MiB
_PARTS = 512  # of a reply: writev(2) takes 1024
_GETFLAGS = 0x80086601  # FS_IOC_GETFLAGS
_ZEROS = memoryview(bytes(MAX_READ))
_DOTS = (b".", b"..")


class Inside:
    """Answers for what lies in trees. Safe to use from many threads."""

    def __init__(self, shelf: Shelf, nodes: Nodes) -> None:
        self._shelf = shelf
        self._nodes = nodes
        self._maps: Lru[int, FileMap] = Lru(_CACHED_MAPS)
        self._lists = list_cache()

    def entry(self, node: int) -> tuple[Opened, Entry]:
        """What a node is. Raises KeyError, NotFound, Damaged."""
        opened = self._nodes.opened(node)
        number = number_of(node)
        return opened, of_root(opened) if number is None else opened.tree.at(number)

    def lookup(self, request: Request, body: Named) -> bytes:
        """A name in a directory; that there is none will never change either."""
        opened, above = self.entry(request.node)
        found = opened.tree.find(above.key, body.name)
        if found is None or body.name in _DOTS:
            return replies.no_entry(LONG_NS)
        number, entry = found
        self._nodes.count(opened, 1)
        return replies.entry(opened.node(number), of_entry(entry, opened), LONG_NS, LONG_NS)

    def attributes(self, request: Request) -> bytes:
        """What stat(2) shows."""
        opened, entry = self.entry(request.node)
        return replies.attributes_reply(of_entry(entry, opened), LONG_NS)

    def open_directory(self) -> bytes:
        """Nothing has to be kept: every part of a listing finds its place by itself, and the kernel may keep it."""
        return replies.opened(0, OpenFlag.KEEP_CACHE | OpenFlag.CACHE_DIR)

    def read_directory(self, request: Request, body: Read) -> list[bytes]:
        """A part of a directory. Offsets are places in it, after `.` and `..`."""
        opened, above = self.entry(request.node)
        plus = request.opcode == Opcode.READDIRPLUS
        gathered = replies.Directory(body.size)
        own = opened.inode(above.inode, above.file_system)
        for place in range(body.offset, len(_DOTS)):
            unknown = gathered.unknown() if plus else None
            if not gathered.add(_DOTS[place], own, stat.S_IFDIR, place + 1, unknown):
                return gathered.parts
        first = opened.tree.first(above.key) - len(_DOTS)
        told = 0
        for number, entry in opened.tree.listing(above.key, first + max(body.offset, len(_DOTS))):
            if b"/" in entry.name or entry.name in (b"", *_DOTS):
                continue  # no system makes such names, and the kernel would refuse the whole listing
            inode = opened.inode(entry.inode, entry.file_system)
            known = None
            if plus:
                known = replies.entry(opened.node(number), of_entry(entry, opened), LONG_NS, LONG_NS)
            if not gathered.add(entry.name, inode, entry.mode & FILE_TYPE, number - first + 1, known):
                break
            told += plus
        self._nodes.count(opened, told)
        return gathered.parts

    # ------------------------------------------------------------------------------------------------------ content

    def read(self, request: Request, body: Read) -> Sequence[Buffer]:
        """A part of a file. The chunks that it needs are opened whole, and stay at hand for the next part."""
        return self._content(request.node, body.offset, min(body.size, MAX_READ))

    def read_link(self, request: Request) -> Sequence[Buffer]:
        """Where a symlink leads to."""
        _, entry = self.entry(request.node)
        if not stat.S_ISLNK(entry.mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return self._content(request.node, 0, entry.size)

    def seek(self, request: Request, body: Seek) -> bytes:
        """Where data or a hole begins."""
        found = self._map(request.node).seek(body.offset, hole=body.whence == os.SEEK_HOLE)
        if found is None:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return replies.position(found)

    def _map(self, node: int) -> FileMap:
        found = self._maps.get(node)
        if found is None:
            _, entry = self.entry(node)
            # By way of the node: a map that is kept for long must not keep a moment's pages from going with its tree.
            found = FileMap(entry, lambda name: self._source(node).page(name), self._lists)
            self._maps.put(node, found, found.weight)
        return found

    def _source(self, node: int) -> PageSource:
        return self._nodes.opened(node).moment.pages or self._shelf

    def _content(self, node: int, offset: int, size: int) -> Sequence[Buffer]:
        file, source = self._map(node), self._source(node)
        parts: list[Buffer] = []
        for chunk, start, stop, length in file.pieces(offset, size):
            if chunk is None:
                parts.append(_ZEROS[: stop - start])
                continue
            data = memoryview(source.chunk(chunk) if chunk else file.inline or b"")
            if len(data) != length:
                raise Damaged(f"chunk {chunk.hex()[:16]} is not as long as it should be")
            parts.append(data[start:stop])
        return parts if len(parts) <= _PARTS else [b"".join(parts)]

    # ------------------------------------------------------------------------------------------------- what it carries

    def get_xattr(self, request: Request, body: GetXattr) -> bytes:
        """An extended attribute; ACLs and capabilities are such, too."""
        _, entry = self.entry(request.node)
        for name, value in entry.extra.xattrs:
            if name == body.name:
                return _sized(value, body.size)
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))

    def list_xattrs(self, request: Request, body: ListXattr) -> bytes:
        """Their names. Those for root are shown to root only, as everywhere."""
        _, entry = self.entry(request.node)
        names = [name for name, _ in entry.extra.xattrs if not request.uid or not name.startswith(TRUSTED)]
        return _sized(b"".join(name + b"\0" for name in names), body.size)

    def control(self, request: Request, body: Control) -> bytes:
        """The file flags, which lsattr(1) shows."""
        if body.command != _GETFLAGS or body.out_size < 4:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        _, entry = self.entry(request.node)
        return replies.control(0, entry.extra.flags.to_bytes(4, sys.byteorder))


def _sized(value: bytes, size: int) -> bytes:
    """A value, or its length when that was asked for."""
    if not size:
        return replies.length(len(value))
    if len(value) > size:
        raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
    return value
