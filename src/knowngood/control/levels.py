"""Which level the next point of a service is to have, by its policy and the points that there are. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from knowngood.core.instants import SECOND
from knowngood.core.model import Level, Point, Policy

_EARLY = 0.5
"""A point may be early by this part of the spacing of points: then none is late by it."""


def due_level(policy: Policy, points: Iterable[Point], now_ns: int) -> Level:
    """The best level whose time has come. A point that was to have it and did not reach it counts as tried."""
    tried = [(Level(each.evidence.get("asked", each.level)), each.started_ns) for each in points]
    early = policy.every * _EARLY * SECOND
    for level, every in ((Level.QUIESCED, policy.quiesced), (Level.HELD, policy.held)):
        if not every:
            continue
        last = max((at for asked, at in tried if _rank(asked) >= _rank(level) and at <= now_ns), default=None)
        if last is None or now_ns - last + early >= every * SECOND:
            return level
    return Level.CUT


def _rank(level: Level) -> int:
    return list(Level).index(level)
