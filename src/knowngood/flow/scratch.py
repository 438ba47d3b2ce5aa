"""Scratch: bytes that a log brings lie in a file without a name while they are needed, so that they take no memory."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO

from knowngood.core.buffers import Buffer
from knowngood.core.errors import KnowngoodError, NoSpace
from knowngood.core.sizes import MIB

WAITING = MIB
"""So many bytes wait in memory, and are written at once: a log of small files is many small pieces."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class FileScratch:
    """A scratch (port of tree/replay) in a folder. A context manager; what it holds goes with it, however it ends.

    The file is made when there are bytes enough for one. Memory: 1 MiB, and about 40 bytes for each `put`. Reading is
    for many threads.
    """

    def __init__(self, folder: Callable[[], str]) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._starts: list[int] = [0]
        self._written = 0  # bytes that are in the file; those after them wait
        self._waiting = bytearray()
        self._lock = threading.Lock()

    def __enter__(self) -> FileScratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Throw away what it holds."""
        if self._file is not None:
            self._file.close()

    def put(self, data: Buffer) -> int:
        """Take some bytes; return a handle. Raises NoSpace; KnowngoodError when there cannot be a file."""
        view = memoryview(data).cast("B")
        with self._lock:
            if len(self._waiting) + len(view) > WAITING:
                self._write(self._waiting)
                self._waiting = bytearray()
            if len(view) > WAITING:
                self._write(view)
            else:
                self._waiting += view
        self._starts.append(self._starts[-1] + len(view))
        return len(self._starts) - 2

    def _write(self, data: Buffer) -> None:
        view, at = memoryview(data), 0
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder(), buffering=0)  # noqa: SIM115 closed on leaving
            while at < len(view):
                at += os.pwrite(self._file.fileno(), view[at:], self._written + at)
        except OSError as wrong:
            raise _mapped(wrong) from wrong
        self._written += at

    def get(self, handle: int, offset: int, length: int) -> bytes:
        """Bytes of what was put under a handle."""
        start, end = self._starts[handle], self._starts[handle + 1]
        length = min(length, end - start - offset)
        if length <= 0:
            return b""
        with self._lock:
            if start >= self._written:
                at = start - self._written + offset
                return bytes(self._waiting[at : at + length])
        assert self._file is not None
        try:
            found = os.pread(self._file.fileno(), length, start + offset)
            while len(found) < length and (more := os.pread(self._file.fileno(), length, start + offset + len(found))):
                found += more[: length - len(found)]
        except OSError as wrong:
            raise _mapped(wrong) from wrong
        return found


def _mapped(wrong: OSError) -> KnowngoodError:
    what = f"the bytes of the log cannot be laid down for a while: {os.strerror(wrong.errno or 0).lower()}"
    if wrong.errno in _FULL:
        return NoSpace(what, hint="free some room on the disk of the home")
    return KnowngoodError(what, hint="the home has to be writable for this; or choose a point by its id")
