"""What a follower remembers between processes: its image at the last committed checkpoint."""

from __future__ import annotations

import contextlib
import fcntl
import os

import msgspec

from knowngood.core.errors import Busy
from knowngood.databases.image import ImageState

_VERSION = 1


class Known(msgspec.Struct, array_like=True):
    """A checkpoint, the position of the server's log at it, and its image."""

    version: int
    checkpoint: bytes
    position: bytes
    image: ImageState
    local: str = ""  # the folder of its local files; empty for the first one


class Remembered:
    """One file, replaced as a whole."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = os.path.join(folder, "image")

    def load(self) -> Known | None:
        """What was remembered; None when there is nothing that can be read."""
        try:
            with open(self._path, "rb") as file:
                known = msgspec.msgpack.decode(file.read(), type=Known)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return known if known.version == _VERSION else None

    def save(self, checkpoint: bytes, position: bytes, image: ImageState, local: str = "") -> None:
        """Remember it, durably. Raises OSError."""
        data = msgspec.msgpack.encode(Known(_VERSION, checkpoint, position, image, local))
        fresh = self._path + ".new"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.rename(fresh, self._path)
        _sync_folder(self._folder)

    def forget(self) -> None:
        """Remember nothing."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


class Holding:
    """Says that a state folder is in use, until it is closed or the process ends."""

    def __init__(self, folder: str) -> None:
        """Raises Busy when somebody else uses it."""
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._fd = os.open(os.path.join(folder, "in-use"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise Busy("this database is being followed, or captured, by another process") from None

    def close(self) -> None:
        """Use it no longer."""
        os.close(self._fd)


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
