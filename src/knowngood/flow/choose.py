"""Choose: what somebody means by a moment, an id or a name."""

from __future__ import annotations

import re

from knowngood.core.errors import NotFound
from knowngood.core.ids import short
from knowngood.core.instants import parse_when, when_text
from knowngood.core.model import Point, Status
from knowngood.flow.moment import Moment, moment_at, moment_of
from knowngood.flow.parts import Parts
from knowngood.flow.points import point_at

_ID = re.compile(r"[0-9a-f]{6,32}")
_NEWEST = ("latest", "now")
LAST_KNOWN_GOOD = "last-known-good"


def named_points(parts: Parts) -> None:
    """Make sure that every point's name is known: reading takes the private key anyway. Raises Locked."""
    if parts.catalog.nameless():
        parts.private()


def chosen_moment(parts: Parts, service: str, at: str) -> Moment:
    """What words mean: a point's id or name that very point; a moment the service then; `latest` the newest there is;
    `last-known-good` the newest proven point before the first suspect one.

    For those who read. Raises NotFound, UsageError.
    """
    named_points(parts)
    words = at.strip()
    if words.lower() == LAST_KNOWN_GOOD:
        return moment_of(last_known_good(parts, service), parts)
    if words.lower() in _NEWEST:  # not the moment now: a clock may have been set back since
        return moment_at(parts, service, None)
    point = _meant(parts, service, words)
    return moment_of(point, parts) if point else moment_at(parts, service, parse_when(words))


def last_known_good(parts: Parts, service: str) -> Point:
    """The newest point that a drill has proven and that was made before the first suspect one. Raises NotFound."""
    points = parts.catalog.points(service)
    suspects = [each for each in points if each.status == Status.SUSPECT]
    first = min(suspects, key=_made, default=None)
    proven = [each for each in points if each.status == Status.PROVEN and (first is None or _made(each) < _made(first))]
    if not proven:
        before = f" before the first suspect one, {short(first.id)} of {when_text(first.moment_ns)}" if first else ""
        raise NotFound(
            f"no point of '{service}' was proven{before}",
            hint=f"rehearse one: knowngood drill {service} --at POINT; see: knowngood points {service}",
        )
    return max(proven, key=_made)


def _made(point: Point) -> tuple[int, int]:
    """The order of points: by their moments, as that is what damage has a place in."""
    return point.moment_ns, point.received_ns


def _meant(parts: Parts, service: str, words: str) -> Point | None:
    """The point whose id or name this is; None when it is the words for a moment."""
    if any(point.name and point.name == words for point in parts.catalog.points(service)):
        return point_at(parts, service, words)
    if _ID.fullmatch(words.lower()):
        try:
            return point_at(parts, service, words)
        except NotFound:
            if not words.isdigit():
                raise
    return None
