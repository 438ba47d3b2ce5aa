"""Entries and blocks. A block holds some consecutive entries of one directory, in columns.

Columns make the common question cheap: a directory whose names and rows are the same bytes as last time has not
changed, and no entry of it needs to be looked at.
"""

from __future__ import annotations

import stat
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import msgspec

from knowngood.core.errors import Damaged
from knowngood.core.ids import NAME_BYTES
from knowngood.core.malformed import MALFORMED
from knowngood.core.sizes import MIB

ROW = struct.Struct("<IIIIQqqQ")
"""mode, uid, gid, links, size, mtime ns, ctime ns, inode."""
_SIZE_AT = 2  # in numbers of 8 bytes

BLOCK_USES = 1 << 14
BLOCK_BYTES = 4 * MIB
"""A block that has reached one of these ends, however few its entries: a frame's lengths are bounded."""

ROOT_NAME = b"."
"""The name under which a tree's root keeps its own attributes: the one entry of the block of directory b'' that is
not a name below it."""


class Content(IntEnum):
    """Where an entry's content is."""

    NONE = 0  # directories, devices, empty files
    CHUNK = 1  # one chunk: one use of a reference
    INLINE = 2  # in the block's inline column: `size` bytes (tiny files, symlink targets)
    CHUNKS = 3  # several chunks, their lengths in the extra
    LIST = 4  # pages that list the chunks (huge files): one use each


class Extra(msgspec.Struct, array_like=True, frozen=True, omit_defaults=True):
    """What only few entries have."""

    lengths: tuple[int, ...] = ()  # CHUNKS: bytes of each chunk. LIST: bytes behind each list page
    extents: bytes = b""  # sparse files: (offset, length) pairs, u64 each, of the parts that hold data
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    flags: int = 0  # FS_IOC_GETFLAGS, the settable ones
    rdev: int = 0


NO_EXTRA = Extra()
_extras_encoder = msgspec.msgpack.Encoder()
_extras_decoder = msgspec.msgpack.Decoder(dict[int, Extra])


def encode_extras(extras: dict[int, Extra]) -> bytes:
    """The extras column: entry number → extra, in ascending order; empty when there are none."""
    return _extras_encoder.encode(dict(sorted(extras.items()))) if extras else b""


@dataclass(slots=True)
class Entry:
    """One file, directory or other thing in a tree, as it was when captured."""

    directory: bytes  # the components of its directory, joined by NUL; b"" at the root
    name: bytes
    mode: int
    uid: int
    gid: int
    links: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    file_system: int  # which of the component's file systems, 0 the root's: hard links never cross
    content: int
    refs: bytes  # names laid end to end
    inline: bytes
    extra: Extra

    @classmethod
    def of(
        cls,
        directory: bytes,
        name: bytes,
        row: bytes,
        file_system: int,
        content: int,
        refs: bytes = b"",
        inline: bytes = b"",
        extra: Extra = NO_EXTRA,
    ) -> Entry:
        """An entry from its row and its other columns."""
        mode, uid, gid, links, size, mtime, ctime, inode = ROW.unpack(row)
        head = (directory, name, mode, uid, gid, links, size, mtime, ctime, inode)
        return cls(*head, file_system, content, refs, inline, extra)

    def at(self, directory: bytes, name: bytes) -> Entry:
        """The same thing in another place, or a copy in the same."""
        head = (directory, name, self.mode, self.uid, self.gid, self.links, self.size)
        times = (self.mtime_ns, self.ctime_ns, self.inode, self.file_system)
        return Entry(*head, *times, self.content, self.refs, self.inline, self.extra)

    @property
    def is_directory(self) -> bool:
        """Whether entries can lie below it."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def key(self) -> bytes:
        """Its components joined by NUL: the `directory` of what lies below it. b"" for the root."""
        if self.name == ROOT_NAME:
            return b""
        return self.directory + b"\0" + self.name if self.directory else self.name

    @property
    def path(self) -> bytes:
        """The path below the component's root, joined by `/`; b"." for the root."""
        return self.key.replace(b"\0", b"/") or ROOT_NAME

    @property
    def row(self) -> bytes:
        """Its row as stored."""
        return ROW.pack(self.mode, self.uid, self.gid, self.links, self.size, self.mtime_ns, self.ctime_ns, self.inode)

    def names(self) -> list[bytes]:
        """Its references, one by one."""
        return [self.refs[at : at + NAME_BYTES] for at in range(0, len(self.refs), NAME_BYTES)]

    def extents(self) -> list[tuple[int, int]]:
        """(offset, length) of each part that holds data; the whole file when it is not sparse."""
        if not self.extra.extents:
            return [(0, self.size)] if self.size else []
        return list(struct.iter_unpack("<QQ", self.extra.extents))


@dataclass(slots=True)
class Block:
    """Consecutive entries of one directory, in columns. `refs` repeats a name for each use."""

    directory: bytes
    file_system: int
    names: bytes  # joined by NUL
    rows: bytes
    contents: bytes  # one Content per entry
    refs: bytes
    inline: bytes
    extras: bytes
    origin: tuple[bytes, int, int] | None = None  # page, position in it, blocks of that page: lets a page be reused

    @property
    def first(self) -> bytes:
        """Its first name."""
        return self.names.partition(b"\0")[0]

    @property
    def last(self) -> bytes:
        """Its last name."""
        return self.names.rpartition(b"\0")[2]

    @property
    def key(self) -> tuple[bytes, bytes]:
        """Where it begins, in tree order."""
        return self.directory, self.first

    @property
    def count(self) -> int:
        """Number of entries."""
        return len(self.contents)

    @property
    def size(self) -> int:
        """Bytes it takes in a page, about: what the cut between pages goes by."""
        return len(self.directory) + len(self.names) + len(self.rows) + len(self.inline) + len(self.extras) + 40

    @property
    def full(self) -> bool:
        """Whether it ended because of all that it holds, whatever its names are. Raises Damaged."""
        if len(self.refs) >= NAME_BYTES * BLOCK_USES:
            return True
        if len(self.names) + len(self.inline) + 5 * len(self.extras) < BLOCK_BYTES:
            return False  # each length counts five bytes and takes at least one
        heavy = sum(_weight(extra) for extra in decode_extras(self.extras).values())
        return len(self.names) - self.count + 1 + len(self.inline) + heavy >= BLOCK_BYTES

    def same_as(self, other: Block) -> bool:
        """Whether both hold the same entries."""
        return (
            self.directory == other.directory
            and self.names == other.names
            and self.rows == other.rows
            and self.contents == other.contents
            and self.refs == other.refs
            and self.inline == other.inline
            and self.extras == other.extras
            and self.file_system == other.file_system
        )

    def entries(self) -> Iterator[Entry]:
        """The entries in order. Raises Damaged."""
        extras = decode_extras(self.extras)
        refs_at = inline_at = 0
        rows = ROW.iter_unpack(self.rows)
        for index, (name, row, content) in enumerate(zip(self.names.split(b"\0"), rows, self.contents, strict=True)):
            extra = extras.get(index, NO_EXTRA)
            mode, uid, gid, links, size, mtime, ctime, inode = row
            uses = uses_of(content, extra)
            refs = self.refs[refs_at : refs_at + NAME_BYTES * uses] if uses else b""
            refs_at += NAME_BYTES * uses
            inline = b""
            if content == Content.INLINE:
                inline = self.inline[inline_at : inline_at + size]
                inline_at += size
            yield Entry(
                self.directory,
                name,
                mode,
                uid,
                gid,
                links,
                size,
                mtime,
                ctime,
                inode,
                self.file_system,
                content,
                refs,
                inline,
                extra,
            )
        if refs_at != len(self.refs) or inline_at != len(self.inline):
            raise Damaged("the entries of a block do not use all it has")


def sizes_of(rows: bytes) -> array[int]:
    """The size in each of these rows, without taking them apart one by one."""
    numbers = array("Q", rows)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers[_SIZE_AT :: ROW.size // 8]


def decode_extras(column: bytes) -> dict[int, Extra]:
    """The extras column as entry number → extra. Raises Damaged."""
    try:
        return _extras_decoder.decode(column) if column else {}
    except MALFORMED:
        raise Damaged("the extras of a block cannot be read") from None


def uses_of(content: int, extra: Extra) -> int:
    """How many references an entry uses."""
    if content == Content.CHUNK:
        return 1
    return len(extra.lengths) if content in (Content.CHUNKS, Content.LIST) else 0


def _weight(extra: Extra) -> int:
    """Bytes that it takes, about: what the end of a block goes by."""
    attributes = sum(len(key) + len(value) for key, value in extra.xattrs)
    return 5 * len(extra.lengths) + len(extra.extents) + attributes


@dataclass(slots=True)
class Run:
    """Consecutive entries of one directory as pieces of columns, on their way from one block into another."""

    names: list[bytes]
    rows: bytes
    contents: bytes
    refs: bytes
    inline: bytes
    extras: dict[int, Extra]  # by number within the run

    @property
    def weight(self) -> int:
        """Bytes that the end of a block goes by."""
        return sum(map(len, self.names)) + len(self.inline) + sum(map(_weight, self.extras.values()))


class BlockWriter:
    """Gathers entries of one directory into a block."""

    def __init__(self, directory: bytes, file_system: int) -> None:
        self.directory = directory
        self.file_system = file_system
        self._names: list[bytes] = []
        self._rows: list[bytes] = []
        self._contents = bytearray()
        self._refs: list[bytes] = []
        self._inline: list[bytes] = []
        self._extras: dict[int, Extra] = {}
        self._ref_bytes = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._names)

    @property
    def full(self) -> bool:
        """Whether it holds so much that the next entry belongs into another block."""
        return self._ref_bytes >= NAME_BYTES * BLOCK_USES or self._bytes >= BLOCK_BYTES

    def add(
        self, name: bytes, row: bytes, content: int, refs: bytes = b"", inline: bytes = b"", extra: Extra = NO_EXTRA
    ) -> None:
        """Append an entry; names must come in ascending order."""
        if extra is not NO_EXTRA and extra != NO_EXTRA:
            self._extras[len(self._names)] = extra
            self._bytes += _weight(extra)
        self._ref_bytes += len(refs)
        self._bytes += len(name) + len(inline)
        self._names.append(name)
        self._rows.append(row)
        self._contents.append(content)
        if refs:
            self._refs.append(refs)
        if inline:
            self._inline.append(inline)

    def extend(self, run: Run) -> bool:
        """Append a run of entries as it is; False, and nothing is done, when the block may be full before its end."""
        weight = run.weight
        if self._ref_bytes + len(run.refs) >= NAME_BYTES * BLOCK_USES or self._bytes + weight >= BLOCK_BYTES:
            return False
        for number, extra in run.extras.items():
            self._extras[len(self._names) + number] = extra
        self._ref_bytes += len(run.refs)
        self._bytes += weight
        self._names += run.names
        self._rows.append(run.rows)
        self._contents += run.contents
        self._refs.append(run.refs)
        self._inline.append(run.inline)
        return True

    def block(self) -> Block:
        """What was gathered."""
        return Block(
            self.directory,
            self.file_system,
            b"\0".join(self._names),
            b"".join(self._rows),
            bytes(self._contents),
            b"".join(self._refs),
            b"".join(self._inline),
            encode_extras(self._extras),
        )
