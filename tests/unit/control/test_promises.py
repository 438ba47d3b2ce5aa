"""How promises were kept on each day: kept, late, broken and unknown are four different things."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from knowngood.control.home import Home
from knowngood.control.promises import DAYS, Promises, State, stands, today
from knowngood.control.up.protocol import Failure, ServiceNow
from knowngood.core.instants import SECOND
from knowngood.core.model import ComponentSpec, Policy, ServiceSpec

DAY = 86400
NOON = (20_000 * DAY + DAY // 2) * SECOND
SHOP = ServiceSpec(
    name="shop", components=(ComponentSpec(name="data", kind="files", path="/srv"),), policy=Policy(rpo=300)
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    home = Home.at(str(tmp_path / "home"))
    home.create()
    return home


def _measured(promises: Promises, *states: State, seconds: float = 60.0, at: int = NOON) -> None:
    for each in states:
        promises.measured(SHOP, each, seconds, at)


def test_spans_add_up(home: Home) -> None:
    """What is measured counts as the worse of its two ends; the rest of what has passed of the day is unknown."""
    promises = Promises(home)
    _measured(promises, State.KEPT, State.KEPT, State.LATE, State.KEPT, State.BROKEN)
    (day,) = promises.days("shop", NOON)
    assert (day.day, day.kept, day.late, day.broken) == (today(NOON), 60, 120, 60)
    assert day.unknown == DAY / 2 - 240
    assert day.state == State.BROKEN


def test_nobody_knows_what_lies_between_distant_measurements(home: Home) -> None:
    """Longer than the rpo without a measurement, and a lapse can hide; nothing is made up for it."""
    promises = Promises(home)
    _measured(promises, State.KEPT, State.KEPT, seconds=301)
    _measured(promises, State.UNKNOWN, State.KEPT)
    assert promises.days("shop", NOON) == []


@pytest.mark.parametrize(
    ("late", "kept", "state"),
    [(0, DAY, State.KEPT), (0, DAY * 0.96, State.KEPT), (0, DAY * 0.9, State.UNKNOWN), (5, DAY - 5, State.LATE)],
)
def test_a_day_is_kept_when_it_was_watched(home: Home, late: float, kept: float, state: State) -> None:
    """A restart does not make a day unknown, an hour without anybody does."""
    promises = Promises(home)
    for each, seconds in ((State.KEPT, kept), (State.LATE, late)):
        promises.measured(SHOP, each, 0, NOON)
        for _ in range(300):
            promises.measured(SHOP, each, seconds / 300, NOON)
    (day,) = promises.days("shop", NOON + DAY * SECOND)
    assert day.state == state


def test_days_are_kept_and_bounded(home: Home) -> None:
    """They are there after a restart; those that are too old go; a service that is gone takes its days along."""
    promises = Promises(home)
    for number in range(DAYS + 5):
        _measured(promises, State.KEPT, State.KEPT, at=NOON + number * DAY * SECOND)
    last = NOON + (DAYS + 4) * DAY * SECOND
    promises.save(last)
    found = Promises(home).days("shop", last)
    assert len(found) == DAYS
    assert found[-1].day == today(last)
    assert len(promises.days("shop", last, 7)) == 7
    promises.keep_to(())
    promises.save(last, ending=True)
    assert Promises(home).days("shop", last) == []


def test_a_file_of_something_else_is_none(home: Home) -> None:
    """What cannot be read is not known."""
    Path(home.promises).write_text('{"services": {"shop": {"20000": [1]}}}')
    assert Promises(home).days("shop", NOON) == []
    Path(home.promises).write_text("[")
    assert Promises(home).days("shop", NOON) == []


def test_how_a_promise_stands() -> None:
    """By what the keeper knows; nothing is promised without an rpo."""
    failure = Failure(code="busy", message="m", hint="", at_ns=1, attempts=1)
    well = ServiceNow(name="shop", age=1.0, point="ab", due_in=None, failure=None)
    failing = ServiceNow(name="shop", age=None, point="", due_in=None, failure=failure)
    assert stands(SHOP, 300, well) == State.KEPT
    assert stands(SHOP, 301, well) == State.LATE
    assert stands(SHOP, None, well) == State.UNKNOWN
    assert stands(SHOP, None, failing) == State.BROKEN
    assert stands(SHOP, 10, failing) == State.KEPT
    assert stands(ServiceSpec(name="shop", components=SHOP.components), 1, well) == State.UNKNOWN
    assert today(NOON) == date(2024, 10, 4)
