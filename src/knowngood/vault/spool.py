"""The spool: what could not be added to a log in the vault waits here, on this machine, sealed as it will lie there.

One file, only ever appended to: blocks, each of which is a kind, a length, a checksum and so many bytes
(docs/format.md, section The spool). The checksum covers that of the block before it, so no block can be left out,
moved, or taken from an older life of the file. A tick is a few blocks, the last of which says what it holds; it counts
once that one is whole, and is durable when `append` returns. What a crash has left behind the last whole tick is
overwritten.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum

import msgspec
from blake3 import blake3

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged, KnowngoodError, NoSpace
from knowngood.core.malformed import MALFORMED
from knowngood.core.model import Checkpoint, Position
from knowngood.core.sizes import GIB, MIB
from knowngood.seal.frame import FrameKind, read_frame
from knowngood.vault.durable import sync_folder
from knowngood.vault.record import PlainSegment

LIMIT = 1 * GIB
"""Bytes of one spool. A quiet service needs months for it, and a machine's own disk can spare it; beyond, a vault is
away for so long that one change for all that happens meanwhile is the better bargain."""

FILE = "spool"
MAGIC = b"KGSB"
_BLOCK = struct.Struct("<4sB3xI16s")
_CHECK_BYTES = 16
_BODY_LIMIT = 80 * MIB  # a frame at most, and its names


class Block(IntEnum):
    """What a block of the file is."""

    HEAD = 1  # the first one: whose log this is
    KEY = 2  # a KEY frame
    DATA = 3  # a DATA frame
    LOG = 4  # a LOG frame
    TICK = 5  # the end of a tick
    PAGE = 6  # a PAGE frame
    BASE = 7  # the checkpoint that this tick makes


class _Head(msgspec.Struct, array_like=True, frozen=True):
    vault: bytes
    timeline: bytes


class _Tick(msgspec.Struct, array_like=True, frozen=True):
    """The end of a tick: what a commit has to say of its frames, and when it was captured (ns)."""

    time_ns: int
    first: int
    count: int
    previous: bytes
    last: bytes
    references: int


class SpooledBase(msgspec.Struct, array_like=True, frozen=True):
    """A checkpoint that waits: all of it that `relies`, the id of an earlier one, has not is in its tick. Empty: it
    relies on none."""

    checkpoint: Checkpoint
    relies: bytes


_FRAMES = {Block.DATA: FrameKind.DATA, Block.PAGE: FrameKind.PAGE, Block.LOG: FrameKind.LOG}
_heads = msgspec.msgpack.Decoder(_Head)
_ticks = msgspec.msgpack.Decoder(_Tick)
_bases = msgspec.msgpack.Decoder(SpooledBase)


@dataclass(frozen=True, slots=True)
class SpooledTick:
    """A whole tick: what its LOG frames hold, and where its blocks lie."""

    part: PlainSegment
    time_ns: int
    offset: int
    size: int
    check: bytes  # of the block before
    base: SpooledBase | None = None

    @property
    def before(self) -> Position:
        """Where the log has to end for this to continue it."""
        return Position(self.part.first, self.part.previous)

    @property
    def after(self) -> Position:
        """Where it ends then."""
        return Position(self.part.end, self.part.last)


class Spool:
    """One timeline's spool, for one process at a time. Memory: 200 bytes for each tick, and one frame.

    `ticks` wait, in order; `rejected` says why something that was found in the file cannot be used, and is empty when
    all can. `keys` are the KEY frames in it.
    """

    def __init__(self, folder: str, vault_id: bytes, timeline: bytes, limit: int = LIMIT) -> None:
        """Read what there is. Raises KnowngoodError when the file cannot be read."""
        self._path = os.path.join(folder, FILE)
        self._head = _Head(vault_id, timeline)
        self.timeline = timeline
        self._limit = limit
        self._handle = -1
        self._reset()
        self.rejected = ""
        with _mapped(self._path, "read"):
            with suppress(FileNotFoundError):
                self._handle = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                self._scan()
            except (Damaged, *MALFORMED):
                self.rejected = "it holds what no version writes"
            self._settle()

    def _settle(self) -> None:
        """Who wrote what is there may have been killed before it was durable, and its name too."""
        if self._handle >= 0:
            os.fsync(self._handle)
            sync_folder(os.path.dirname(self._path))

    def _reset(self) -> None:
        self._size, self._check = 0, bytes(_CHECK_BYTES)
        self.ticks: list[SpooledTick] = []
        self.keys: dict[bytes, bytes] = {}

    @property
    def bytes(self) -> int:
        """How much of the limit is used."""
        return self._size

    @property
    def limit(self) -> int:
        """How large it may become: it leaves half of what is free to the programs that work here."""
        try:
            found = os.statvfs(os.path.dirname(self._path))
        except OSError:
            return self._limit
        return min(self._limit, self._size + found.f_bavail * found.f_frsize // 2)

    @property
    def records(self) -> int:
        """How many records wait."""
        return sum(each.part.count for each in self.ticks)

    # ------------------------------------------------------------------------------------------------------ reading

    def _scan(self) -> None:
        """Find the whole ticks. What comes behind them was being written in a crash, or is damaged."""
        keys, base = dict[bytes, bytes](), None
        end = os.fstat(self._handle).st_size if self._handle >= 0 else 0
        for kind, body, at, check in self._blocks(0, end, self._check):
            if (kind == Block.HEAD) != (not self._size) or (kind == Block.HEAD and _heads.decode(body) != self._head):
                self.rejected = "it belongs to another vault, or to another component"
                return
            if kind == Block.HEAD:
                self._size, self._check = at, check
            elif kind == Block.KEY:
                keys[read_frame(body).header.key_id] = body
            elif kind == Block.BASE:
                base = _bases.decode(body)
            elif kind == Block.TICK:
                self._take(_ticks.decode(body), (self._size, self._check), at, base)
                self.keys |= keys
                self._size, self._check, keys, base = at, check, {}, None
        if self._size < end:
            self.rejected = f"its last {end - self._size} bytes are not whole"

    def _take(self, tick: _Tick, start: tuple[int, bytes], end: int, base: SpooledBase | None) -> None:
        part = PlainSegment(self.timeline, b"", tick.first, tick.count, tick.previous, tick.last, tick.references)
        self.ticks.append(SpooledTick(part, tick.time_ns, start[0], end - start[0], start[1], base))

    def _blocks(self, at: int, end: int, check: bytes) -> Iterator[tuple[int, bytes, int, bytes]]:
        """(kind, body, where the next one begins, checksum) of the blocks up to the first that is not whole."""
        while at + _BLOCK.size <= end:
            head = os.pread(self._handle, _BLOCK.size, at)
            magic, kind, length, seal = _BLOCK.unpack(head)
            if magic != MAGIC or length > _BODY_LIMIT or at + _BLOCK.size + length > end:
                return
            body = os.pread(self._handle, length, at + _BLOCK.size)
            if seal != _seal(check, head, [body]):
                return
            at, check = at + _BLOCK.size + length, seal
            yield kind, body, at, check

    def read(self, tick: SpooledTick) -> Iterator[tuple[FrameKind, bytes]]:
        """The DATA, PAGE and LOG frames of a tick, in order. Raises Damaged after those that are good."""
        at = tick.offset
        with _mapped(self._path, "read"):
            for kind, body, after, _ in self._blocks(tick.offset, tick.offset + tick.size, tick.check):
                at = after
                if kind in (Block.DATA, Block.PAGE, Block.LOG):
                    yield _FRAMES[Block(kind)], body
        if at != tick.offset + tick.size:
            raise Damaged(f"the spool {self._path} is damaged")

    # ------------------------------------------------------------------------------------------------------ writing

    def append(
        self,
        part: PlainSegment,
        time_ns: int,
        keys: Mapping[bytes, Sequence[Buffer]],
        data: Iterable[Sequence[Buffer]],
        log: Iterable[Sequence[Buffer]],
        *,
        pages: Iterable[Sequence[Buffer]] = (),
        base: SpooledBase | None = None,
    ) -> None:
        """Add a tick, with the checkpoint that it makes; it is durable when this returns. Raises NoSpace at the limit,
        and where the disk is full."""
        before, known = (self._size, self._check), dict(self.keys)
        with _mapped(self._path, "write"):
            try:
                self._begin()
                offset, check, limit = self._size, self._check, self.limit
                for key, frame in keys.items():
                    if key not in self.keys:
                        self.keys[key] = b"".join(frame)
                        self._put(Block.KEY, frame, limit)
                for kind, frames in ((Block.DATA, data), (Block.PAGE, pages), (Block.LOG, log)):
                    for frame in frames:
                        self._put(kind, frame, limit)
                if base is not None:
                    self._put(Block.BASE, [msgspec.msgpack.encode(base)], limit)
                tick = _Tick(time_ns, part.first, part.count, part.previous, part.last, part.references)
                self._put(Block.TICK, [msgspec.msgpack.encode(tick)], limit)
                os.fsync(self._handle)
            except BaseException:
                self._size, self._check, self.keys = *before, known
                with suppress(OSError):
                    os.ftruncate(self._handle, self._size)
                raise
        self._take(tick, (offset, check), self._size, base)

    def _begin(self) -> None:
        if self._handle < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._handle = os.open(self._path, flags, 0o600)
            os.fchmod(self._handle, 0o600)
            sync_folder(os.path.dirname(self._path))
        os.ftruncate(self._handle, self._size)
        if not self._size:
            self._put(Block.HEAD, [msgspec.msgpack.encode(self._head)], self.limit)

    def _put(self, kind: Block, parts: Sequence[Buffer], limit: int) -> None:
        length = sum(len(memoryview(part)) for part in parts)
        if self._size + _BLOCK.size + length > limit:
            raise NoSpace("what waits for the vault has reached its limit")
        head = _BLOCK.pack(MAGIC, kind, length, bytes(_CHECK_BYTES))
        seal = _seal(self._check, head, parts)
        at = self._size
        for part in (head[:-_CHECK_BYTES] + seal, *parts):
            view = memoryview(part).cast("B")
            while len(view):
                done = os.pwrite(self._handle, view, at)
                at, view = at + done, view[done:]
        self._size, self._check = at, seal

    def forget(self, upto: int) -> None:
        """The records before this number need not wait any more. The file shrinks when all of it is cleared."""
        self.ticks = [each for each in self.ticks if each.part.end > upto]

    def clear(self) -> None:
        """Nothing waits any more."""
        self._reset()
        self.rejected = ""
        with _mapped(self._path, "remove"):
            self.close()
            with suppress(FileNotFoundError):
                os.unlink(self._path)
                sync_folder(os.path.dirname(self._path))

    def close(self) -> None:
        """Close the file; what waits stays."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _seal(before: bytes, head: bytes, parts: Iterable[Buffer]) -> bytes:
    hasher = blake3(before + head[:-_CHECK_BYTES])
    for part in parts:
        hasher.update(part)
    return hasher.digest()[:_CHECK_BYTES]


@contextmanager
def _mapped(path: str, doing: str) -> Iterator[None]:
    """Turn the system's errors into ours."""
    try:
        yield
    except OSError as wrong:
        kind = NoSpace if wrong.errno in (errno.ENOSPC, errno.EDQUOT) else KnowngoodError
        raise kind(f"cannot {doing} {path}: {wrong.strerror}", hint="free some room on the disk of the home") from None
