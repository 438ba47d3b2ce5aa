"""Which parts of large files changed, where somebody tells every write: what is elsewhere need not be read again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from knowngood.core.sizes import KIB

GRAIN = 64 * KIB
_MOST = 200_000  # parts of one file; beyond it all of the file is taken as changed
_FILES = 100_000  # of which parts are known at once
_WHOLE = 1 << 63


@dataclass(slots=True)
class Dirtied:
    """Parts of one file, in grains, and all from `valid` on."""

    grains: set[int] = field(default_factory=set)
    valid: int = _WHOLE

    def write(self, offset: int, length: int) -> None:
        """These bytes changed."""
        if length > 0:
            self.grains.update(range(offset // GRAIN, (offset + length - 1) // GRAIN + 1))
            if len(self.grains) > _MOST:
                self.valid = 0
                self.grains.clear()

    def cut(self, length: int) -> None:
        """What was beyond this is gone, or zero."""
        self.valid = min(self.valid, length)

    def merge(self, other: Dirtied) -> None:
        """What another one says, too."""
        self.grains |= other.grains
        self.valid = min(self.valid, other.valid)

    def touches(self, start: int, end: int) -> bool:
        """Whether any of these bytes may have changed."""
        return end > self.valid or any(each in self.grains for each in range(start // GRAIN, (end - 1) // GRAIN + 1))

    def ranges(self, size: int) -> Iterator[tuple[int, int]]:
        """(start, end) of what may have changed in a file that is now so long, in order."""
        valid = min(self.valid, size)
        start = end = 0
        for grain in sorted(self.grains):
            low, high = grain * GRAIN, min((grain + 1) * GRAIN, valid)
            if low >= valid:
                break
            if low > end:
                if end > start:
                    yield start, end
                start = low
            end = high
        if valid < size:
            if valid > end:
                if end > start:
                    yield start, end
                start = valid
            end = size
        if end > start:
            yield start, end


class Parts:
    """What changed in files, by their inode numbers, since they were read."""

    def __init__(self) -> None:
        self._now: dict[int, Dirtied] = {}
        self._before: dict[int, Dirtied] = {}  # what a reading that is not over is about
        self._any = False  # too many changed: nothing is known of any

    def of(self, inode: int) -> Dirtied:
        """To be told of what changes in a file."""
        found = self._now.get(inode)
        if found is None:
            if len(self._now) > _FILES:
                self._any = True
                self._now.clear()
            found = self._now[inode] = Dirtied()
        return found

    def find(self, inode: int) -> Dirtied | None:
        """What changed in a file since it was read; None when that is not known."""
        if self._any:
            return None
        found = Dirtied()
        for each in (self._before, self._now):
            if inode in each:
                found.merge(each[inode])
        return found

    def begin(self) -> None:
        """A reading begins: what is told from now on is for the next one."""
        for inode, each in self._now.items():
            self._before.setdefault(inode, Dirtied()).merge(each)
        self._now = {}

    def done(self, inodes: Iterable[int]) -> None:
        """The reading is over: what is in these files is known."""
        for each in inodes:
            self._before.pop(each, None)

    def done_all(self) -> None:
        """The reading is over: what is in all files is known."""
        self._before, self._any = {}, False

    def forget(self) -> None:
        """Nobody knows what changed, until all files are read."""
        self._before, self._now, self._any = {}, {}, True
