"""Tidying: a plan that says what is kept and why, and carrying it out."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from knowngood.core.errors import NotFound
from knowngood.core.instants import SECOND
from knowngood.core.model import Keep, Point, Policy
from knowngood.flow.parts import Parts
from knowngood.flow.protect import protect
from knowngood.flow.tidy import expire, judge_points, plan_tidy, take_away, tidy, undo
from knowngood.testing.clock import DAY, FakeClock
from knowngood.testing.vaults import SmallVault
from tests.unit.flow.notes import NotesKind, service_of

HOUR = 3600.0
SHORT = Policy(keep=Keep(any_moment=HOUR, hourly=0, daily=0, weekly=0, monthly=0), undo=HOUR)


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """Moves when a test says so."""
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def points(parts: Parts, kind: NotesKind, clock: FakeClock) -> list[Point]:
    """Three that have little in common, the oldest first: 72, 48 and 24 minutes ago."""
    made = []
    for number in range(3):
        kind.places["/srv/a"] = {b"text": bytes([number]) * 2000}
        made.append(protect(service_of("a"), parts).point)
        clock.move(0.4 * HOUR)
    return made


def test_a_plan_changes_nothing(parts: Parts, points: list[Point], vault: SmallVault) -> None:
    """It tells of every point, newest first, why it stays and until when."""
    before = {each.key for folder in ("commits/", "packs/", "index/") for each in vault.store.list(folder)}
    plan = plan_tidy({"shop": SHORT}, parts)
    judged = plan.services["shop"]
    assert [each.point for each in judged] == points[::-1]
    assert [each.verdict.keep for each in judged] == [True, True, False]
    assert judged[0].verdict.reasons == ("newest", "any-moment")
    assert judged[1].verdict.until_ns == points[1].received_ns + int(HOUR * SECOND)
    assert plan.expiring == [points[0]]
    assert {each.key for folder in ("commits/", "packs/", "index/") for each in vault.store.list(folder)} == before
    assert parts.catalog.expired() == {}


def test_carried_out(parts: Parts, points: list[Point], clock: FakeClock, vault: SmallVault) -> None:
    """Hidden now, taken away when the time to miss it has passed."""
    done = tidy(plan_tidy({"shop": SHORT}, parts), parts)
    assert done.expired == [points[0]]
    assert parts.catalog.points("shop", expired=True) == [points[0]]
    assert vault.recover(points[0])[b"text"] == b"\0" * 2000
    clock.move(HOUR + 1)
    done = tidy(plan_tidy({"shop": SHORT}, parts), parts)
    assert done.collected
    assert done.collected.purged_points == 1
    assert parts.catalog.points("shop") == [points[2]]
    assert vault.check().findings == []


def test_services_that_are_not_named(parts: Parts, points: list[Point], clock: FakeClock) -> None:
    """Their points stay, whatever their age."""
    clock.move(5 * DAY)
    assert plan_tidy({}, parts).expiring == []
    assert plan_tidy({"other": SHORT}, parts).expiring == []


def test_suspect_points_represent_nothing(points: list[Point]) -> None:
    """They stay themselves, and do not stand for the newest sound one."""
    newest = msgspec.structs.replace(points[2], status="suspect")
    now = points[2].received_ns + int(DAY * SECOND)
    verdicts = [each.verdict for each in judge_points([newest, points[1], points[0]], SHORT, now)]
    assert [each.reasons for each in verdicts] == [("suspect",), ("newest",), ()]


@pytest.mark.parametrize("years", [-5, 5])
def test_a_clock_that_is_wrong_by_years(years: int, parts: Parts, points: list[Point], clock: FakeClock) -> None:
    """One that is behind lets nothing go. One that is ahead is not believed for more than some days."""
    clock.move(years * 365 * DAY)
    month = Policy(keep=Keep(any_moment=30 * DAY, hourly=0, daily=0, weekly=0, monthly=0))
    assert plan_tidy({"shop": month}, parts).expiring == []


def test_undo(parts: Parts, points: list[Point], clock: FakeClock) -> None:
    """Until the window ends and it was collected; a point that is not hidden is told so."""
    with pytest.raises(NotFound) as caught:
        undo(points[0], parts)
    assert "knowngood points shop --expired" in caught.value.hint
    expire(points[:2], int(HOUR * SECOND), parts)
    undo(points[0], parts)
    assert parts.catalog.points("shop") == [points[2], points[0]]
    clock.move(HOUR + 1)
    take_away(parts)
    with pytest.raises(NotFound):
        undo(points[1], parts)


def test_ending_the_undo_window(parts: Parts, points: list[Point]) -> None:
    """On demand, hidden points go at once."""
    expire(points[:1], int(7 * DAY * SECOND), parts)
    assert take_away(parts).purged_points == 0
    assert take_away(parts, dry_run=True, undo_is_over=True).purged_points == 1
    assert take_away(parts, undo_is_over=True).purged_points == 1
