"""The ladder by example (tests/property/test_ladder.py has its laws)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from knowngood.core.instants import SECOND
from knowngood.core.ladder import BUCKETS, DAY, HOUR, PointFacts, Verdict, forecast, imagined, judge
from knowngood.core.model import Keep

NONE = Keep(any_moment=0, hourly=0, daily=0, weekly=0, monthly=0, yearly=0)


def at(text: str) -> int:
    """A moment in UTC as nanoseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def point(text: str, **more: object) -> PointFacts:
    """A point that was received at this moment, named by it."""
    return PointFacts(text.encode(), at(text), at(text), **more)  # type: ignore[arg-type]


def kept(points: list[PointFacts], keep: Keep, now: str) -> dict[str, tuple[str, ...]]:
    """Names and reasons of the points that stay."""
    return {each.id.decode(): each.reasons for each in judge(points, keep, at(now)) if each.keep}


def test_newest_stays_when_nothing_else_does() -> None:
    """However old it is."""
    points = [point("2020-01-01T10:00"), point("2020-01-01T11:00")]
    assert kept(points, NONE, "2026-01-01") == {"2020-01-01T11:00": ("newest",)}


def test_any_moment_keeps_all_that_is_young() -> None:
    """And lets go exactly when the span is over."""
    points = [point("2026-01-01T10:00"), point("2026-01-01T10:01"), point("2026-01-01T10:02")]
    keep = Keep(any_moment=3600, hourly=0, daily=0, weekly=0, monthly=0)
    assert len(kept(points, keep, "2026-01-01T10:59:59")) == 3
    assert list(kept(points, keep, "2026-01-01T11:00:00")) == ["2026-01-01T10:01", "2026-01-01T10:02"]


def test_rungs_keep_the_newest_of_each_bucket() -> None:
    """In UTC; weeks begin on Monday (2026-01-05 was one)."""
    points = [
        point(text)
        for text in ("2026-01-04T22:10", "2026-01-04T22:50", "2026-01-04T23:59", "2026-01-05T00:00", "2026-01-31T12:00")
    ]
    assert kept(points, Keep(any_moment=0, hourly=90 * 86400, daily=0, weekly=0, monthly=0), "2026-02-01") == {
        "2026-01-04T22:50": ("hourly",),
        "2026-01-04T23:59": ("hourly",),
        "2026-01-05T00:00": ("hourly",),
        "2026-01-31T12:00": ("newest", "hourly"),
    }
    weekly = kept(points, Keep(any_moment=0, hourly=0, daily=0, weekly=90 * 86400, monthly=0), "2026-02-01")
    assert list(weekly) == ["2026-01-04T23:59", "2026-01-05T00:00", "2026-01-31T12:00"]


@pytest.mark.parametrize(
    ("rung", "before", "after"),
    [
        ("hourly", "2026-03-01T00:59:59", "2026-03-01T01:00:00"),
        ("daily", "2024-02-28T23:59:59", "2024-02-29T00:00:00"),
        ("weekly", "2026-01-04T23:59:59", "2026-01-05T00:00:00"),
        ("monthly", "2024-02-29T23:59:59", "2024-03-01T00:00:00"),
        ("yearly", "2025-12-31T23:59:59", "2026-01-01T00:00:00"),
    ],
)
def test_buckets_end_where_calendars_say(rung: str, before: str, after: str) -> None:
    """A second makes the difference."""
    bucket = BUCKETS[rung]
    assert bucket(at(after)) != bucket(at(before))
    assert bucket(at(before)) == bucket(at(before) - 59 * SECOND)


def test_until_is_the_last_rungs_end() -> None:
    """A point stands on several rungs; the longest counts."""
    (verdict,) = [
        each
        for each in judge([point("2026-01-01T10:00"), point("2026-01-02")], Keep(), at("2026-01-02"))
        if each.until_ns
    ]
    assert verdict == Verdict(
        b"2026-01-01T10:00", ("any-moment", "hourly", "daily"), at("2026-01-01T10:00") + 30 * DAY, keep=True
    )


def test_let_go_says_when_its_time_was_over() -> None:
    """At the end of any-moment, which holds every point."""
    old, _ = judge([point("2026-01-01T10:00"), point("2026-01-01T10:30")], Keep(), at("2026-01-09"))
    assert not old.keep
    assert old.until_ns == at("2026-01-03T10:00")


def test_flagged_points_stay() -> None:
    """Held and suspect points have no end."""
    points = [point("2020-01-01", held=True), point("2020-01-02", suspect=True), point("2026-01-01")]
    found = judge(points, NONE, at("2026-01-01"))
    assert [(each.reasons, each.until_ns) for each in found[:2]] == [(("held",), None), (("suspect",), None)]


def test_suspect_points_push_no_good_one_out() -> None:
    """The newest good one represents its bucket, and stays as the newest."""
    points = [point("2026-01-01T10:00"), point("2026-01-01T10:10", suspect=True)]
    keep = Keep(any_moment=0, hourly=86400, daily=0, weekly=0, monthly=0)
    assert kept(points, keep, "2026-01-01T12:00")["2026-01-01T10:00"] == ("newest", "hourly")
    assert kept(points, NONE, "2030-01-01") == {"2026-01-01T10:00": ("newest",), "2026-01-01T10:10": ("suspect",)}


def test_only_suspect_points() -> None:
    """The newest of all is the newest."""
    assert kept([point("2026-01-01", suspect=True)], NONE, "2026-01-02") == {"2026-01-01": ("suspect", "newest")}
    assert judge([], Keep(), 0) == []


def test_points_from_the_future_stay_and_push_nothing_out() -> None:
    """The clock was set back: what came later is not judged yet, and what is there stays newest."""
    points = [point("2026-01-01T10:00"), point("2026-01-01T10:50")]
    keep = Keep(any_moment=0, hourly=86400, daily=0, weekly=0, monthly=0)
    assert kept(points, keep, "2026-01-01T10:30") == {
        "2026-01-01T10:00": ("newest", "hourly"),
        "2026-01-01T10:50": ("future",),
    }


def test_order_of_arrival_beats_a_clock_that_was_set_back() -> None:
    """The second point came later, by a clock that ran half an hour behind: it represents the hour."""
    points = [point("2026-01-01T14:50", arrival=1), point("2026-01-01T14:25", arrival=2)]
    keep = Keep(any_moment=0, hourly=86400, daily=0, weekly=0, monthly=0)
    assert kept(points, keep, "2026-01-01T16:00") == {"2026-01-01T14:25": ("newest", "hourly")}


def test_what_agents_say_moves_nothing() -> None:
    """Only the receive time counts."""
    lying = PointFacts(b"x", moment_ns=at("2099-01-01"), received_ns=at("2026-01-01"))
    assert not judge([lying, point("2026-01-05")], NONE, at("2026-01-06"))[0].keep


def test_forecast_in_a_steady_state() -> None:
    """A point an hour under the usual policy: what stands on each rung after two years."""
    seen = forecast([], Keep(), 731, now_ns=at("2025-01-01"), every_ns=HOUR)
    assert {each.name: each.points for each in seen.rungs} == {
        "any-moment": 48,
        "hourly": 168,
        "daily": 31,  # today's last so far, and thirty whole days
        "weekly": 14,
        "monthly": 13,
        "yearly": 0,
    }
    assert seen.gone + len(seen.kept) == 731 * 24
    assert seen.rungs[0].oldest_ns == seen.at_ns - 47 * HOUR


def test_forecast_of_given_points() -> None:
    """Without new points, the old ones thin out; the newest remains."""
    points = imagined(at("2026-01-01"), HOUR, at("2026-01-03"))
    left = forecast(points, Keep(), 3, now_ns=at("2026-01-03"))
    assert len(left.kept) == 49
    assert [fact.received_ns for fact, _ in forecast(points, Keep(), 9999, now_ns=at("2026-01-03")).kept] == [
        at("2026-01-03")
    ]
