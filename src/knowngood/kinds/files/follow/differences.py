"""What changed between two clones of a file: only the parts that lie elsewhere are read, from the newer one.

What only lies elsewhere, as after defragmentation, is told by its bytes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from knowngood.core.log import Form
from knowngood.core.ports import ChunkSink
from knowngood.core.sizes import KIB, MIB
from knowngood.kinds.files.capture.content import DataStream
from knowngood.kinds.files.follow.clone import Clone
from knowngood.linux.extents import extents_of
from knowngood.wire.extents import differing

PIECE = 4 * KIB
CELL, NEAR = 64, 128
"""Within a piece that changed, cells are told that did, together with what lies between them when that is so short: a
database changes a few bytes of a page. Bytes."""

RUNS = 16 * MIB
"""Pieces of so much are told byte by byte; what is more goes as chunks."""

LONG = MIB
"""What changed in one piece of this length goes as chunks, too."""

_READ = MIB


@dataclass(frozen=True, slots=True)
class Run:
    """A part of a file that changed. `data` is its bytes, or the name of a chunk, or nothing when it is zeros."""

    offset: int
    length: int
    form: int
    data: bytes = b""

    @classmethod
    def of(cls, offset: int, data: bytes) -> Run:
        """A part with these bytes."""
        zeros = data.count(0) == len(data)
        return cls(offset, len(data), Form.ZEROS if zeros else Form.BYTES, b"" if zeros else data)


class Differences:
    """Reads them for one file; `count` is how many bytes were read."""

    def __init__(self, sink: ChunkSink) -> None:
        self.count = 0
        self._sink = sink
        self._runs: list[Run] = []
        self._told = 0

    def between(self, old: Clone, new: Clone) -> list[Run]:
        """What has to be written into the old one, cut to the new one's size, to get the new one. Raises OSError."""
        ranges = differing(extents_of(old.fd), extents_of(new.fd), new.size)
        for start, end, hole in ranges:
            if not hole:
                os.posix_fadvise(new.fd, start, end - start, os.POSIX_FADV_WILLNEED)
        for start, end, hole in ranges:
            if hole:
                self._runs.append(Run(start, end - start, Form.ZEROS))
            elif end - start >= LONG or self._told >= RUNS:
                self._cut(new.fd, start, end)
            else:
                self._compare(old, new.fd, start, end)
        return self._runs

    def _cut(self, fd: int, start: int, end: int) -> None:
        stream = DataStream(fd, [(start, end - start)])
        for view in self._sink.cut(stream.fill):
            self._runs.append(Run(start, len(view), Form.CHUNK, self._sink.add(view)))
            start += len(view)
        self.count += stream.count

    def _compare(self, old: Clone, fd: int, start: int, end: int) -> None:
        for at in range(start, end, _READ):
            wanted = min(_READ, end - at)
            after = os.pread(fd, wanted, at)
            before = os.pread(old.fd, wanted, at)
            self.count += len(after)
            if after != before:
                self._pieces(at, before, after)

    def _pieces(self, at: int, before: bytes, after: bytes) -> None:
        begun = -1
        for low in range(0, len(after), PIECE):
            piece = slice(low, low + PIECE)
            if after[piece] == before[piece]:
                if begun >= 0:
                    self._tell(at, before, after, begun, low)
                begun = -1
            elif begun < 0:
                begun = low
        if begun >= 0:
            self._tell(at, before, after, begun, len(after))

    def _tell(self, at: int, before: bytes, after: bytes, low: int, high: int) -> None:
        for start, end in _parts(before, after, low, high):
            self._runs.append(Run.of(at + start, after[start:end]))
        self._told += high - low


def _parts(before: bytes, after: bytes, low: int, high: int) -> list[tuple[int, int]]:
    """Which parts of a range differ, when these are few and short; else all of it."""
    found: list[tuple[int, int]] = []
    for at in range(low, high, CELL):
        end = min(at + CELL, high)
        if before[at:end] != after[at:end]:
            near = found and at - found[-1][1] <= NEAR
            found[-1 if near else len(found) :] = [(found[-1][0] if near else at, end)]
    few = len(found) <= max(1, (high - low) // KIB)
    return found if few and 2 * sum(end - start for start, end in found) <= high - low else [(low, high)]
