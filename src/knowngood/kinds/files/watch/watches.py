"""Which directory each inotify watch is of: by number, by key, and all below a key."""

from __future__ import annotations

from knowngood.kinds.files.watch.dirty import own_entry
from knowngood.kinds.files.watch.scope import Folder


class Watches:
    """The watched directories; about 400 bytes each."""

    def __init__(self) -> None:
        self._folders: dict[int, Folder] = {}
        self._numbers: dict[bytes, int] = {}
        self._inner: dict[bytes, set[bytes]] = {}  # key → keys of the watched directories in it

    def __contains__(self, key: bytes) -> bool:
        return key in self._numbers

    def get(self, number: int) -> Folder | None:
        """The directory of a watch."""
        return self._folders.get(number)

    def add(self, number: int, folder: Folder) -> int | None:
        """A watch is of this directory now; it may have been of one with another key.

        Returns the watch that had this key before: its directory has gone from there.
        """
        self.remove(number)
        former = self._numbers.get(folder.key)
        if former is not None:
            self.remove(former)
        self._folders[number] = folder
        self._numbers[folder.key] = number
        if folder.key:
            self._inner.setdefault(own_entry(folder.key)[0], set()).add(folder.key)
        return former

    def remove(self, number: int) -> None:
        """A watch has ended; those below its directory go on."""
        folder = self._folders.pop(number, None)
        if folder is None:
            return
        del self._numbers[folder.key]
        if folder.key:
            above = own_entry(folder.key)[0]
            beside = self._inner[above]
            beside.discard(folder.key)
            if not beside:
                del self._inner[above]

    def below(self, key: bytes) -> list[int]:
        """The watches of a directory and of all below it."""
        found: list[int] = []
        ahead = [key]
        while ahead:
            here = ahead.pop()
            ahead += self._inner.get(here, ())
            if (number := self._numbers.get(here)) is not None:
                found.append(number)
        return found
