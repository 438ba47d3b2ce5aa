"""What has to be there after a power cut, by what the run had said before it; and what was found there."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from knowngood.core.log import LogRecord


class Place(Enum):
    """Where a point is: nowhere, among those that are seen, or hidden and to be brought back."""

    NOWHERE = auto()
    SEEN = auto()
    HIDDEN = auto()


@dataclass
class Found:
    """What somebody found who opened the vault after a cut. Points by the number that their content follows from."""

    opens: frozenset[str] = frozenset()  # passphrases that open it
    there: bool = True
    points: dict[int, tuple[Place, bool]] = field(default_factory=dict[int, tuple[Place, bool]])  # and whether whole
    log: tuple[int, list[LogRecord]] | None = None  # the number of its first record that can be read; the records
    findings: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # of a check
    wrong: list[str] = field(default_factory=list[str])  # what must never be


class Ledger:
    """Hears what a run says, and knows what may be found. What was begun and not acknowledged may have happened."""

    def __init__(self) -> None:
        self.points: dict[int, set[Place]] = {}
        self.logs: list[list[LogRecord | None]] = []  # by their numbers; None for what is in no chain that goes on
        self.floors: set[int] = {0}
        self.passphrases: set[str] = set()
        self.vault: set[bool] = {True}
        self.half = self.stays_half = False  # of a file that is kept twice, one may be missing

    def hear(self, words: tuple[object, ...]) -> None:
        """What the run says next."""
        getattr(self, f"_{str(words[0]).replace(' ', '_')}")(*words[1:])

    def _creating(self) -> None:
        self.vault = {True, False}

    def _created(self) -> None:
        self.vault = {True}

    def _protecting(self, number: int) -> None:
        self.points[number] = {Place.NOWHERE, Place.SEEN}

    def _protected(self, number: int) -> None:
        if Place.HIDDEN not in self.points[number]:  # or another thread saw it, and hid it, before this was said
            self.points[number] = {Place.SEEN}

    def _expiring(self, number: int, for_good: object) -> None:
        self.points[number] |= {Place.HIDDEN, Place.NOWHERE} if for_good else {Place.HIDDEN}

    def _expired(self, number: int) -> None:
        self.points[number] -= {Place.SEEN}

    def _undoing(self, number: int) -> None:
        self.points[number] |= {Place.SEEN}

    def _undone(self, number: int) -> None:
        self.points[number] = {Place.SEEN}

    def _appending(self, first: int, before: list[LogRecord], batch: list[LogRecord]) -> None:
        (known,) = [log for log in self.logs if log[first:] == before][:1] or [None]
        assert known is not None, "a writer found a log that nobody had written"
        self._candidate = known + batch
        if self._candidate not in self.logs:
            self.logs.append(self._candidate)

    def _appended(self) -> None:
        self.logs = [self._candidate]

    def _basing(self, number: int, first: int, batch: list[LogRecord]) -> None:
        self._protecting(number)
        self.floors.add(first)
        self._candidate = [None] * first + batch
        self.logs.append(self._candidate)

    def _based(self, number: int, first: int) -> None:
        self._protected(number)
        self._appended()
        self.floors = {first}

    def _thinning(self, floor: int) -> None:
        self.floors.add(floor)

    def _thinned(self, floor: int) -> None:
        self.floors = {floor}

    def _changing_passphrase(self, new: str) -> None:
        self.stays_half |= self.half  # an interrupted change leaves what only a rebuild, or another rotation, mends
        self.half = True
        self.passphrases.add(new)

    def _changed_passphrase(self, new: str) -> None:
        self.passphrases, self.half = {new}, False

    # --------------------------------------------------------------------------------------------------- judging

    def complaints(self, found: Found) -> list[str]:
        """What of it should not be so."""
        if not found.there:
            return [] if False in self.vault else ["the vault is gone"]
        wrong = list(found.wrong)
        half = self.half or self.stays_half or False in self.vault
        wrong += [f"check: {what}: {why}" for what, why in found.findings if not (half and what in _IN_HALVES)]
        if self.passphrases and not (found.opens & self.passphrases):
            wrong.append(f"no passphrase opens it: {sorted(self.passphrases)}")
        for number in self.points.keys() | found.points.keys():
            place, whole = found.points.get(number, (Place.NOWHERE, True))
            may = self.points.get(number, {Place.NOWHERE})
            if place not in may:
                wrong.append(f"point {number} is {place.name}, and may be {sorted(each.name for each in may)}")
            if not whole and not (place == Place.HIDDEN and Place.NOWHERE in may):
                wrong.append(f"point {number} is {place.name} and does not recover")
        if self.logs:
            wrong += self._about_log(found)
        return wrong

    def _about_log(self, found: Found) -> list[str]:
        if found.log is None:
            return ["the log is gone"]
        first, records = found.log
        if first not in self.floors:
            return [f"the log begins at {first}, and may at {sorted(self.floors)}"]
        if not any(log[first:] == records for log in self.logs):
            ends = sorted(len(log) for log in self.logs)
            return [f"the log holds {first} … {first + len(records)}, or other records; it may end at {ends}"]
        return []


_IN_HALVES = ("key file", "descriptor")
