"""The journal's reading end: entries in order, as far as they are whole; files that were landed are removed."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import pairwise

from knowngood.core.sizes import MIB
from knowngood.kinds.files.journal.entries import FILE_HEAD, MAGIC, Entry, Torn, unpack
from knowngood.kinds.files.journal.writing import file_name, file_numbers

_BLOCK = 4 * MIB
_END = (1 << 63) - 1


class JournalBroken(Exception):
    """Entries are missing: the files that had them are gone, or damaged."""


class JournalReader:
    """Reads on from an entry, while others append."""

    def __init__(self, folder: str, number: int) -> None:
        """`number` is that of the first entry to be read."""
        self.next = number
        self._folder = folder
        self._fd = -1
        self._at = 0
        self._file = -1

    def read(self, size: int) -> list[Entry]:
        """The next entries, of about so many bytes at most; none when there are no more now. Raises JournalBroken."""
        found: list[Entry] = []
        while size > 0:
            try:
                if self._fd < 0 and not self._open():
                    break
                entries, used = self._some()
                found += entries
                size -= used
                if not entries and not self._move_on():
                    break
            except JournalBroken:
                if not found:
                    raise
                break  # it comes again
        return found

    def discard(self, number: int) -> bool:
        """Entries before this one are not needed any more; whether a file has gone. Raises OSError."""
        gone = False
        for first, following in pairwise(file_numbers(self._folder)):
            if following <= min(number, self.next):
                if first == self._file:
                    self.close()
                os.unlink(os.path.join(self._folder, file_name(first)))
                gone = True
        return gone

    def skip(self) -> None:
        """Go on after entries that are missing, as far as there is anything."""
        self.close()
        self.next = min((each for each in file_numbers(self._folder) if each > self.next), default=self.next)

    def close(self) -> None:
        """Close what is open."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _some(self) -> tuple[list[Entry], int]:
        data, at, found = os.pread(self._fd, _BLOCK, self._at), 0, list[Entry]()
        with suppress(Torn):
            while True:
                entry, at = unpack(data, at, self.next)
                found.append(entry)
                self.next += 1
        self._at += at  # what is not whole is read again: it may be whole by then
        return found, at

    def _open(self) -> bool:
        """Open the file with the next entry; False when there is none yet."""
        numbers = [each for each in file_numbers(self._folder) if each <= self.next]
        later = file_numbers(self._folder)
        if not numbers:
            if later:
                raise JournalBroken
            return False
        self._file = numbers[-1]
        self._fd = os.open(os.path.join(self._folder, file_name(self._file)), os.O_RDONLY | os.O_CLOEXEC)
        magic, first = FILE_HEAD.unpack(os.pread(self._fd, FILE_HEAD.size, 0).ljust(FILE_HEAD.size, b"\0"))
        if (magic, first) != (MAGIC, self._file):
            self.close()
            if self._file == max(later):
                return False  # it is being begun
            raise JournalBroken
        self._at = FILE_HEAD.size
        wanted, self.next = self.next, first
        while self.next < wanted:
            entries = self._skip(wanted)
            if not entries:
                self.close()
                raise JournalBroken
        return True

    def _skip(self, wanted: int) -> bool:
        """Go over entries up to one; False when there are none."""
        data, at, any_found = os.pread(self._fd, _BLOCK, self._at), 0, False
        with suppress(Torn):
            while self.next < wanted:
                _, at = unpack(data, at, self.next)
                self.next += 1
                any_found = True
        self._at += at
        return any_found

    def _move_on(self) -> bool:
        """Go to the file after this one, once it is there; whatever of this one is not whole never will be."""
        following = min((each for each in file_numbers(self._folder) if each > self._file), default=_END)
        if following == _END:
            return False
        before = self.next
        if self._some_more():
            return True
        self.close()
        if following != before:
            raise JournalBroken
        return True

    def _some_more(self) -> bool:
        """Whether there is more in this file, that came before the file after it."""
        data = os.pread(self._fd, _BLOCK, self._at)
        with suppress(Torn):
            unpack(data, 0, self.next)
            return True
        return False


def newest_entry(folder: str) -> int:
    """The number after the last whole entry of a journal; 0 when there is none. Raises JournalBroken, OSError."""
    numbers = file_numbers(folder)
    if not numbers:
        return 0
    reader = JournalReader(folder, numbers[-1])
    try:
        while reader.read(_BLOCK):
            pass
        return reader.next
    finally:
        reader.close()
