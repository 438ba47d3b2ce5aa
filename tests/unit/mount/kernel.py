"""The kernel's side of a mounted file system, without a kernel: messages in, replies taken apart."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from knowngood.doors.mount.filesystem import FileSystem
from knowngood.doors.mount.shelf import Shelf
from knowngood.wire.fuse.opcodes import ROOT_NODE, Opcode
from knowngood.wire.fuse.requests import HEADER, parse

_Result = TypeVar("_Result")
_ENTRY = struct.Struct("=QQQQII")
_ATTRIBUTES = struct.Struct("=QQQqqqIIIIIIIIII")
_DIRENT = struct.Struct("=QQII")


class Stat(NamedTuple):
    """struct fuse_attr."""

    inode: int
    size: int
    blocks: int
    atime: int
    mtime: int
    ctime: int
    atime_nanos: int
    mtime_nanos: int
    ctime_nanos: int
    mode: int
    links: int
    uid: int
    gid: int
    rdev: int
    block_bytes: int
    flags: int


class Found(NamedTuple):
    """What a lookup answered. Seconds."""

    node: int
    entry_valid: int
    stat: Stat


class Listed(NamedTuple):
    """One entry of a directory; `node` is 0 when it has to be looked up."""

    name: bytes
    inode: int
    kind: int
    after: int
    node: int


class Kernel:
    """Asks a file system, and keeps count of the lookups that it has to give back."""

    def __init__(self, files: FileSystem, uid: int = 0) -> None:
        self.files = files
        self.uid = uid
        self.lookups: dict[int, int] = {}

    def ask(self, opcode: int, node: int, body: bytes = b"") -> bytes:
        """The body of the reply. Raises OSError."""
        message = HEADER.pack(HEADER.size + len(body), opcode, 99, node, self.uid, 0, 1, 0, 0) + body
        answer = b"".join(self.files.handle(parse(memoryview(message))))
        length, error, unique = struct.unpack_from("=IiQ", answer)
        assert (length, error, unique) == (len(answer), 0, 99)
        return answer[16:]

    def look(self, *names: bytes, node: int = ROOT_NODE) -> Found:
        """Look up one name after the other. Raises FileNotFoundError."""
        for name in names:
            answer = self.ask(Opcode.LOOKUP, node, name + b"\0")
            node, _, entry_valid, *_ = _ENTRY.unpack_from(answer)
            if not node:
                raise FileNotFoundError(errno.ENOENT, name)
            self.lookups[node] = self.lookups.get(node, 0) + 1
            found = Found(node, entry_valid, Stat(*_ATTRIBUTES.unpack_from(answer, _ENTRY.size)))
        return found

    def has(self, *names: bytes) -> bool:
        """Whether a name is there."""
        try:
            return bool(self.look(*names))
        except FileNotFoundError:
            return False

    def stat(self, node: int) -> Stat:
        """GETATTR."""
        return Stat(*_ATTRIBUTES.unpack_from(self.ask(Opcode.GETATTR, node, bytes(16)), 16))

    def list(self, node: int, *, size: int = 4096, plus: bool = False) -> list[Listed]:
        """A whole directory, in parts of so many bytes."""
        (handle,) = struct.unpack_from("=Q", self.ask(Opcode.OPENDIR, node, bytes(8)))
        opcode = Opcode.READDIRPLUS if plus else Opcode.READDIR
        listed: list[Listed] = []
        offset = 0
        while part := self.ask(opcode, node, struct.pack("=QQIIQII", handle, offset, size, 0, 0, 0, 0)):
            assert len(part) <= size
            listed += self._entries(part, plus=plus)
            offset = listed[-1].after
        self.ask(Opcode.RELEASEDIR, node, struct.pack("=QIIQ", handle, 0, 0, 0))
        return listed

    def _entries(self, part: bytes, *, plus: bool) -> list[Listed]:
        listed: list[Listed] = []
        at = 0
        while at < len(part):
            node = 0
            if plus:
                (node,) = struct.unpack_from("=Q", part, at)
                at += _ENTRY.size + _ATTRIBUTES.size
            inode, after, length, kind = _DIRENT.unpack_from(part, at)
            at += _DIRENT.size
            listed.append(Listed(part[at : at + length], inode, kind << 12, after, node))
            at += length + -(_DIRENT.size + length) % 8
            if node:
                self.lookups[node] = self.lookups.get(node, 0) + 1
        return listed

    def read(self, node: int, offset: int = 0, size: int = 1 << 20) -> bytes:
        """A part of a file."""
        return self.ask(Opcode.READ, node, struct.pack("=QQIIQII", 0, offset, size, 0, 0, 0, 0))

    def forget_all(self) -> None:
        """Give everything back: half one by one, half at once."""
        nodes = list(self.lookups.items())
        self.lookups.clear()
        for node, count in nodes[::2]:
            self.ask(Opcode.FORGET, node, struct.pack("=Q", count))
        rest = nodes[1::2]
        body = b"".join(struct.pack("=QQ", *each) for each in rest)
        self.ask(Opcode.BATCH_FORGET, 0, struct.pack("=II", len(rest), 0) + body)


def fails(number: int, act: Callable[[], Any]) -> bool:
    """Whether something is refused with this error."""
    try:
        act()
    except OSError as wrong:
        assert wrong.errno == number, os.strerror(wrong.errno or 0)
        return True
    return False


def beside(shelf: Shelf, act: Callable[[], _Result]) -> _Result:
    """Do something in another thread, while this one, which owns the shelf, answers it."""
    with ThreadPoolExecutor(1) as crew:
        future = crew.submit(act)
        future.add_done_callback(lambda _: shelf.stop())
        shelf.run()
        return future.result()
