"""Takes what changed as a capture does, and in a way that says what changed in it.

Small files are held as they are, for the log. Of large ones, blocks that changed are found by hashes of the ones
before, if there are any; or else all is cut into chunks, which deduplicate.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from knowngood.core.errors import Damaged
from knowngood.core.ids import Name
from knowngood.core.ports import ChunkSink
from knowngood.core.progress import Progress
from knowngood.core.sizes import KIB, MIB
from knowngood.kinds.files.capture.basis import Partial
from knowngood.kinds.files.capture.content import SINGLE_BYTES, DataStream, data_extents, read_plain
from knowngood.kinds.files.capture.entries import Columns, Taker
from knowngood.kinds.files.capture.resume import Interrupted
from knowngood.kinds.files.follow.clone import Clone
from knowngood.kinds.files.follow.clones import Clones
from knowngood.kinds.files.follow.differences import PIECE, RUNS, Differences, Run
from knowngood.kinds.files.follow.dirtied import Dirtied, Parts
from knowngood.kinds.files.follow.hashes import BLOCK, HASH, UNKNOWN, Changes, Hashed, Hashes, HashingStream, blocks_of
from knowngood.kinds.files.follow.known import Inode, Known, inode_of
from knowngood.kinds.files.limits import Limits
from knowngood.kinds.files.problems import Problems
from knowngood.tree.block import ROW, Content, Entry, Extra
from knowngood.tree.content import INLINE_BYTES, ChunkList, Extents

SMALL = 64 * KIB
"""Content up to here goes into the log as it is."""

HELD = 64 * MIB
"""So much small content at once; what comes after it goes as chunks."""

PATCHED = MIB
"""Of larger files only those parts are read that changed, where every write is told."""

_READ = MIB
_HOLE = 4 * KIB  # the smallest one
_LINKS, _INODE = 3, 7  # their places in a row
_ONCE = 100_000  # files of which it is remembered that they were taken once

Piece = tuple[int, int, bytes]
"""Offset in a file, length, and name of a chunk."""


@dataclass(slots=True)
class Got:
    """What is known of content that was read, beside what an entry says."""

    data: bytes | None = None  # all of it
    parts: list[Piece] = field(default_factory=list)  # chunks for what lies across the holes of a sparse file
    runs: list[Run] | None = None  # what changed since it was known
    changes: Changes = field(default_factory=list)  # of its hashes
    hashed: Hashed | None = None  # its hashes: to be changed, or made anew
    clone: Clone | None = None  # of this content

    @property
    def exact(self) -> bool:
        """Whether the entry says what the content is."""
        return self.runs is None


class Unnoted:
    """A capture that notes nothing on its way (port Noting): it is short, or can be done again."""

    due = False

    def note(self, partial: Partial | None = None) -> None:
        """Nothing."""

    def landed(self, count: int) -> None:
        """Nothing."""


class Reader(Taker):
    """Takes entries for one tick, or for one checkpoint: then all content goes into the sink."""

    def __init__(
        self,
        sink: ChunkSink,
        interrupted: Interrupted,
        problems: Problems,
        limits: Limits,
        clock: Callable[[], int],
        hashes: Hashes,
        clones: Clones | None,
        once: dict[Inode, None],
        chunks: Callable[[Entry], Iterable[tuple[bytes, int]]],
        *,
        whole: bool,
        parts: Parts | None = None,
    ) -> None:
        limits = replace(limits, link_bytes=0)  # one name of each file is taken
        super().__init__(sink, Unnoted(), interrupted, problems, Progress(), limits, clock, clones)
        self.got = Got()
        self._sink = sink
        self._hashes = hashes
        self._clones = clones
        self._once = once
        self._chunks_of = chunks
        self._file_system = 0
        self._whole = whole
        self._parts = parts
        self._extents_limit = limits.extents
        self._known: Known | None = None
        self._inode: Inode = (0, 0)
        self._links = 0
        self._stream: HashingStream | None = None
        self._held = 0

    def begin(self, directory: bytes, file_system: int, known: Known | None) -> None:
        """The next to be taken is in this directory, and this is known of it."""
        self.directory = directory
        self._known = known
        self._file_system = file_system
        self.got = Got()

    def content(self, fd: int, name: bytes, size: int, row: bytes) -> Columns:
        """Read the content of an open regular file."""
        self.got, self._stream = Got(), None
        fields = ROW.unpack(row)
        self._inode, self._links = (self._file_system, fields[_INODE]), fields[_LINKS]
        self.got.clone = made = self._clones.made(fd) if self._clones else None
        if made is not None and not self._whole and (former := self._former()):
            found = self._between(former, made)
            if found is not None:
                return found
        return self._content(fd, name, size, row)

    def _content(self, fd: int, name: bytes, size: int, row: bytes) -> Columns:
        extents = data_extents(fd, size, self._extents_limit) if size > _HOLE else []
        if size <= SMALL and not extents:
            return self._small(fd, size)
        if not extents and size > PATCHED and (patched := self._patched(fd, name, size, row)):
            return patched
        if not extents and not self._whole and (hashed := self._hashed()):
            found = self._compare(fd, size, hashed)
            if found is not None:
                return int(Content.NONE), b"", b"", (), b"", found
        columns = super().content(fd, name, size, row)
        if extents:
            self._across(fd, columns)
        if self._stream is not None:
            self.got.hashed = self._stream.finish()
        return columns

    def _small(self, fd: int, size: int) -> Columns:
        data = read_plain(fd, size) if size else b""
        self.count(len(data))
        room = self._held + len(data) <= HELD
        if room:
            self.got.data = data
            self._held += len(data)
        if len(data) <= INLINE_BYTES:
            return int(Content.INLINE if data else Content.NONE), b"", data, (), b"", len(data)
        name = self._sink.add(data) if self._whole or not room else self._sink.name(data)
        return int(Content.CHUNK), name, b"", (), b"", len(data)

    # ------------------------------------------------------------------------------------------------------ clones

    def _former(self) -> Clone | None:
        known = self._known
        if known is None or self._clones is None or inode_of(known.entry) != self._inode:
            return None
        return self._clones.find(self._inode, known.entry.row)

    def _between(self, former: Clone, made: Clone) -> Columns | None:
        """What differs between two clones; None when the file system does not say."""
        found = Differences(self._sink)
        try:
            self.got.runs = found.between(former, made)
        except (OSError, Damaged):
            return None
        self.count(found.count)
        return int(Content.NONE), b"", b"", (), b"", made.size

    # ------------------------------------------------------------------------------------------------------ hashes

    def stream(self, fd: int, extents: Extents, skip: int, row: bytes) -> DataStream:
        """What data is read through: hashed, when the file is taken again."""
        plain = len(extents) == 1 and extents[0][0] == 0 and not skip and self.got.clone is None
        if plain and self._known is not None and self._inode in self._once and (hashed := self._hashes.new()):
            self._stream = HashingStream(fd, extents, hashed)
            return self._stream
        if len(self._once) >= _ONCE:
            self._once.clear()
        self._once[self._inode] = None
        return super().stream(fd, extents, skip, row)

    def _hashed(self) -> Hashed | None:
        known = self._known
        if known is None or not known.entry.is_file:
            return None
        single = known.entry.links == 1 and self._links == 1
        if inode_of(known.entry) != self._inode and not single:
            return None  # it takes the place of the other one, and does not begin with its content
        return self._hashes.find(inode_of(known.entry), known.entry.row)

    def _compare(self, fd: int, size: int, hashed: Hashed) -> int | None:
        """Find what changed; how long the file is. None when that is too much."""
        runs: list[tuple[int, bytearray]] = []
        changes: Changes = []
        buffer = memoryview(bytearray(_READ))
        at = changed = 0
        while at < size:
            wanted = min(_READ, size - at)
            count = _fill(fd, buffer[:wanted], at)
            rooms = hashed.room(at // BLOCK, _READ // BLOCK)
            for block, (whole_before, before) in zip(blocks_of(buffer[:count]), rooms, strict=False):
                whole = hashed.of(block)
                if whole != whole_before:
                    pieces = hashed.pieces(block)
                    found = _add_runs(runs, at, block, pieces, before)
                    if found or whole_before != UNKNOWN:
                        changes.append((at // BLOCK, whole, pieces))
                        changed += found
                    else:
                        hashed.complete(at // BLOCK, whole, pieces)
                at += len(block)
            if changed > RUNS:
                return None
            if count < wanted:
                break
        self.count(at)
        self.got.runs = [Run.of(offset, bytes(data)) for offset, data in runs]
        self.got.changes, self.got.hashed = changes, hashed
        return at

    # ------------------------------------------------------------------------------ where every write was told

    def _patched(self, fd: int, name: bytes, size: int, row: bytes) -> Columns | None:
        """Read only what changed since the file was read; None when nobody knows what that is, or it is too much."""
        known = self._known
        if self._parts is None or known is None or not known.entry.is_file or known.entry.inode != self._inode[1]:
            return None
        dirtied = self._parts.find(known.entry.inode)
        if dirtied is None or known.entry.size <= PATCHED:
            return None
        return (
            self._rebuilt(fd, name, size, row, known.entry, dirtied) if self._whole else self._runs(fd, size, dirtied)
        )

    def _runs(self, fd: int, size: int, dirtied: Dirtied) -> Columns | None:
        ranges = list(dirtied.ranges(size))
        if sum(end - start for start, end in ranges) > RUNS:
            return None
        runs: list[Run] = []
        for start, end in ranges:
            for at in range(start, end, _READ):
                data = os.pread(fd, min(_READ, end - at), at)
                self.count(len(data))
                runs.append(Run.of(at, data))
        self.got.runs = [each for each in runs if each.length]
        return int(Content.NONE), b"", b"", (), b"", size

    def _rebuilt(self, fd: int, name: bytes, size: int, row: bytes, entry: Entry, dirtied: Dirtied) -> Columns | None:
        """The chunks that did not change stay; between them all is cut anew."""
        if entry.extra.extents or entry.content not in (Content.CHUNKS, Content.LIST):
            return None
        chunks = self._interrupted.begin(self.directory, name, row, [(0, size)], self._clock()).chunks
        old = replace(entry, size=sum(entry.extra.lengths))
        at = done = 0
        for chunk, length in self._chunks_of(old):
            if at + length <= size and not dirtied.touches(at, at + length) and self._sink.known(Name(chunk)):
                self._cut(fd, chunks, done, at)
                chunks.add(chunk, length)
                done = at + length
            at += length
        self._cut(fd, chunks, done, size)
        content, refs, lengths = chunks.finish()
        return content, refs, b"", lengths, b"", chunks.total

    def _cut(self, fd: int, chunks: ChunkList, start: int, end: int) -> None:
        stream = DataStream(fd, [(start, end - start)])
        if end - start <= SINGLE_BYTES:
            data = stream.read(end - start)
            if data:
                chunks.add(self._sink.add(data), len(data))
        else:
            for view in self._sink.cut(stream.fill):
                chunks.add(self._sink.add(view), len(view))
        self.count(stream.count)

    # ------------------------------------------------------------------------------------------------------- holes

    def _across(self, fd: int, columns: Columns) -> None:
        """A chunk of a sparse file that lies across a hole cannot be laid in one piece: its parts can."""
        content, refs, inline, lengths, extents, size = columns
        head = (b"", b"", stat.S_IFREG, 0, 0, 1, size, 0, 0, 0, 0)
        entry = Entry(*head, content, refs, inline, Extra(lengths, extents))
        for _, _, parts in laid(entry, self._chunks_of(entry)):
            for offset, length in parts if len(parts) > 1 else ():
                data = os.pread(fd, length, offset)
                self.got.parts.append((offset, len(data), self._sink.add(data)))


def laid(entry: Entry, chunks: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, int, list[tuple[int, int]]]]:
    """The chunks of a file: name, length, and which parts of the file (offset, length) each one fills."""
    extents = iter(entry.extents())
    at = left = 0
    for name, length in chunks:
        parts: list[tuple[int, int]] = []
        missing = length
        while missing:
            if not left:
                at, left = next(extents)
                continue
            part = min(missing, left)
            parts.append((at, part))
            at, left, missing = at + part, left - part, missing - part
        yield name, length, parts


def _add_runs(runs: list[tuple[int, bytearray]], at: int, block: memoryview, pieces: bytes, before: bytes) -> int:
    """Add the pieces of a block that changed; how many bytes they have."""
    changed = 0
    for number, start in enumerate(range(0, len(block), PIECE)):
        hash_at = slice(HASH * number, HASH * (number + 1))
        if pieces[hash_at] == before[hash_at]:
            continue
        piece = block[start : start + PIECE]
        if runs and runs[-1][0] + len(runs[-1][1]) == at + start and len(runs[-1][1]) < _READ:
            runs[-1][1].extend(piece)
        else:
            runs.append((at + start, bytearray(piece)))
        changed += len(piece)
    return changed


def _fill(fd: int, view: memoryview, at: int) -> int:
    count = 0
    while count < len(view) and (more := os.preadv(fd, [view[count:]], at + count)):
        count += more
    return count
