"""Requests: the bytes of one message of the kernel → a header, and what is asked for as a small typed struct."""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from knowngood.core.errors import KnowngoodError
from knowngood.wire.fuse.bodies import (
    Access,
    Allocate,
    BatchForget,
    BlockMap,
    Body,
    Control,
    CopyRange,
    Create,
    Flush,
    Forget,
    GetAttr,
    GetXattr,
    Init,
    Interrupt,
    Link,
    ListXattr,
    Lock,
    MakeDirectory,
    MakeNode,
    Named,
    Nothing,
    Open,
    Poll,
    Raw,
    Read,
    Release,
    Rename,
    Seek,
    SetAttr,
    SetXattr,
    StatX,
    Symlink,
    Sync,
    Write,
)
from knowngood.wire.fuse.opcodes import InitFlag, Opcode

HEADER = struct.Struct("=IIQQIIIHH")
"""struct fuse_in_header: length, opcode, unique, node, uid, gid, pid, length of extensions in 8 bytes, padding."""

NAME_LIMIT = 4096
"""Bytes of a name, a target or the name of an attribute (PATH_MAX)."""


class Malformed(KnowngoodError):
    """A message that no kernel sends. `unique` is the request that can be answered with an error; 0 when unknown."""

    def __init__(self, message: str, unique: int = 0) -> None:
        super().__init__(message)
        self.unique = unique


class Request(Struct, frozen=True, gc=False):
    """One request: who asks for what about which node. `unique` goes back with the reply."""

    opcode: int
    unique: int
    node: int
    uid: int
    gid: int
    pid: int
    body: Body
    extensions: bytes = b""


# ------------------------------------------------------------------------------------------------- how it is laid


class Tail(Enum):
    """What follows the fields of fixed length."""

    NOTHING = 0
    NAME = 1  # ends with NUL
    TWO_NAMES = 2
    DATA = 3
    VIEW = 4  # data that is not copied


class Layout(Struct, frozen=True):
    """How the body of a request is laid out."""

    body: Callable[..., Body]
    fixed: struct.Struct
    tail: Tail


def _layout(body: Callable[..., Body], fixed: str = "", tail: Tail = Tail.NOTHING) -> Layout:
    return Layout(body, struct.Struct("=" + fixed), tail)


_NAMED = _layout(Named, "", Tail.NAME)
_NOTHING = _layout(Nothing)
_RAW = _layout(Raw, "", Tail.DATA)
_OPEN = _layout(Open, "II")
_CREATE = _layout(Create, "IIII", Tail.NAME)
_READ = _layout(Read, "QQIIQI4x")
_RELEASE = _layout(Release, "QIIQ")
_SYNC = _layout(Sync, "QI4x")
_LOCK = _layout(Lock, "QQQQIII4x")
_COPY = _layout(CopyRange, "QQQQQQQ")

LAYOUTS: dict[int, Layout] = {
    Opcode.LOOKUP: _NAMED,
    Opcode.FORGET: _layout(Forget, "Q"),
    Opcode.GETATTR: _layout(GetAttr, "I4xQ"),
    Opcode.SETATTR: _layout(SetAttr, "I4xQQQqqqIIII4xII4x"),
    Opcode.READLINK: _NOTHING,
    Opcode.SYMLINK: _layout(Symlink, "", Tail.TWO_NAMES),
    Opcode.MKNOD: _layout(MakeNode, "III4x", Tail.NAME),
    Opcode.MKDIR: _layout(MakeDirectory, "II", Tail.NAME),
    Opcode.UNLINK: _NAMED,
    Opcode.RMDIR: _NAMED,
    Opcode.RENAME2: _layout(Rename, "QI4x", Tail.TWO_NAMES),
    Opcode.LINK: _layout(Link, "Q", Tail.NAME),
    Opcode.OPEN: _OPEN,
    Opcode.READ: _READ,
    Opcode.WRITE: _layout(Write, "QQIIQI4x", Tail.VIEW),
    Opcode.STATFS: _NOTHING,
    Opcode.RELEASE: _RELEASE,
    Opcode.FSYNC: _SYNC,
    Opcode.GETXATTR: _layout(GetXattr, "I4x", Tail.NAME),
    Opcode.LISTXATTR: _layout(ListXattr, "I4x"),
    Opcode.REMOVEXATTR: _NAMED,
    Opcode.FLUSH: _layout(Flush, "Q8xQ"),
    Opcode.OPENDIR: _OPEN,
    Opcode.READDIR: _READ,
    Opcode.RELEASEDIR: _RELEASE,
    Opcode.FSYNCDIR: _SYNC,
    Opcode.GETLK: _LOCK,
    Opcode.SETLK: _LOCK,
    Opcode.SETLKW: _LOCK,
    Opcode.ACCESS: _layout(Access, "I4x"),
    Opcode.CREATE: _CREATE,
    Opcode.INTERRUPT: _layout(Interrupt, "Q"),
    Opcode.BMAP: _layout(BlockMap, "QI4x"),
    Opcode.DESTROY: _NOTHING,
    Opcode.IOCTL: _layout(Control, "QIIQII", Tail.DATA),
    Opcode.POLL: _layout(Poll, "QQII"),
    Opcode.NOTIFY_REPLY: _RAW,
    Opcode.FALLOCATE: _layout(Allocate, "QQQI4x"),
    Opcode.READDIRPLUS: _READ,
    Opcode.LSEEK: _layout(Seek, "QQI4x"),
    Opcode.COPY_FILE_RANGE: _COPY,
    Opcode.SETUPMAPPING: _RAW,
    Opcode.REMOVEMAPPING: _RAW,
    Opcode.SYNCFS: _layout(Nothing, "8x"),
    Opcode.TMPFILE: _CREATE,
    Opcode.STATX: _layout(StatX, "I4xQII"),
    Opcode.COPY_FILE_RANGE_64: _COPY,
}
"""Requests whose form follows from the opcode alone; `_SPECIAL` has the others."""

_SETXATTR = struct.Struct("=II")
_SETXATTR_EXT = struct.Struct("=III4x")
_WRITE_SIZE = struct.Struct("=I")
_INIT = struct.Struct("=IIII")
_INIT_MORE = struct.Struct("=I")  # flags2; then 44 bytes that mean nothing yet
_FORGET_HEAD = struct.Struct("=I4x")
_FORGET_ONE = struct.Struct("=QQ")
_DIRECTORY = struct.Struct("=Q")


def parse(message: memoryview, agreed: int = 0) -> Request:
    """One message → the request. `agreed` are the flags that INIT ended with. Raises Malformed.

    Copies all but the data of a WRITE, so the buffer may be used again once the request has been handled.
    """
    if len(message) < HEADER.size:
        raise Malformed("a message is shorter than its header")
    length, opcode, unique, node, uid, gid, pid, in_extensions, _ = HEADER.unpack_from(message)
    extensions = b""
    if in_extensions:
        end = length - 8 * in_extensions
        if end < HEADER.size or length != len(message):
            raise Malformed("a message is not as long as it says", unique)
        extensions, message = bytes(message[end:]), message[:end]
    elif length != len(message):
        raise Malformed("a message is not as long as it says", unique)
    take = _TAKE.get(opcode)
    try:
        body = take(message) if take is not None else _rare(opcode, message[HEADER.size :], agreed)
    except (struct.error, ValueError) as wrong:
        raise Malformed(f"the body of a request {opcode} is malformed: {wrong}", unique) from None
    return Request(opcode, unique, node, uid, gid, pid, body, extensions)


def _rare(opcode: int, rest: memoryview, agreed: int) -> Body:
    special = _SPECIAL.get(opcode)
    return Raw(bytes(rest)) if special is None else special(rest, agreed)


def _taker(layout: Layout) -> Callable[[memoryview], Body]:
    """What takes a body of this layout out of a message, after the header. All that can be said beforehand is: a server
    spends a good part of its time here."""
    body, fields, begins = layout.body, layout.fixed.unpack_from, HEADER.size
    rest = begins + layout.fixed.size
    match layout.tail:
        case Tail.NOTHING:
            return lambda message: body(*fields(message, begins))
        case Tail.NAME:
            return lambda message: body(*fields(message, begins), _name(message[rest:]))
        case Tail.TWO_NAMES:
            return lambda message: body(*fields(message, begins), *_names(message[rest:]))
        case Tail.DATA:
            return lambda message: body(*fields(message, begins), bytes(message[rest:]))
        case Tail.VIEW:
            return lambda message: body(*fields(message, begins), _sized(message, begins, rest))


def _sized(message: memoryview, begins: int, rest: int) -> memoryview:
    """The data of a WRITE, whose third field says how long it is."""
    data = message[rest:]
    if len(data) != _WRITE_SIZE.unpack_from(message, begins + 16)[0]:
        raise ValueError("the data is not as long as it says")
    return data


def _name(data: memoryview) -> bytes:
    name, nul, more = bytes(data).partition(b"\0")
    if more or not nul or not 0 < len(name) < NAME_LIMIT:
        raise ValueError("a name is missing, empty, too long, or does not end")
    return name


def _names(data: memoryview) -> tuple[bytes, bytes]:
    name, nul, other = bytes(data).partition(b"\0")
    if not nul or not 0 < len(name) < NAME_LIMIT:
        raise ValueError("a name is missing, empty, too long, or does not end")
    return name, _name(memoryview(other))


def _setxattr(rest: memoryview, agreed: int) -> Body:
    fixed = _SETXATTR_EXT if agreed & InitFlag.SETXATTR_EXT else _SETXATTR
    size, flags, *more = fixed.unpack_from(rest)
    name, _, value = bytes(rest[fixed.size :]).partition(b"\0")
    if not name or len(name) >= NAME_LIMIT or len(value) != size:
        raise ValueError("the value is not as long as it says")
    return SetXattr(size, flags, more[0] if more else 0, name, value)


def _rename(rest: memoryview, _: int) -> Body:
    (directory,) = _DIRECTORY.unpack_from(rest)
    return Rename(directory, 0, *_names(rest[_DIRECTORY.size :]))


def _init(rest: memoryview, _: int) -> Body:
    major, minor, readahead, flags = _INIT.unpack_from(rest)
    if flags & InitFlag.INIT_EXT:
        flags |= _INIT_MORE.unpack_from(rest, _INIT.size)[0] << 32
    return Init(major, minor, readahead, flags)


def _batch_forget(rest: memoryview, _: int) -> Body:
    (count,) = _FORGET_HEAD.unpack_from(rest)
    nodes = rest[_FORGET_HEAD.size :]
    if len(nodes) != count * _FORGET_ONE.size:
        raise ValueError("there are more or fewer nodes than it says")
    return BatchForget(tuple(_FORGET_ONE.iter_unpack(nodes)))


_SPECIAL: dict[int, Callable[[memoryview, int], Body]] = {
    Opcode.SETXATTR: _setxattr,
    Opcode.RENAME: _rename,
    Opcode.INIT: _init,
    Opcode.BATCH_FORGET: _batch_forget,
}

_TAKE: dict[int, Callable[[memoryview], Body]] = {opcode: _taker(layout) for opcode, layout in LAYOUTS.items()}
