"""Directories of a component by key, opened below each other: never through a symlink, never out of the component."""

from __future__ import annotations

import errno
import os

from knowngood.core.errors import Busy, KnowngoodError, NotFound
from knowngood.kinds.files.handles import Handles

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class Unseen(Exception):
    """Nobody can say now what is in a directory."""


class Folders:
    """Open directories along the path to the one that was asked for last: ask in tree order."""

    def __init__(self, path: bytes, limit: int) -> None:
        """Raises NotFound when the component is gone."""
        try:
            root = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"there is no folder at {os.fsdecode(path)}") from None
        except OSError as wrong:
            raise KnowngoodError(f"cannot open {os.fsdecode(path)}: {wrong.strerror}") from None
        self.root = os.fstat(root)
        self._handles = Handles(root, limit)
        self._here: list[bytes] = []

    def open(self, key: bytes) -> int | None:
        """A descriptor that stays open until the next call; None when there is no such directory.

        Raises Unseen, and Busy when the system is short of something.
        """
        parts = key.split(b"\0") if key else []
        try:
            while self._here != parts[: len(self._here)]:
                self._here.pop()
                self._handles.leave()
            for name in parts[len(self._here) :]:
                self._handles.enter(name)
                self._here.append(name)
            return self._handles.fd
        except OSError as wrong:
            if wrong.errno in _SHORT:
                raise Busy("the system is short of resources", hint="look at: ulimit -n; free -m") from None
            if wrong.errno in _GONE:
                return None
            raise Unseen from None

    def close(self) -> None:
        """Close all."""
        self._handles.close()
