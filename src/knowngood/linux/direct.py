"""Long runs of bytes go to the disk past the page cache, where the file system lets them.

Nobody reads a pack soon after it was written, and of a recovery it is asked that it is on the disk; in the cache both
would take the place of what the services read. And the copy costs: on a virtual machine whose free memory the host has
taken back, each page of the cache is fetched from the host when it is first touched, and that was 43 % of all time of
a first protection (docs/performance.md).
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from knowngood.core.buffers import Buffer
from knowngood.core.sizes import MIB

_BLOCK = 4096  # open(2), O_DIRECT: memory, offsets and lengths are multiples of the disk's blocks
_ROOM_BYTES = 4 * MIB


def open_direct(path: str | bytes) -> int | None:
    """A file opened once more, for writing past the cache; None where its file system knows no such way.

    Raises OSError.
    """
    try:
        return os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as wrong:
        if wrong.errno != errno.EINVAL:
            raise
        return None


class DirectRuns:
    """Writes runs. Keeps as many buffers of 4 MiB as there were writers at once; for any number of threads."""

    def __init__(self) -> None:
        self._rooms: list[mmap.mmap] = []

    def write(self, plain: int, direct: int, at: int, parts: Iterable[Buffer]) -> None:
        """Write parts one after the other, from the offset `at` on, into a file that is open in both ways.

        What does not fill a block goes through the cache. Nothing is durable before the file is synced. Raises OSError,
        and what the parts raise when they are asked for.
        """
        with self._room() as room:
            begin = at % _BLOCK
            for end in _fill(room, begin, parts):
                at -= begin
                first = min(_BLOCK, end) if begin else 0
                last = max(first, end - end % _BLOCK)
                _write(plain, room[begin:first], at + begin)
                _write_blocks(plain, direct, room[first:last], at + first)
                _write(plain, room[last:end], at + last)
                at, begin = at + end, 0

    @contextmanager
    def _room(self) -> Iterator[memoryview]:
        room = self._rooms.pop() if self._rooms else mmap.mmap(-1, _ROOM_BYTES)  # its pages are whole ones
        with memoryview(room) as view:
            yield view
        self._rooms.append(room)


def _fill(room: memoryview, begin: int, parts: Iterable[Buffer]) -> Iterator[int]:
    """Lay the parts into the room, again and again, the first time from `begin` on; each time, where they end."""
    end = begin
    for part in parts:
        data = memoryview(part).cast("B")
        while len(data):
            count = min(len(data), len(room) - end)
            room[end : end + count] = data[:count]
            end, data = end + count, data[count:]
            if end == len(room):
                yield end
                end = 0
    if end:
        yield end


def _write_blocks(plain: int, direct: int, view: memoryview, at: int) -> None:
    while len(view):
        try:
            count = os.pwrite(direct, view, at)
        except OSError as wrong:
            if wrong.errno != errno.EINVAL:
                raise
            return _write(plain, view, at)  # the disk wants larger blocks, or a part of one is left
        at, view = at + count, view[count:]
    return None


def _write(plain: int, view: memoryview, at: int) -> None:
    while len(view):
        count = os.pwrite(plain, view, at)
        at, view = at + count, view[count:]
