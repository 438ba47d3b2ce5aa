"""From the bytes of an open regular file to streams of data: where it has holes, and what is between them."""

from __future__ import annotations

import errno
import os

from knowngood.core.sizes import KIB
from knowngood.tree.content import Extents, joined

SINGLE_BYTES = 256 * KIB  # the chunker's minimum: content up to here is one chunk, without asking the chunker


def data_extents(fd: int, size: int, limit: int) -> Extents:
    """Where a file of `size` bytes holds data; empty when it has no hole, one empty extent when it is all hole.

    Beyond `limit` extents, the smallest holes are taken as data. Raises OSError.
    """
    found: Extents = []
    at, smallest = 0, 1
    while at < size and (data := _next_data(fd, at)) < size:
        at = min(os.lseek(fd, data, os.SEEK_HOLE), size)
        found.append((data, at - data))
        while len(found) > limit:
            smallest *= 2
            found = joined(found, smallest)
    return [] if found == [(0, size)] else found or [(0, 0)]


def _next_data(fd: int, at: int) -> int:
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as wrong:
        if wrong.errno == errno.ENXIO:  # nothing but a hole to the end
            return 1 << 63
        raise


def clipped(extents: Extents, length: int) -> Extents:
    """The extents that hold the first `length` bytes of data: what is left when a file was cut off meanwhile."""
    found: Extents = []
    for offset, size in extents:
        if length <= 0:
            break
        found.append((offset, min(size, length)))
        length -= size
    return found or [(0, 0)]


class DataStream:
    """Reads the data of a file, extent after extent, as one stream."""

    def __init__(self, fd: int, extents: Extents, skip: int = 0) -> None:
        """Begin after `skip` bytes of data."""
        self._fd = fd
        self._extents = iter(extents)
        self._at = self._left = 0
        self.count = 0  # bytes read
        while skip:
            self._at, length = next(self._extents)
            used = min(skip, length)
            self._at, self._left, skip = self._at + used, length - used, skip - used

    def fill(self, view: memoryview) -> int:
        """Read into a view; 0 at the end, or where the file ends now. Raises OSError."""
        while not self._left:
            extent = next(self._extents, None)
            if extent is None:
                return 0
            self._at, self._left = extent
        count = os.preadv(self._fd, [view[: self._left]], self._at)
        self._at += count
        self._left -= count
        self.count += count
        return count

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer at the end."""
        buffer = memoryview(bytearray(size))
        at = 0
        while at < size and (count := self.fill(buffer[at:])):
            at += count
        return bytes(buffer[:at])


def read_plain(fd: int, size: int) -> bytes:
    """The first `size` bytes of a small file; fewer if it is shorter now. Raises OSError."""
    data = os.pread(fd, size, 0)
    while len(data) < size and (more := os.pread(fd, size - len(data), len(data))):
        data += more
    return data
