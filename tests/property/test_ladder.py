"""The laws of the ladder, whatever the points, the policy and the clock."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

from hypothesis import given, strategies as st

from knowngood.core.instants import SECOND
from knowngood.core.ladder import BUCKETS, DAY, HOUR, PointFacts, forecast, judge
from knowngood.core.model import Keep

_START = 1_780_000_000 * SECOND
_SHORTEST = {"hourly": HOUR, "daily": DAY, "weekly": 7 * DAY, "monthly": 28 * DAY, "yearly": 365 * DAY}

_spans = st.sampled_from([0, 1, 3600, 5 * 3600, 86400, 3 * 86400, 30 * 86400, 400 * 86400, 3000 * 86400])
keeps = st.builds(Keep, any_moment=_spans, hourly=_spans, daily=_spans, weekly=_spans, monthly=_spans, yearly=_spans)
_times = st.one_of(st.integers(0, 3 * DAY), st.integers(0, 100 * DAY), st.integers(0, 2000 * DAY))


@st.composite
def histories(draw: st.DrawFn) -> list[PointFacts]:
    """Points of one service, in any order, some flagged."""
    offsets = draw(st.lists(_times, max_size=40))
    return [
        PointFacts(
            id=index.to_bytes(4),
            moment_ns=_START + draw(_times),
            received_ns=_START + offset,
            held=draw(st.integers(0, 9)) == 0,
            suspect=draw(st.integers(0, 9)) == 0,
        )
        for index, offset in enumerate(offsets)
    ]


def kept(points: list[PointFacts], keep: Keep, now: int) -> set[bytes]:
    """Ids of what stays."""
    return {each.id for each in judge(points, keep, now) if each.keep}


nows = _times.map(lambda offset: _START + offset)


@given(histories(), keeps, nows)
def test_newest_and_flagged_always_stay(points: list[PointFacts], keep: Keep, now: int) -> None:
    """The newest of all, the newest sound one, those on hold, suspect ones, and those from the future."""
    left = kept(points, keep, now)
    for chosen in (points, [each for each in points if not each.suspect and each.received_ns <= now]):
        if chosen:
            newest = max(chosen, key=lambda each: (each.received_ns, each.moment_ns, each.id))
            assert newest.id in left
    assert {each.id for each in points if each.held or each.suspect or each.received_ns > now} <= left


@given(histories(), keeps, nows)
def test_a_rung_holds_one_point_per_bucket_and_not_too_many(points: list[PointFacts], keep: Keep, now: int) -> None:
    """At most one per bucket, and no more buckets than the span can touch."""
    verdicts = judge(points, keep, now)
    by_id = {each.id: each for each in points}
    spans = dict(keep.rungs())
    for rung, bucket in BUCKETS.items():
        on_rung = [bucket(by_id[each.id].received_ns) for each in verdicts if rung in each.reasons]
        assert len(set(on_rung)) == len(on_rung)
        assert len(on_rung) <= math.ceil(spans[rung] * SECOND / _SHORTEST[rung]) + 1


@given(histories(), keeps, nows)
def test_judging_what_is_left_changes_nothing(points: list[PointFacts], keep: Keep, now: int) -> None:
    """Idempotent."""
    left = kept(points, keep, now)
    assert kept([each for each in points if each.id in left], keep, now) == left


@given(histories(), keeps, st.lists(nows, max_size=8), nows)
def test_running_often_and_running_once_come_to_the_same(
    points: list[PointFacts], keep: Keep, runs: list[int], end: int
) -> None:
    """Points arrive, the ladder runs at any moments on what is left: the end is as if it had run only then."""
    runs = [*sorted(each for each in runs if each < end), end]
    there: list[PointFacts] = []
    since = -1
    for now in runs:
        there += [each for each in points if since < each.received_ns <= now]
        left = kept(there, keep, now)
        there = [each for each in there if each.id in left]
        since = now
    arrived = [each for each in points if each.received_ns <= end]
    assert {each.id for each in there} == kept(arrived, keep, end)


@given(histories(), keeps, st.lists(nows, max_size=8))
def test_clocks_that_jump_cost_nothing_that_a_steady_one_keeps(
    points: list[PointFacts], keep: Keep, runs: list[int]
) -> None:
    """Runs under a clock that was set back, or forth to no later than now, never let go of what a run now keeps."""
    now = max([_START + 2000 * DAY, *runs])
    there = points
    for run in runs:
        left = kept(there, keep, run)
        there = [each for each in there if each.id in left]
    assert kept(points, keep, now) <= {each.id for each in there}


@given(histories(), keeps, nows, st.integers(0, 400 * DAY))
def test_without_new_points_nothing_comes_back(points: list[PointFacts], keep: Keep, now: int, later: int) -> None:
    """What is not kept now is not kept later."""
    assert kept(points, keep, now + later) <= kept(points, keep, now)


@given(histories(), keeps, nows)
def test_longer_spans_keep_at_least_as_much(points: list[PointFacts], keep: Keep, now: int) -> None:
    """Monotone in every rung."""
    longer = Keep(**{rung.replace("-", "_"): 2 * length for rung, length in keep.rungs()})
    assert kept(points, keep, now) <= kept(points, longer, now)


@given(histories(), keeps, nows)
def test_until_is_exact(points: list[PointFacts], keep: Keep, now: int) -> None:
    """If nothing else happens, a point stays to the last nanosecond before `until_ns`, and not longer."""
    for verdict in judge(points, keep, now):
        if verdict.keep and verdict.until_ns is not None:
            assert verdict.until_ns > now
            assert verdict.id in kept(points, keep, verdict.until_ns - 1)
            assert verdict.id not in kept(points, keep, verdict.until_ns)
        elif not verdict.keep:
            assert verdict.until_ns is not None


@given(histories(), keeps, nows, st.randoms(use_true_random=False))
def test_order_of_the_input_is_free(points: list[PointFacts], keep: Keep, now: int, random: Random) -> None:
    """Verdicts follow the input; who is kept does not depend on it. Nor on what agents say of time."""
    shuffled = [replace(each, moment_ns=0) for each in points]
    unique = len({each.received_ns for each in points}) == len(points)
    random.shuffle(shuffled)
    verdicts = judge(shuffled, keep, now)
    assert [each.id for each in verdicts] == [each.id for each in shuffled]
    if unique:
        assert {each.id for each in verdicts if each.keep} == kept(points, keep, now)


@given(keeps, st.sampled_from([HOUR, 6 * HOUR, DAY]), st.integers(0, 20))
def test_forecast_is_what_daily_runs_leave(keep: Keep, every: int, days: int) -> None:
    """The simulator tells the truth."""
    seen = forecast([], keep, days, now_ns=_START, every_ns=every)
    there: list[PointFacts] = []
    arriving = [
        fact.received_ns for fact, _ in forecast([], Keep(any_moment=10**9), days, now_ns=_START, every_ns=every).kept
    ]
    for day in range(1, days + 1):
        now = _START + day * DAY
        there += [PointFacts(each.to_bytes(8), each, each) for each in arriving if now - DAY < each <= now]
        left = kept(there, keep, now)
        there = [each for each in there if each.id in left]
    assert [each.received_ns for each in there] == [fact.received_ns for fact, _ in seen.kept]
