"""What a home remembers of its days: for how long the promise of each service was kept, late and broken on each.

The keeper measures, and judges by the policy that is in force then: a policy that changes later changes no day. Time in
which nobody measured is unknown. Bounded: four numbers a service and day, for as many days as fit in 57 weeks.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

import msgspec

from knowngood.control.home import Home
from knowngood.control.remembered import Remembered
from knowngood.control.up.protocol import ServiceNow
from knowngood.core.instants import SECOND
from knowngood.core.model import ServiceSpec

DAYS = 399
_DAY = 86400
_FILE_BYTES = 64 << 20
_SAVE_NS = 300 * SECOND
_UNWATCHED = 0.05
"""A day counts as kept although this part of it is unknown: a restart of the keeper is not a day that nobody knows."""
_CLOSE = 30.0
"""Seconds; measurements that are this close together are close enough for any rpo."""
_LEAST = 1.0
"""Seconds; what is shorter makes no day bad."""


class State(StrEnum):
    """How a promise stands, worst first. They are four things: to know nothing is not to be well."""

    BROKEN = "broken"  # not kept, and it will not be until somebody does something
    LATE = "late"  # not kept just now
    UNKNOWN = "unknown"  # nobody can say, or nothing is promised
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Day:
    """A day of a service, in UTC; seconds. They are together as long as the day, or as what has passed of it."""

    day: date
    kept: float
    late: float
    broken: float
    unknown: float

    @property
    def state(self) -> State:
        """The worst that counts."""
        if self.broken >= _LEAST:
            return State.BROKEN
        if self.late >= _LEAST:
            return State.LATE
        whole = self.kept + self.late + self.broken + self.unknown
        return State.UNKNOWN if not self.kept or self.unknown > whole * _UNWATCHED else State.KEPT


def stands(service: ServiceSpec, risk: float | None, now: ServiceNow) -> State:
    """How a promise stands by what the keeper knows. `risk`: seconds that would be lost, None for no complete point."""
    if not service.policy.rpo:
        return State.UNKNOWN
    if risk is not None and risk <= service.policy.rpo:
        return State.KEPT
    if risk is None and now.point:
        return State.UNKNOWN  # a clock was set back
    return State.BROKEN if now.failure else State.LATE


class _Document(msgspec.Struct):
    services: dict[str, dict[int, list[float]]] = {}  # service → day since 1970 → seconds kept, late, broken


_PLACES = (State.KEPT, State.LATE, State.BROKEN)


class Promises:
    """Read when it is made; a file that cannot be read is none. Only the keeper changes and saves it."""

    def __init__(self, home: Home) -> None:
        self._file = Remembered(home.promises, _Document, _FILE_BYTES, _SAVE_NS)
        self._last: dict[str, State] = {}  # how each stood when it was measured last

    def days(self, service: str, now_ns: int, count: int = DAYS) -> list[Day]:
        """The last `count` days of which anything is known, oldest first."""
        today, passed = divmod(now_ns // SECOND, _DAY)
        found = self._file.document.services.get(service, {})
        return [
            _day(each, found[each], passed if each == today else _DAY)
            for each in sorted(found)
            if today - count < each <= today and len(found[each]) == len(_PLACES)
        ]

    # --------------------------------------------------------------------------------------------- from the keeper

    def measured(self, service: ServiceSpec, state: State, seconds: float, now_ns: int) -> None:
        """So it stands now, `seconds` after it was measured last: they count as the worse of both, for the day that is
        now. Between two measurements that are further apart than the rpo, a lapse can hide: nobody knows then."""
        state, self._last[service.name] = _worse(state, self._last.get(service.name, State.UNKNOWN)), state
        if state not in _PLACES or not 0 < seconds <= max(service.policy.rpo, _CLOSE):
            return
        days, today = self._file.document.services.setdefault(service.name, {}), now_ns // SECOND // _DAY
        if today not in days:
            for old in [each for each in days if not today - DAYS < each <= today]:
                del days[old]
        spent = days.setdefault(today, [0.0, 0.0, 0.0])
        spent[_PLACES.index(state)] = round(spent[_PLACES.index(state)] + seconds, 3)
        self._file.is_new = True

    def keep_to(self, services: Collection[str]) -> None:
        """Only these are there."""
        self._file.keep_to(services)

    def save(self, now_ns: int, *, ending: bool = False) -> None:
        """Save what is new, not more often than every five minutes."""
        self._file.save(now_ns, at_once=ending)


def _worse(one: State, other: State) -> State:
    """Unknown before anything: what is known of one end says nothing of what lies between."""
    if State.UNKNOWN in (one, other):
        return State.UNKNOWN
    return min(one, other, key=_BADNESS.index)


_BADNESS = list(State)


def today(now_ns: int) -> date:
    """The day that is now, in UTC."""
    return datetime.fromtimestamp(now_ns // SECOND, UTC).date()


def _day(number: int, spent: list[float], passed: float) -> Day:
    kept, late, broken = spent
    unknown = max(0.0, passed - kept - late - broken)
    return Day(date(1970, 1, 1) + timedelta(days=number), kept, late, broken, round(unknown, 1))
