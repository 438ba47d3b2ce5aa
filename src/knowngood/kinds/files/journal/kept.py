"""What has to outlive the keeper: how far the journal is in the log, and what was changed since the base.

All of it only saves work and gaps: where it is lost or contradicts the log, a gap is recorded and all is read again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import TypeVar

import msgspec

from knowngood.core.ids import Name
from knowngood.core.malformed import MALFORMED
from knowngood.kinds.files.follow.advance import Base
from knowngood.kinds.files.follow.feed import Place

_CURSOR, _BASE, _TOUCHED = "cursor", "base", "touched"
_LIMIT = 1 << 28  # bytes of a file that is read
_T = TypeVar("_T")
_places = msgspec.msgpack.Decoder(tuple[bytes, bytes])


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """The log's state at record `log` is that of the tree at entry `entry`; at `giving_log`, that at `giving`: which
    one is so is seen at the end of the log. Nothing is known when not `exact`."""

    exact: bool = False
    entry: int = -1
    log: int = -1
    giving: int = -1
    giving_log: int = -1

    def at(self, log: int) -> int | None:
        """The entry at which the tree was as the log is at its end; None when nobody knows."""
        if not self.exact or log < 0:
            return None
        if log == self.giving_log:
            return self.giving
        return self.entry if log == self.log else None


class KeptBase(msgspec.Struct, frozen=True, kw_only=True):
    """The checkpoint on which the log goes on, and its tree."""

    base: Base
    root: bytes


class Kept:
    """The files of one journal. What is written is durable when a call returns; calls raise OSError."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.cursor = self._read(_CURSOR, Cursor) or Cursor()
        self._places: set[Place] = set()
        self._file = -1

    def promise(self, cursor: Cursor) -> None:
        """Keep where the log will be."""
        if cursor != self.cursor:
            self._write(_CURSOR, cursor)
            self.cursor = cursor

    # ----------------------------------------------------------------------------------------------------- the base

    def base(self) -> tuple[Base, Name] | None:
        """The base that was kept last, with its tree's root."""
        found = self._read(_BASE, KeptBase)
        return (found.base, Name(found.root)) if found else None

    def rebase(self, base: Base, root: Name) -> None:
        """There is another base: nothing was changed since."""
        self._write(_BASE, KeptBase(base=base, root=bytes(root)))
        self.close()
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self._folder, _TOUCHED))
        self._places.clear()

    def touched(self) -> set[Place]:
        """What was changed since the base."""
        found: set[Place] = set()
        with suppress(OSError, *MALFORMED), open(os.path.join(self._folder, _TOUCHED), "rb") as file:
            while head := file.read(4):
                found.add(_places.decode(file.read(int.from_bytes(head, "little"))))
        self._places = set(found)
        return found

    def touch(self, places: Iterable[Place]) -> None:
        """These were changed since the base."""
        new = set(places) - self._places
        if not new:
            return
        if self._file < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(os.path.join(self._folder, _TOUCHED), flags, 0o600)
        packed = [msgspec.msgpack.encode(each) for each in new]
        os.write(self._file, b"".join(len(each).to_bytes(4, "little") + each for each in packed))
        os.fdatasync(self._file)
        self._places |= new

    def close(self) -> None:
        """Close what is open."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    # ---------------------------------------------------------------------------------------------------------- files

    def _read(self, name: str, what: type[_T]) -> _T | None:
        with suppress(OSError, msgspec.MsgspecError), open(os.path.join(self._folder, name), "rb") as file:
            return msgspec.msgpack.decode(file.read(_LIMIT), type=what)
        return None

    def _write(self, name: str, what: object) -> None:
        path = os.path.join(self._folder, name)
        with open(path + ".new", "wb") as file:
            file.write(msgspec.msgpack.encode(what))
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + ".new", path)
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
