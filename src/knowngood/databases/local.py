"""Local copies of what no committed checkpoint has yet: the ends of files that grow. Root-only, beside other state."""

from __future__ import annotations

import contextlib
import os
import shutil

_NAME_BYTES = 120  # of a path that may stand in a file name as hex digits


class LocalFiles:
    """Files by their path in the image. What is here can always be fetched from the server again."""

    def __init__(self, folder: str) -> None:
        """A folder of its own, which need not exist."""
        self._folder = folder
        self._open: dict[bytes, int] = {}
        os.makedirs(folder, mode=0o700, exist_ok=True)

    def begin(self, path: bytes) -> None:
        """A new, empty file; one of the same path goes."""
        self.drop(path)
        self._open[path] = os.open(self._where(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def write(self, path: bytes, offset: int, data: bytes) -> None:
        """Write bytes at an offset. Raises OSError."""
        fd, view = self._fd(path), memoryview(data)
        while view:
            count = os.pwrite(fd, view, offset)
            view, offset = view[count:], offset + count

    def read(self, path: bytes, offset: int, length: int) -> bytes:
        """Bytes from an offset; fewer when there are fewer. Raises OSError."""
        return os.pread(self._fd(path), length, offset)

    def sync(self, path: bytes) -> None:
        """Return when all of a file is on stable storage. Raises OSError."""
        os.fdatasync(self._fd(path))

    def drop(self, path: bytes) -> None:
        """Remove a file; no error when there is none."""
        fd = self._open.pop(path, -1)
        if fd >= 0:
            os.close(fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._where(path))

    def clear(self) -> None:
        """Remove all."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)

    def close(self) -> None:
        """Close what is open."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def _fd(self, path: bytes) -> int:
        if path not in self._open:
            self._open[path] = os.open(self._where(path), os.O_RDWR | os.O_CLOEXEC)
        return self._open[path]

    def _where(self, path: bytes) -> str:
        assert len(path) <= _NAME_BYTES
        return os.path.join(self._folder, path.hex())
