"""The content of one file while changes are replayed on it: what was written lies over what was stored.

What was written is kept by areas of the file, each with its few pieces in order. An area that gets too many of them is
written anew into the scratch, as one: memory is bounded by how much of a file changed, not by how often it did.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from knowngood.tree.block import Entry
from knowngood.tree.sources import Scratch, Sources
from knowngood.tree.stored import Piece, Source, Stored

_SHIFT = 20  # areas of 1 MiB
_AREA = 1 << _SHIFT
CROWD = 512  # so many pieces of an area at most; one takes about 200 bytes of memory


class Pieces:
    """The content of a file. Offsets and lengths in bytes."""

    def __init__(self, entry: Entry | None, sources: Sources, scratch: Scratch) -> None:
        """Begin with the content of an entry, or with none."""
        self.size = entry.size if entry else 0
        self._entry = entry
        self._stored: Stored | None = None  # made when it is first asked for
        self._below = [(0, self.size)] if self.size else []  # what of the stored content still counts
        self._areas: dict[int, list[Piece]] = {}
        self._sources = sources
        self._scratch = scratch

    # ------------------------------------------------------------------------------------------------------- changes

    def lay(self, start: int, end: int, source: Source, at: int = 0) -> None:
        """Bytes from a source take the place of what is there; the file grows as needed."""
        self.size = max(self.size, end)
        low = start
        while low < end:
            number = low >> _SHIFT
            high = min(end, (number + 1) << _SHIFT)
            pieces = self._areas.setdefault(number, [])
            _lay(pieces, (low, high, source, at + low - start))
            if len(pieces) > CROWD:
                self._thin_out(number)
            low = high

    def zero(self, start: int, end: int) -> None:
        """Zeros take the place of what is there, as a hole where that makes whole blocks; the file grows as needed."""
        self.size = max(self.size, end)
        first, last = -(-start // _AREA), end // _AREA
        if first >= last:
            self.lay(start, end, None)
            return
        self.lay(start, first << _SHIFT, None)
        self.lay(last << _SHIFT, end, None)
        for number in self._numbers(first, last):
            del self._areas[number]
        low, high = first << _SHIFT, last << _SHIFT
        self._below = [
            part for a, b in self._below for part in ((a, min(b, low)), (max(a, high), b)) if part[0] < part[1]
        ]

    def truncate(self, size: int) -> None:
        """The file ends there; a hole follows what it had when that was less."""
        if size < self.size:
            number = size >> _SHIFT
            for beyond in self._numbers(number + 1, (self.size >> _SHIFT) + 1):
                del self._areas[beyond]
            if kept := self._areas.get(number):
                _lay(kept, (size, (number + 1) << _SHIFT, None, 0))
                kept.pop()
            self._below = [(low, min(high, size)) for low, high in self._below if low < size]
        self.size = size

    def _thin_out(self, number: int) -> None:
        """Make fewer pieces of an area: what was written side by side becomes one; if that is not enough, all does."""
        pieces = self._areas[number]
        fewer: list[Piece] = []
        at = 0
        while at < len(pieces):
            end = at + 1
            while end < len(pieces) and _joins(pieces[end - 1], pieces[end]):
                end += 1
            first = pieces[at]
            one = first if end == at + 1 else self._as_one(first[0], pieces[end - 1][1], zeros=first[2] is None)
            fewer.append(one)
            at = end
        if len(fewer) > CROWD // 2:
            fewer = [self._as_one(number << _SHIFT, min(self.size, (number + 1) << _SHIFT))]
        self._areas[number] = fewer

    def _as_one(self, start: int, end: int, *, zeros: bool = False) -> Piece:
        if zeros:
            return start, end, None, 0
        return start, end, self._scratch.put(self.read(start, end)), 0

    # ------------------------------------------------------------------------------------------------------- reading

    def read(self, start: int, end: int) -> bytearray:
        """The bytes between two offsets; zeros where there are none. Raises Damaged, NotFound, Locked."""
        return self._sources.read(self.pieces(start, end), start, end)

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """The data between two offsets, in order; holes and zeros are left out."""
        at = start
        for piece in self._laid(start, end):
            if piece[0] > at:
                yield from self._unchanged(at, piece[0])
            if piece[2] is not None:
                yield piece
            at = piece[1]
        yield from self._unchanged(at, end)

    def _laid(self, start: int, end: int) -> Iterator[Piece]:
        for number in self._numbers(start >> _SHIFT, ((end - 1) >> _SHIFT) + 1):
            for low, high, source, at in self._areas[number]:
                if low < end and high > start:
                    cut = max(0, start - low)
                    yield low + cut, min(high, end), source, at + cut

    def _unchanged(self, start: int, end: int) -> Iterator[Piece]:
        number = max(0, bisect_right(self._below, (start, self.size)) - 1)
        for low, high in self._below[number:]:
            if low >= end or start >= end:
                return
            if high > start:
                if self._stored is None:
                    assert self._entry is not None
                    self._stored = Stored(self._entry)
                yield from self._stored.pieces(max(low, start), min(high, end))

    def _numbers(self, first: int, last: int) -> list[int]:
        """Numbers of the areas with pieces, from the first to before the last, in order."""
        if last - first <= len(self._areas):
            return [number for number in range(first, last) if number in self._areas]
        return sorted(number for number in self._areas if first <= number < last)


def _joins(before: Piece, after: Piece) -> bool:
    """Whether two pieces are side by side, and can be made one without asking the vault."""
    if before[1] != after[0]:
        return False
    return (before[2] is None and after[2] is None) or (isinstance(before[2], int) and isinstance(after[2], int))


def _lay(pieces: list[Piece], piece: Piece) -> None:
    """Put a piece among those of an area; what it covers goes."""
    start, end = piece[0], piece[1]
    if start == end:
        return
    if not pieces or pieces[-1][1] <= start:
        pieces.append(piece)
        return
    low = bisect_left(pieces, (start,))
    if low and pieces[low - 1][1] > start:
        low -= 1
    high = bisect_left(pieces, (end,), low)
    new = [piece]
    if low < high:
        first, last = pieces[low], pieces[high - 1]
        if first[0] < start:
            new.insert(0, (first[0], start, first[2], first[3]))
        if last[1] > end:
            new.append((end, last[1], last[2], last[3] + end - last[0]))
    pieces[low:high] = new
