"""Which level the next point has."""

from __future__ import annotations

import pytest

from knowngood.control.levels import due_level
from knowngood.core.instants import SECOND
from knowngood.core.model import Level, Point, Policy


def made(age: float, level: Level, asked: Level | None = None) -> Point:
    """A point that was begun so many seconds ago."""
    return Point(
        id=b"i" * 16,
        service_label=b"l" * 16,
        service="shop",
        marks=(),
        level=level,
        status="recoverable",
        moment_ns=0,
        started_ns=int((1_000_000 - age) * SECOND),
        evidence={"asked": asked} if asked else {},
    )


POLICY = Policy(points=10, held=60, quiesced=3600)


@pytest.mark.parametrize(
    ("points", "level"),
    [
        ([], Level.QUIESCED),
        ([made(10, Level.QUIESCED)], Level.CUT),
        ([made(60, Level.QUIESCED)], Level.HELD),
        ([made(3600, Level.QUIESCED), made(20, Level.HELD)], Level.QUIESCED),
        ([made(20, Level.CUT, Level.QUIESCED)], Level.CUT),
        ([made(1000, Level.QUIESCED), made(58, Level.HELD)], Level.HELD),
        ([made(-50, Level.QUIESCED)], Level.QUIESCED),
    ],
)
def test_what_is_due(points: list[Point], level: Level) -> None:
    """The best whose time has come; what was tried counts; what is of a time to come does not."""
    assert due_level(POLICY, points, 1_000_000 * SECOND) == level


def test_nothing_is_asked_for() -> None:
    """Then points are cut by time."""
    assert due_level(Policy(rpo=60), [], 0) == Level.CUT
