"""Replies: what a server answers, as parts that one writev(2) sends. The kernel takes a reply whole or not at all."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from msgspec import Struct

from knowngood.core.buffers import Buffer
from knowngood.wire.fuse.bodies import Init
from knowngood.wire.fuse.opcodes import InitFlag, OpenFlag

Reply = Sequence[Buffer]
"""The parts of a reply, header first."""

MAJOR, MINOR = 7, 45
OLDEST = (7, 31)  # Linux 5.4

_HEADER = struct.Struct("=IiQ")
_ENTRY = struct.Struct("=QQQQII")
_ATTRIBUTES = struct.Struct("=QQQqqqIIIIIIIIII")
_ATTRIBUTES_HEAD = struct.Struct("=QI4x")
_OPEN = struct.Struct("=QIi")
_STATFS = struct.Struct("=QQQQQIII4x24x")
_INIT = struct.Struct("=IIIIHHIIHHIIH22x")
_SIZE = struct.Struct("=I4x")
_SEEK = struct.Struct("=Q")
_CONTROL = struct.Struct("=iIII")
_DIRENT = struct.Struct("=QQII")
_NO_ENTRY = bytes(_ENTRY.size + _ATTRIBUTES.size)
_NANOS = 1_000_000_000


class Attributes(Struct, frozen=True, gc=False):
    """What stat(2) shows (struct fuse_attr). Times in nanoseconds; `blocks` in 512 bytes."""

    inode: int
    size: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    mode: int
    links: int
    uid: int
    gid: int
    rdev: int
    block_bytes: int = 4096


class Agreement(Struct, frozen=True):
    """What INIT ended with: the version both speak, and the flags both know."""

    major: int
    minor: int
    flags: int


# --------------------------------------------------------------------------------------------------------- headers


def reply(unique: int, *parts: Buffer) -> Reply:
    """A reply that all is well."""
    return _HEADER.pack(_HEADER.size + sum(map(len, parts)), 0, unique), *parts


def error(unique: int, number: int) -> Reply:
    """A reply that it could not be: `number` as of errno(3)."""
    return (_HEADER.pack(_HEADER.size, -number, unique),)


def unique_of(answer: Reply) -> int:
    """Which request it answers."""
    return _HEADER.unpack(answer[0])[2]


# ----------------------------------------------------------------------------------------------------- the beginning


def negotiate(
    init: Init, wanted: int, *, max_read: int, max_write: int, max_background: int
) -> tuple[Agreement | None, bytes]:
    """What a server answers to INIT, and what was agreed. None: nothing yet, the kernel asks again or gives up.

    `wanted` are flags; those that the kernel does not know are left out. `max_read` and `max_write` are the most bytes
    of one request, `max_background` how many requests that nobody waits for may be under way.
    """
    if init.major > MAJOR:
        return None, _INIT.pack(MAJOR, MINOR, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    if (init.major, init.minor) < OLDEST:
        return None, b""
    minor = min(init.minor, MINOR)
    flags = init.flags & (wanted | InitFlag.INIT_EXT)
    pages = max(1, max(max_read, max_write) >> 12) if flags & InitFlag.MAX_PAGES else 0
    answer = _INIT.pack(
        MAJOR,
        minor,
        init.max_readahead,
        flags & 0xFFFFFFFF,
        max_background,
        max_background * 3 // 4,
        max_write,
        1,  # times are exact to the nanosecond
        pages,
        0,
        flags >> 32,
        1 if flags & InitFlag.PASSTHROUGH else 0,
        0,
    )
    return Agreement(MAJOR, minor, flags), answer


# ------------------------------------------------------------------------------------------------------------ bodies


def attributes(found: Attributes) -> bytes:
    """struct fuse_attr."""
    atime, mtime, ctime = found.atime_ns, found.mtime_ns, found.ctime_ns
    return _ATTRIBUTES.pack(
        found.inode,
        found.size,
        found.blocks,
        atime // _NANOS,
        mtime // _NANOS,
        ctime // _NANOS,
        atime % _NANOS,
        mtime % _NANOS,
        ctime % _NANOS,
        found.mode,
        found.links,
        found.uid,
        found.gid,
        found.rdev & 0xFFFFFFFF,
        found.block_bytes,
        0,
    )


def attributes_reply(found: Attributes, valid_ns: int) -> bytes:
    """For GETATTR and SETATTR; the kernel may rely on it for `valid_ns`."""
    return _ATTRIBUTES_HEAD.pack(*divmod(valid_ns, _NANOS)) + attributes(found)


def entry(node: int, found: Attributes, entry_valid_ns: int, attributes_valid_ns: int) -> bytes:
    """For LOOKUP and its like. It counts as one lookup of the node, until the kernel forgets it."""
    seconds, nanos = divmod(entry_valid_ns, _NANOS)
    for_attributes, attributes_nanos = divmod(attributes_valid_ns, _NANOS)
    return _ENTRY.pack(node, 0, seconds, for_attributes, nanos, attributes_nanos) + attributes(found)


def no_entry(valid_ns: int) -> bytes:
    """There is no such name, and the kernel may rely on that for so long."""
    seconds, nanos = divmod(valid_ns, _NANOS)
    return _ENTRY.pack(0, 0, seconds, 0, nanos, 0) + _NO_ENTRY[_ENTRY.size :]


def opened(handle: int, flags: OpenFlag = OpenFlag.NONE, backing: int = 0) -> bytes:
    """For OPEN and OPENDIR; `backing` is the id of the file behind it, for PASSTHROUGH."""
    return _OPEN.pack(handle, flags, backing)


def statistics(
    *,
    block_bytes: int,
    name_bytes: int,
    blocks: int = 0,
    free: int = 0,
    available: int | None = None,
    files: int = 0,
    files_free: int = 0,
    unit_bytes: int | None = None,
) -> bytes:
    """For STATFS: struct fuse_kstatfs. `available` is what others than root may take, all that is free by default;
    blocks have `unit_bytes`, which is `block_bytes` by default."""
    available = free if available is None else available
    return _STATFS.pack(blocks, free, available, files, files_free, block_bytes, name_bytes, unit_bytes or block_bytes)


def written(size: int) -> bytes:
    """For WRITE: how many bytes were."""
    return _SIZE.pack(size)


def length(size: int) -> bytes:
    """For GETXATTR and LISTXATTR, when the length was asked for."""
    return _SIZE.pack(size)


def position(offset: int) -> bytes:
    """For LSEEK."""
    return _SEEK.pack(offset)


def control(result: int, data: bytes = b"") -> bytes:
    """For IOCTL."""
    return _CONTROL.pack(result, 0, 0, 0) + data


# ------------------------------------------------------------------------------------------------------- directories


class Directory:
    """Gathers the entries of a reply to READDIR or READDIRPLUS, up to the size that was asked for."""

    def __init__(self, size: int) -> None:
        self._room = size
        self.parts: list[bytes] = []

    def add(self, name: bytes, inode: int, kind: int, after: int, plus: bytes | None = None) -> bool:
        """Append an entry; False when there is no room for it.

        `kind` is the type of a mode, 0 when unknown; `after` is the offset at which the next entry is asked for. With
        `plus`, which is an `entry` or what `unknown` says, it is one of READDIRPLUS.
        """
        fixed = _DIRENT.pack(inode, after, len(name), kind >> 12)
        padding = -(len(fixed) + len(name)) % 8
        needed = len(fixed) + len(name) + padding + (len(plus) if plus is not None else 0)
        if needed > self._room:
            return False
        self._room -= needed
        if plus is not None:
            self.parts.append(plus)
        self.parts.append(fixed + name + bytes(padding))
        return True

    @staticmethod
    def unknown() -> bytes:
        """In the place of an `entry`: the kernel shall look this one up when it needs to. It counts as no lookup."""
        return _NO_ENTRY
