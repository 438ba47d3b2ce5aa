"""The journal's writing end: entries are appended in the order in which changes were made, and made durable in groups.

Each entry is written at once, so that one survives the death of this process; `sync` lets those survive a power cut.
When too much waits to be landed, writers are slowed down first; at the bound, or when the disk is full, nothing is
journalled any more: what is protected goes on, and the reader learns that something was lost.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from knowngood.core.buffers import Buffer
from knowngood.core.instants import now_ns
from knowngood.core.sizes import GIB, MIB
from knowngood.kinds.files.journal.entries import FILE_HEAD, MAGIC, Draft, Special, draft, pack

FOLDER = "entries"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PARTS = 512  # of one writev(2), which takes 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a journal may become. Bytes, and seconds."""

    file: int = 16 * MIB  # of one file: what is landed goes file by file
    total: int = GIB  # beyond it nothing is journalled
    slow: float = 0.5  # of `total`: from here on writers are slowed down
    slowest: float = 0.02  # so long is a write held up just before the bound


def file_name(number: int) -> str:
    """The name of the file whose first entry has this number."""
    return f"{number:020d}"


def file_numbers(folder: str) -> list[int]:
    """The numbers of the first entries of all files, ascending."""
    return sorted(int(each) for each in os.listdir(folder) if each.isdigit() and len(each) == 20)


class JournalWriter:
    """Appends entries; `append` is called by one thread at a time, `sync` by many."""

    def __init__(self, folder: str, number: int, bounds: Bounds, *, begins: bool = True) -> None:
        """`number` is that of the first entry; `begins`: nobody knows what happened before it. Raises OSError."""
        self.next = number
        self.lost = ""  # why nothing is journalled any more
        self.waiting = 0  # bytes that were not landed yet, about
        self._folder = folder
        self._bounds = bounds
        self._slow = bounds.slow * bounds.total
        self._fd = -1
        self._full: list[int] = []  # files that are full, and not durable yet
        self._size = 0
        self._syncing = threading.Condition()
        self._durable = number  # entries before this one are durable
        self._busy = False
        self._directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._roll()
        if begins:
            self.append([draft(Special.BEGINS, now_ns())])

    def append(self, drafts: Iterable[Draft]) -> None:
        """Append entries that belong together. Never fails: see `lost`."""
        if self.lost:
            return
        parts: list[Buffer] = []
        following = self.next
        for each in drafts:
            parts += pack(following, each)
            following += 1
        try:
            self._write(parts)
            self.next = following  # and not before: who syncs meanwhile must not take it for durable
            if self._size >= self._bounds.file:
                self._roll()
        except OSError as wrong:
            self.lose("its disk is full" if wrong.errno in _FULL else f"it cannot be written: {wrong.strerror}")
            return
        if self.waiting >= self._bounds.total:
            self.lose("too much waits to be landed")

    def delay(self) -> float:
        """How long, in seconds, a writer is to be held up now: nothing, as long as the journal is short."""
        if self.waiting < self._slow:
            return 0.0
        share = self.waiting / self._bounds.total
        over = (share - self._bounds.slow) / (1 - self._bounds.slow)
        return self._bounds.slowest * min(1.0, over) if over > 0 and not self.lost else 0.0

    def lose(self, why: str) -> None:
        """Journal nothing from here on."""
        if self.lost:
            return
        with suppress(OSError):
            os.ftruncate(self._fd, self._size)
            self._write(pack(self.next, draft(Special.LOST, now_ns(), second=why.encode())))
            self.next += 1
        self.lost = why

    def resume(self) -> None:
        """Journal again, what was lost stays lost. Raises OSError."""
        self._roll()
        self.lost = ""
        self.append([draft(Special.BEGINS, now_ns())])

    def sync(self) -> None:
        """Return when all that was appended is durable. Those who come while it is at work share the next turn.

        Raises OSError when that cannot be.
        """
        with self._syncing:
            wanted = self.next
            while self._busy and self._durable < wanted:
                self._syncing.wait()
            if self._durable >= wanted:
                return
            self._busy, upto = True, self.next
            files, self._full = [*self._full, os.dup(self._fd)], []
        try:
            for fd in files:
                os.fdatasync(fd)
            os.fsync(self._directory)
        except OSError:
            upto = 0
            raise
        finally:
            for fd in files:
                os.close(fd)
            with self._syncing:
                self._busy = False
                self._durable = max(self._durable, upto)
                self._syncing.notify_all()

    def close(self, *, ends: bool) -> None:
        """Close it; `ends`: as it should be."""
        if ends:
            self.append([draft(Special.ENDS, now_ns())])
        with suppress(OSError):
            self.sync()
        for fd in (*self._full, self._fd, self._directory):
            os.close(fd)

    def _write(self, parts: list[Buffer]) -> None:
        size, done = sum(map(len, parts)), 0
        while parts:
            done += os.writev(self._fd, parts[:_PARTS])
            parts = parts[_PARTS:]
        if done != size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += size
        self.waiting += size

    def _roll(self) -> None:
        """Begin a new file. It, and the one before, are durable at the next `sync`."""
        path = os.path.join(self._folder, file_name(self.next))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.write(fd, FILE_HEAD.pack(MAGIC, self.next))
        with self._syncing:
            if self._fd >= 0:
                self._full.append(self._fd)
            self._fd = fd
        self._size = FILE_HEAD.size
        self.recount()

    def recount(self) -> None:
        """See how much is waiting: files that were landed are gone."""
        sizes = 0
        for number in file_numbers(self._folder):
            with suppress(OSError):  # it was landed just now
                sizes += os.stat(os.path.join(self._folder, file_name(number))).st_size
        self.waiting = sizes
