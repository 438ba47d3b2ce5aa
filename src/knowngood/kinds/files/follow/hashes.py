"""Hashes of the blocks of large files: what changed in one is found without its old content.

Two levels, 64 KiB and 4 KiB, keyed BLAKE3 cut to 8 bytes: nobody without the key can make another block of the same
hash. They are kept in nameless files in the state folder, 136 bytes for each 64 KiB, and vanish with the process.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from blake3 import blake3

from knowngood.core.sizes import GIB, KIB
from knowngood.kinds.files.capture.content import DataStream
from knowngood.kinds.files.follow.known import Inode
from knowngood.tree.content import Extents

BLOCK = 64 * KIB
PIECE = 4 * KIB
LIMIT = GIB // 4
"""Bytes of all hashes together: those of 120 GiB of files."""

FILES = 128
"""So many files at most: each is an open descriptor."""

HASH = 8
UNKNOWN = bytes(HASH)
"""In the place of a block's own hash: only those of its pieces were asked for yet."""
_PIECES = HASH * (BLOCK // PIECE)
_ROOM = HASH + _PIECES


class Hashed:
    """The hashes of one file as it is known. `row` is the row that it had."""

    def __init__(self, key: bytes, folder: str) -> None:
        self.row = b""
        self.blocks = 0
        self._key = key
        self._file: BinaryIO = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - `close` closes it
        weakref.finalize(self, self._file.close)  # those that are never kept, too

    @property
    def size(self) -> int:
        """Bytes that the hashes take."""
        return self.blocks * _ROOM

    def close(self) -> None:
        """Forget them."""
        self._file.close()

    def of(self, block: bytes | memoryview) -> bytes:
        """The hash of a block or a piece."""
        return blake3(block, key=self._key).digest(HASH)

    def pieces(self, block: memoryview) -> bytes:
        """The hashes of the pieces of a block."""
        return b"".join(self.of(block[at : at + PIECE]) for at in range(0, len(block), PIECE))

    def room(self, first: int, count: int) -> list[tuple[bytes, bytes]]:
        """Hashes of blocks, and of their pieces; empty where there are none."""
        data = os.pread(self._file.fileno(), count * _ROOM, first * _ROOM)
        return [(data[at : at + HASH], data[at + HASH : at + _ROOM]) for at in range(0, count * _ROOM, _ROOM)]

    def put(self, block: int, whole: bytes, pieces: bytes) -> None:
        """Note the hashes of a block. Raises OSError."""
        os.pwrite(self._file.fileno(), whole + pieces.ljust(_PIECES, b"\0"), block * _ROOM)
        self.blocks = max(self.blocks, block + 1)

    def complete(self, block: int, whole: bytes, pieces: bytes) -> None:
        """The hash of a block whose pieces are known. Without room it has to be found again."""
        with suppress(OSError):
            self.put(block, whole, pieces)

    def cut(self, blocks: int) -> None:
        """The file is only so long now."""
        self.blocks = min(self.blocks, blocks)
        os.ftruncate(self._file.fileno(), self.blocks * _ROOM)


Changes = list[tuple[int, bytes, bytes]]
"""Number, hash, and hashes of the pieces of blocks that changed."""


class Hashes:
    """Those of all large files that were taken last."""

    def __init__(self, folder: str, limit: int = LIMIT) -> None:
        self._folder = folder
        self._limit = limit
        self._key = secrets.token_bytes(32)
        self._files: OrderedDict[Inode, Hashed] = OrderedDict()

    def find(self, inode: Inode, row: bytes) -> Hashed | None:
        """Those of a file, if they are of what is known of it."""
        found = self._files.get(inode)
        if found is None or found.row != row:
            return None
        self._files.move_to_end(inode)
        return found

    def new(self) -> Hashed | None:
        """For a file that has none; None when there is no room. They count when they are kept."""
        try:
            return Hashed(self._key, self._folder)
        except OSError:
            return None

    def learn(self, inode: Inode, row: bytes, size: int, hashed: Hashed, changes: Changes) -> None:
        """What was read of a file is known of it now."""
        try:
            for change in changes:
                hashed.put(*change)
            hashed.cut(-(-size // BLOCK))
        except OSError:
            self.drop(inode)
        else:
            self.keep(inode, row, hashed)

    def keep(self, inode: Inode, row: bytes, hashed: Hashed) -> None:
        """These are those of what is known of a file."""
        before = self._files.pop(inode, None)
        if before is not None and before is not hashed:
            before.close()
        hashed.row = row
        self._files[inode] = hashed
        while len(self._files) > FILES or sum(each.size for each in self._files.values()) > self._limit:
            self._files.popitem(last=False)[1].close()

    def drop(self, inode: Inode) -> None:
        """Nothing is known of a file any more."""
        if found := self._files.pop(inode, None):
            found.close()

    def close(self) -> None:
        """Forget all."""
        while self._files:
            self._files.popitem()[1].close()


class HashingStream(DataStream):
    """Reads a file from its beginning, and hashes the pieces that go by. Blocks are hashed when they are compared."""

    def __init__(self, fd: int, extents: Extents, hashed: Hashed) -> None:
        super().__init__(fd, extents)
        self._hashed = hashed
        self._rest = bytearray()
        self._number = 0
        self._failed = False

    def fill(self, view: memoryview) -> int:
        """Read into a view."""
        count = super().fill(view)
        part = view[:count]
        if self._rest:
            missing = BLOCK - len(self._rest)
            self._rest += part[:missing]
            part = part[missing:]
            if len(self._rest) == BLOCK:
                self._end_rest()
        whole = len(part) - len(part) % BLOCK
        for block in blocks_of(part[:whole]):
            self._note(block)
        self._rest += part[whole:]
        return count

    def finish(self) -> Hashed | None:
        """The hashes of all that was read; None when there was no room for them."""
        if self._rest:
            self._end_rest()
        if self._failed:
            self._hashed.close()
            return None
        return self._hashed

    def _end_rest(self) -> None:
        self._note(memoryview(bytes(self._rest)))
        self._rest.clear()

    def _note(self, block: memoryview) -> None:
        try:
            self._hashed.put(self._number, UNKNOWN, self._hashed.pieces(block))
        except OSError:
            self._failed = True
        self._number += 1


def blocks_of(view: memoryview) -> Iterator[memoryview]:
    """A part of a file that begins at a block, block by block."""
    for at in range(0, len(view), BLOCK):
        yield view[at : at + BLOCK]
