"""The ladder: which points are kept, why, and until when. Pure: facts and a moment in, verdicts out.

A rung keeps the newest point of each of its buckets (each hour, day, week, month or year) for as long as the rung is,
counted from the moment the vault received the point. Five rules make that safe:

1. The vault's receive time alone counts. What an agent says about time moves nothing.
2. Buckets lie in UTC, weeks begin on Monday. In local time a host that changes its zone, or a vault that is read from
   another one, would cut the days anew and let go of points that were each the last of their day.
3. The newest sound point always stays, however old it is.
4. Suspect points stay until they are judged, and represent nothing: a run of damaged points never pushes a good one
   out. Points on hold stay as well.
5. A point from the future (the clock was set back) stays until its time has come, and represents nothing until then.

What one run lets go, a later run on all the points would let go as well, so running daily and running once come to
the same (tests/property/test_ladder.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from knowngood.core.instants import SECOND
from knowngood.core.model import Keep

HOUR, DAY = 3600 * SECOND, 86400 * SECOND
_DAY_ZERO = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class PointFacts:
    """What the ladder needs to know of a point."""

    id: bytes
    moment_ns: int
    received_ns: int
    held: bool = False
    suspect: bool = False
    arrival: int = 0  # rises with each point that the vault receives; 0 where that is not known


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the ladder says of one point.

    `until_ns` is when it is let go if nothing else happens; None for no end in sight. For a point that is not kept it
    is when its own time was over; a younger point of the same bucket can have taken its place earlier.
    """

    id: bytes
    reasons: tuple[str, ...]
    until_ns: int | None
    keep: bool


def _hour(received_ns: int) -> int:
    return received_ns // HOUR


def _day(received_ns: int) -> int:
    return received_ns // DAY


def _week(received_ns: int) -> int:
    return (received_ns // DAY + 3) // 7  # the first day of 1970 was a Thursday


def _month(received_ns: int) -> int:
    day = date.fromordinal(_DAY_ZERO + received_ns // DAY)
    return day.year * 12 + day.month


def _year(received_ns: int) -> int:
    return date.fromordinal(_DAY_ZERO + received_ns // DAY).year


BUCKETS: Mapping[str, Callable[[int], int]] = {
    "hourly": _hour,
    "daily": _day,
    "weekly": _week,
    "monthly": _month,
    "yearly": _year,
}


def _order(point: PointFacts) -> tuple[int, int, int, bytes]:
    """From old to new. The order of arrival, where it is known, does not depend on a clock."""
    return point.arrival, point.received_ns, point.moment_ns, point.id


def judge(points: Sequence[PointFacts], keep: Keep, now_ns: int) -> list[Verdict]:
    """Judge the points of one service, in any order; the verdicts come in the same order."""
    sound = [each for each in points if not each.suspect and each.received_ns <= now_ns]
    newest = max(sound, key=_order, default=None) or max(points, key=_order, default=None)
    spans = {rung: round(length * SECOND) for rung, length in keep.rungs()}
    leaders = {rung: _leaders(sound, bucket) for rung, bucket in BUCKETS.items() if spans[rung]}
    return [_verdict(each, each is newest, leaders, spans, now_ns) for each in points]


def _leaders(sound: list[PointFacts], bucket: Callable[[int], int]) -> dict[int, PointFacts]:
    """The newest point of each bucket."""
    leaders: dict[int, PointFacts] = {}
    for each in sound:
        there = leaders.setdefault(bucket(each.received_ns), each)
        if _order(each) > _order(there):
            leaders[bucket(each.received_ns)] = each
    return leaders


def _verdict(
    point: PointFacts,
    newest: bool,
    leaders: Mapping[str, Mapping[int, PointFacts]],
    spans: Mapping[str, int],
    now_ns: int,
) -> Verdict:
    flags = {
        "held": point.held,
        "suspect": point.suspect,
        "future": point.received_ns > now_ns,
        "newest": newest,
    }
    endless = [flag for flag, is_so in flags.items() if is_so]
    if flags["future"]:
        return Verdict(point.id, tuple(endless), None, keep=True)
    ends = {"any-moment": point.received_ns + spans["any-moment"]}
    for rung, by_bucket in leaders.items():
        if by_bucket.get(BUCKETS[rung](point.received_ns)) is point:
            ends[rung] = point.received_ns + spans[rung]
    reasons = (*endless, *(rung for rung, end in ends.items() if end > now_ns))
    return Verdict(point.id, reasons, None if endless else max(ends.values()), bool(reasons))


# ---------------------------------------------------------------------------------------------------------- forecast


@dataclass(frozen=True, slots=True)
class Rung:
    """What one rung holds on a day. A point can stand on several rungs."""

    name: str
    points: int
    oldest_ns: int | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will be left at a moment."""

    at_ns: int
    kept: tuple[tuple[PointFacts, Verdict], ...]  # oldest first
    gone: int
    rungs: tuple[Rung, ...] = field(default_factory=tuple)


def imagined(first_ns: int, every_ns: int, end_ns: int) -> list[PointFacts]:
    """Points that would be received from one moment to another, one every so often."""
    moments = range(first_ns, end_ns + 1, every_ns)
    return [PointFacts(b"imagined" + index.to_bytes(8), each, each) for index, each in enumerate(moments)]


def forecast(points: Sequence[PointFacts], keep: Keep, days: float, *, now_ns: int, every_ns: int = 0) -> Forecast:
    """What will be left of these points in `days` days; with `every_ns`, points go on arriving until then."""
    at_ns = now_ns + round(days * DAY)
    facts = [*points, *(imagined(now_ns + every_ns, every_ns, at_ns) if every_ns else ())]
    verdicts = judge(facts, keep, at_ns)
    kept = [(fact, verdict) for fact, verdict in zip(facts, verdicts, strict=True) if verdict.keep]
    kept.sort(key=lambda pair: _order(pair[0]))
    names = ["any-moment", *BUCKETS]
    rungs = tuple(_rung(name, [fact for fact, verdict in kept if name in verdict.reasons]) for name in names)
    return Forecast(at_ns, tuple(kept), len(facts) - len(kept), rungs)


def _rung(name: str, members: list[PointFacts]) -> Rung:
    return Rung(name, len(members), min((each.received_ns for each in members), default=None))
