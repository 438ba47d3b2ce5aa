"""Whether an existing file is what the checkpoint has: by its row where that proves it, else byte by byte."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from knowngood.core.buffers import Buffer
from knowngood.core.sizes import MIB
from knowngood.kinds.files.recovery.layout import Span, holes
from knowngood.kinds.files.settled import settled
from knowngood.kinds.files.syscalls import punch
from knowngood.tree.block import Entry

_LARGEST_BLOCK = 64 << 10
READ_EXISTING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def unchanged(have: os.stat_result, entry: Entry, started_ns: int) -> bool:
    """Whether this is the very file that was captured, untouched since: then its attributes are right as well.

    A time of change so near to the capture that a later change could bear it too proves nothing.
    """
    return (
        have.st_ino == entry.inode
        and have.st_ctime_ns == entry.ctime_ns
        and have.st_size == entry.size
        and stat.S_IFMT(have.st_mode) == stat.S_IFMT(entry.mode)
        and settled(entry.ctime_ns, started_ns)
    )


def same_state(before: os.stat_result, now: os.stat_result) -> bool:
    """Whether a file was left alone between two looks at it."""
    return (
        before.st_ino == now.st_ino
        and before.st_ctime_ns == now.st_ctime_ns
        and before.st_mtime_ns == now.st_mtime_ns
        and before.st_size == now.st_size
    )


def holds(fd: int, data: Buffer, spans: Iterable[Span]) -> bool:
    """Whether an open file has these bytes at these places. Raises OSError."""
    view = memoryview(data)
    for offset, start, stop in spans:
        piece = os.pread(fd, stop - start, offset)
        # bytes.startswith compares with any buffer, at the speed of memory and without a copy
        if len(piece) != stop - start or not piece.startswith(view[start:stop]):
            return False
    return True


def _data_in(fd: int, start: int, stop: int) -> Iterable[tuple[int, int]]:
    """(from, to) of what takes room in an open file between two offsets."""
    at = start
    while at < stop:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: a hole up to the end
            return
        if at >= stop:
            return
        end = min(stop, os.lseek(fd, at, os.SEEK_HOLE))
        yield at, end
        at = end


def holes_are_zero(fd: int, entry: Entry) -> bool:
    """Whether an open file reads as zeros where the checkpoint has holes. Raises OSError."""
    for offset, length in holes(entry):
        for start, stop in _data_in(fd, offset, offset + length):
            at = start
            while at < stop:
                piece = os.pread(fd, min(MIB, stop - at), at)
                if not piece or piece.count(0) != len(piece):
                    return False
                at += len(piece)
    return True


def has_filled_holes(fd: int, entry: Entry) -> bool:
    """Whether something takes room where the checkpoint has holes. Raises OSError."""
    return any(True for offset, length in holes(entry) for _ in _data_in(fd, offset, offset + length))


def open_holes(fd: int, entry: Entry) -> None:
    """Give back the room that zeros take where the checkpoint has holes. The file must be open for writing."""
    for offset, length in holes(entry):
        if any(True for _ in _data_in(fd, offset, offset + length)):
            to_end = offset + length == entry.size  # then the last block goes as a whole, or it would stay
            punch(fd, offset, length + (_LARGEST_BLOCK if to_end else 0))
