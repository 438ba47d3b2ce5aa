"""The schedule: which obligations follow from what is promised, which are due, and when the next one is.

Pure: clocks are given in and none is read. What is due follows a clock that only goes forward; the wall clock is asked
once for each point that is heard of, for its age. So a wall clock that jumps neither stops points nor makes hundreds,
and a machine that wakes from a week's sleep owes one point, not a week of them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from knowngood.core.instants import SECOND
from knowngood.core.model import ComponentSpec, ServiceSpec

DAY = 86400.0
TIDY_POINTS = 100
"""After this many new points a tidy is due, though the day is not over."""

_FIRST_TIDY = 3600.0  # when nobody knows the last one: not at once, so that a process that keeps dying does not keep on
_TIDY_RETRY = 3600.0
_FIRST_RETRY = 5.0
_LONGEST_RETRY = 900.0
_SPREAD = 30.0
_FIRST_DRILL = 60.0  # of a service that was never drilled: there has to be a point first
_POSTPONED = 1.0


@dataclass(frozen=True, slots=True)
class Now:
    """One moment on two clocks. `steady`, in seconds, only goes forward, and goes on while the machine sleeps."""

    steady: float
    wall_ns: int


class Verb(StrEnum):
    """What can be owed."""

    PROTECT = "protect"
    TIDY = "tidy"
    DRILL = "drill"


@dataclass(frozen=True, slots=True)
class Obligation:
    """Something owed: a point of a service, or the tidying of the home (`service` is then empty)."""

    verb: Verb
    service: str
    due: float


@dataclass(slots=True)
class Row:
    """What is known of one obligation. Seconds; moments are on the steady clock."""

    verb: Verb
    service: str
    every: float  # 0: only when somebody asks
    longest_retry: float
    due: float
    last: float | None = None  # when the newest point, or the last tidy, was begun
    fails: int = 0  # in a row
    asked: bool = False
    components: tuple[ComponentSpec, ...] = ()

    def _order(self) -> tuple[bool, float, bool, str]:
        return not self.asked, self.due, self.verb != Verb.PROTECT, self.service

    def __lt__(self, other: Row) -> bool:
        """What somebody asked for comes first, then what has been due for longest."""
        return self._order() < other._order()


class Schedule:
    """Obligations of one home. `salt`, such as the name of the host, spreads hosts that start at the same moment."""

    def __init__(self, now: Now, salt: str = "") -> None:
        self._salt = salt
        self._rows: dict[str, Row] = {}
        self._drills: dict[str, Row] = {}
        self._tidy = Row(Verb.TIDY, "", DAY, _TIDY_RETRY, now.steady + _FIRST_TIDY)
        self._points = 0  # since the last tidy

    # ---------------------------------------------------------------------------------------------- what is known

    def keep_to(self, services: Iterable[ServiceSpec], now: Now) -> list[str]:
        """These services and their policies count from now on. Returns those that are new.

        A new one is due at once, as is one with other components: until there is a point, they can be lost.
        """
        wanted = {each.name: each for each in services}
        for name in self._rows.keys() - wanted.keys():
            del self._rows[name]
            self._drills.pop(name, None)
        new = []
        for name, spec in wanted.items():
            self._keep_drill(name, spec.policy.drill, now)
            every, longest = spec.policy.every, min(spec.policy.rpo or spec.policy.every, _LONGEST_RETRY)
            row = self._rows.get(name)
            if row is None:
                due = now.steady if every else math.inf
                self._rows[name] = Row(Verb.PROTECT, name, every, longest, due, components=spec.components)
                new.append(name)
                continue
            others, cadence = row.components != spec.components, row.every != every
            row.every, row.longest_retry, row.components = every, longest, spec.components
            if (others or cadence) and not row.asked:
                row.fails = 0
                if others or row.last is None:
                    row.due = now.steady if every else math.inf
                else:
                    row.due = self._after(row, row.last)
        return new

    def _keep_drill(self, name: str, every: float, now: Now) -> None:
        row = self._drills.get(name)
        if not every:
            self._drills.pop(name, None)
        elif row is None:
            first = now.steady + _FIRST_DRILL * (1 + self._share(name))
            self._drills[name] = Row(Verb.DRILL, name, every, max(every, _LONGEST_RETRY), first)
        elif row.every != every:
            row.every = every
            row.due = row.due if row.last is None else row.last + every

    def heard_of_drill(self, service: str, at_ns: int | None, now: Now) -> None:
        """When a service was last drilled, by the wall clock; None when nobody knows."""
        row = self._drills.get(service)
        age = -1.0 if at_ns is None else (now.wall_ns - at_ns) / SECOND
        if row is not None and age >= 0:
            row.last = now.steady - age
            row.due = max(row.last + row.every, row.due if age >= row.every else 0.0)

    def heard(self, service: str, started_ns: int | None, now: Now) -> None:
        """The newest point of a service was begun at this moment of the wall clock; None when it has none.

        One that is overdue, or of a time to come, is followed by the next one soon, each service at its own moment.
        """
        row = self._rows.get(service)
        if row is None or row.asked:
            return
        age = math.inf if started_ns is None else (now.wall_ns - started_ns) / SECOND
        row.fails = 0
        row.last = now.steady - age if 0 <= age < math.inf else None
        if started_ns is None:
            row.due = now.steady if row.every else math.inf
        elif row.last is None or age >= row.every:
            soon = now.steady + self._share(service) * min(row.every / 10, _SPREAD)
            row.due = soon if row.every else math.inf
        else:
            row.due = row.last + row.every

    def heard_of_tidy(self, at_ns: int | None, now: Now) -> None:
        """When the home was last tidied, by the wall clock; None when nobody knows."""
        age = -1.0 if at_ns is None else (now.wall_ns - at_ns) / SECOND
        self._tidy.due = now.steady + (max(0.0, DAY - age) if age >= 0 else _FIRST_TIDY)

    def ask(self, service: str, now: Now) -> bool:
        """Somebody wants a point now. False when there is no such service."""
        row = self._rows.get(service)
        if row is None:
            return False
        row.asked, row.due = True, min(row.due, now.steady)
        return True

    # ------------------------------------------------------------------------------------------------ what is owed

    def due(self, now: Now) -> Obligation | None:
        """What is to be done first; None while nothing is due."""
        owed = [row for row in self._all() if row.due <= now.steady]
        if not owed:
            return None
        first = min(owed)
        return Obligation(first.verb, first.service, first.due)

    def next_due(self) -> float:
        """The moment, on the steady clock, at which something is due; it may be over already. Infinity for never."""
        return min(row.due for row in self._all())

    def row(self, service: str, verb: Verb = Verb.PROTECT) -> Row | None:
        """What is known of a service; the empty name is the tidying."""
        if not service:
            return self._tidy
        return self._drills.get(service) if verb == Verb.DRILL else self._rows.get(service)

    def rows(self) -> list[Row]:
        """All that is known; from any thread."""
        return self._all()

    def _all(self) -> list[Row]:
        return [*self._rows.copy().values(), self._tidy, *self._drills.copy().values()]

    def begun(self, what: Obligation) -> None:
        """It is being done by somebody else: it is not due until that came out."""
        if row := self.row(what.service, what.verb):
            row.due = math.inf

    # -------------------------------------------------------------------------------------------- how it came out

    def done(self, what: Obligation, began: Now) -> None:
        """It was done. The next is counted from the beginning of this one: nothing later is certain to be inside."""
        row = self.row(what.service, what.verb)
        if row is None:
            return
        row.last, row.fails, row.asked = began.steady, 0, False
        row.due = self._after(row, began.steady)
        if what.verb == Verb.TIDY:
            self._points = 0
        elif what.verb == Verb.PROTECT:
            self._points += 1
            if self._points >= TIDY_POINTS and not self._tidy.fails:
                self._tidy.due = min(self._tidy.due, began.steady)

    def failed(self, what: Obligation, now: Now) -> None:
        """It failed. Trials are twice as far apart each time, but never farther than the rpo, nor a quarter of an hour:
        what was in the way may be gone, and data is at risk meanwhile."""
        row = self.row(what.service, what.verb)
        if row is None:
            return
        row.fails += 1
        row.asked = False
        if not row.every:
            row.due = math.inf
            return
        wait = min(row.longest_retry, min(row.every, _FIRST_RETRY) * 2.0 ** min(row.fails - 1, 40))
        row.due = now.steady + wait * (0.75 + 0.25 * self._share(what.service))

    def postponed(self, what: Obligation, now: Now) -> None:
        """Somebody else is at work in the home: look again soon. That is no failure."""
        if row := self.row(what.service, what.verb):
            row.due = now.steady + _POSTPONED

    @staticmethod
    def _after(row: Row, began: float) -> float:
        return began + row.every if row.every else math.inf

    def _share(self, service: str) -> float:
        """A number from 0 to 1 that is a service's own on this host, the same on every run."""
        return zlib.crc32(f"{self._salt}\0{service}".encode()) / 0xFFFFFFFF
