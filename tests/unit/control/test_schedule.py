"""The schedule: what is due when, on two clocks that the test moves."""

from __future__ import annotations

import itertools
import math

import msgspec
import pytest

from knowngood.control.schedule import DAY, TIDY_POINTS, Obligation, Schedule, Verb
from knowngood.core.instants import SECOND
from knowngood.core.model import ComponentSpec, Policy, ServiceSpec
from knowngood.testing.clock import TwoClocks


def service(name: str = "shop", rpo: float = 300, points: float = 0, path: str = "/srv") -> ServiceSpec:
    """A service with a promise."""
    component = ComponentSpec(name="data", kind="files", path=path)
    return ServiceSpec(name=name, components=(component,), policy=Policy(rpo=rpo, points=points))


@pytest.fixture
def clocks() -> TwoClocks:
    """Both clocks."""
    return TwoClocks()


@pytest.fixture
def schedule(clocks: TwoClocks) -> Schedule:
    """Of one service with an rpo of five minutes, and one without any."""
    schedule = Schedule(clocks())
    schedule.keep_to([service(), service("idle", rpo=0)], clocks())
    return schedule


def does(schedule: Schedule, clocks: TwoClocks) -> Obligation | None:
    """What is due is done at once."""
    what = schedule.due(clocks())
    if what:
        schedule.done(what, clocks())
    return what


def in_seconds(schedule: Schedule, clocks: TwoClocks) -> float:
    """Until the next one is due."""
    return schedule.next_due() - clocks.steady


@pytest.mark.parametrize(
    ("rpo", "points", "every"), [(300, 0, 150), (300, 60, 60), (0, 60, 60), (0, 0, 0), (1, 0, 1), (1.5, 0, 1)]
)
def test_cadence(rpo: float, points: float, every: float) -> None:
    """Half of the rpo, unless it is stated."""
    assert Policy(rpo=rpo, points=points).every == every


def test_a_service_without_a_point_is_due_at_once(schedule: Schedule, clocks: TwoClocks) -> None:
    """And then half of its rpo after the point was begun, however long it took."""
    what = schedule.due(clocks())
    assert what
    assert what == Obligation(Verb.PROTECT, "shop", clocks.steady)
    began = clocks()
    clocks.move(60)
    schedule.done(what, began)
    assert (schedule.due(clocks()), in_seconds(schedule, clocks)) == (None, 90)
    clocks.move(90)
    assert does(schedule, clocks)
    assert does(schedule, clocks) is None


def test_points_that_were_there(schedule: Schedule, clocks: TwoClocks) -> None:
    """The next one follows from the age of the last; from one that is overdue, or of a time to come, within a tenth."""
    schedule.heard("shop", clocks.wall_ns - 100 * SECOND, clocks())
    assert in_seconds(schedule, clocks) == pytest.approx(50)
    for age in (150, 10**6, -60):
        schedule.heard("shop", clocks.wall_ns - age * SECOND, clocks())
        assert 0 <= in_seconds(schedule, clocks) <= 15
    schedule.heard("shop", None, clocks())
    assert in_seconds(schedule, clocks) == 0


def test_services_do_not_start_all_at_once(clocks: TwoClocks) -> None:
    """After a restart each has its own moment, other hosts have others, and the same host the same."""
    names = [f"service-{number}" for number in range(20)]

    def moments(salt: str) -> set[float]:
        schedule = Schedule(clocks(), salt)
        schedule.keep_to(map(service, names), clocks())
        for name in names:
            schedule.heard(name, 0, clocks())
        return {row.due for row in schedule.rows() if row.verb == Verb.PROTECT}

    assert len(moments("a")) == 20
    assert moments("a") == moments("a")
    assert moments("a").isdisjoint(moments("b"))


@pytest.mark.parametrize("jump", [-DAY, DAY, -40 * 365 * DAY])
def test_the_wall_clock_jumps(jump: float, schedule: Schedule, clocks: TwoClocks) -> None:
    """It changes nothing of what is due."""
    assert does(schedule, clocks)
    clocks.move(10)
    clocks.jump(jump)
    assert (does(schedule, clocks), in_seconds(schedule, clocks)) == (None, 140)
    clocks.move(140)
    assert does(schedule, clocks)
    assert does(schedule, clocks) is None


def test_a_week_of_sleep(schedule: Schedule, clocks: TwoClocks) -> None:
    """One point and one tidying are owed, and not a week of them."""
    assert does(schedule, clocks)
    clocks.move(7 * DAY)
    assert [what.verb for what in iter(lambda: does(schedule, clocks), None)] == [Verb.PROTECT, Verb.TIDY]


def test_failures(schedule: Schedule, clocks: TwoClocks) -> None:
    """Twice as late each time, never later than the rpo, and forgotten when it works."""
    waits = []
    for _ in range(12):
        what = schedule.due(clocks())
        assert what
        schedule.failed(what, clocks())
        waits.append(in_seconds(schedule, clocks))
        clocks.move(waits[-1])
    assert waits[0] <= 5
    for before, after in itertools.pairwise(waits):
        assert after == pytest.approx(min(2 * before, 300), rel=0.3)
    assert max(waits) <= 300
    assert does(schedule, clocks)
    assert in_seconds(schedule, clocks) == 150
    for _ in range(2000):  # no overflow either
        schedule.failed(Obligation(Verb.PROTECT, "shop", 0), clocks())
    assert in_seconds(schedule, clocks) <= 300


def test_somebody_asks(schedule: Schedule, clocks: TwoClocks) -> None:
    """First of all, also for a service of which nothing is promised, and once."""
    assert schedule.ask("idle", clocks())
    assert not schedule.ask("nothing", clocks())
    assert [does(schedule, clocks), does(schedule, clocks)] == [
        Obligation(Verb.PROTECT, "idle", clocks.steady),
        Obligation(Verb.PROTECT, "shop", clocks.steady),
    ]
    idle = schedule.row("idle")
    assert idle
    assert idle.due == math.inf
    schedule.ask("idle", clocks())
    what = schedule.due(clocks())
    assert what
    schedule.failed(what, clocks())
    assert idle.due == math.inf


def test_somebody_else_is_at_work(schedule: Schedule, clocks: TwoClocks) -> None:
    """It is looked at again soon, and does not count as a failure."""
    what = schedule.due(clocks())
    assert what
    schedule.postponed(what, clocks())
    assert in_seconds(schedule, clocks) == 1
    row = schedule.row("shop")
    assert row
    assert row.fails == 0


def test_services_come_go_and_change(schedule: Schedule, clocks: TwoClocks) -> None:
    """A new one is due at once, as is one with a new component; a new cadence counts from the last point."""
    assert does(schedule, clocks)
    clocks.move(100)
    assert schedule.keep_to([service(), service("mail")], clocks()) == ["mail"]
    assert does(schedule, clocks) == Obligation(Verb.PROTECT, "mail", clocks.steady)
    schedule.keep_to([service(rpo=3600)], clocks())
    assert in_seconds(schedule, clocks) == 1700
    schedule.keep_to([service(rpo=240)], clocks())
    assert in_seconds(schedule, clocks) == 20
    schedule.keep_to([service(rpo=240, path="/mnt")], clocks())
    assert in_seconds(schedule, clocks) == 0
    schedule.keep_to([service("late", rpo=0)], clocks())
    assert schedule.due(clocks()) is None
    schedule.keep_to([service("late", rpo=3600)], clocks())
    assert in_seconds(schedule, clocks) == 0
    schedule.keep_to([service(rpo=0)], clocks())
    assert schedule.due(clocks()) is None
    assert schedule.row("mail") is None
    for late in (schedule.done, schedule.failed, schedule.postponed):  # what became of one that is gone
        late(Obligation(Verb.PROTECT, "mail", 0), clocks())
    schedule.heard("mail", None, clocks())


def test_tidying(clocks: TwoClocks) -> None:
    """Once a day, counted over restarts; and after many points."""
    schedule = Schedule(clocks())
    for at, wait in [(None, 3600), (clocks.wall_ns - 3600 * SECOND, 82800), (clocks.wall_ns + SECOND, 3600), (0, 0)]:
        schedule.heard_of_tidy(at, clocks())
        assert in_seconds(schedule, clocks) == pytest.approx(wait)
    assert does(schedule, clocks)
    assert in_seconds(schedule, clocks) == DAY
    schedule.keep_to([service(points=1)], clocks())
    for _ in range(TIDY_POINTS):
        what = does(schedule, clocks)
        assert what
        assert what.verb == Verb.PROTECT
        clocks.move(1)
    what = schedule.due(clocks())
    assert what
    assert what.verb == Verb.TIDY
    schedule.failed(what, clocks())
    does(schedule, clocks)  # more points do not hurry one that fails
    tidy = schedule.row("")
    assert tidy
    assert tidy.due > clocks.steady


def drilled(drill: float) -> ServiceSpec:
    """A service whose points are made by hand, and that is drilled."""
    return msgspec.structs.replace(service(rpo=0), policy=Policy(drill=drill))


def drill_in(schedule: Schedule, clocks: TwoClocks) -> float:
    """Until the next drill is due."""
    row = schedule.row("shop", Verb.DRILL)
    assert row
    return row.due - clocks.steady


def test_drills(clocks: TwoClocks) -> None:
    """The first soon, each a while after the one before; while one runs, none is due."""
    schedule = Schedule(clocks())
    schedule.keep_to([drilled(3600)], clocks())
    schedule.heard_of_tidy(clocks().wall_ns, clocks())
    assert 60 <= drill_in(schedule, clocks) <= 120
    clocks.steady += 120
    what = schedule.due(clocks())
    assert what
    assert (what.verb, what.service) == (Verb.DRILL, "shop")
    began = clocks()
    schedule.begun(what)
    assert schedule.due(clocks()) is None
    clocks.steady += 30
    schedule.done(what, began)
    assert drill_in(schedule, clocks) == 3570
    clocks.steady += 3570
    what = schedule.due(clocks())
    assert what
    schedule.failed(what, clocks())
    assert 0 < drill_in(schedule, clocks) <= 5
    schedule.keep_to([drilled(0)], clocks())
    assert schedule.row("shop", Verb.DRILL) is None


def test_drills_are_counted_over_restarts(clocks: TwoClocks) -> None:
    """By the wall clock, once; one that is overdue comes soon, and not at once."""
    schedule = Schedule(clocks())
    schedule.keep_to([drilled(DAY)], clocks())
    schedule.heard_of_drill("shop", clocks().wall_ns - 3600 * SECOND, clocks())
    assert drill_in(schedule, clocks) == DAY - 3600
    other = Schedule(clocks())
    other.keep_to([drilled(3600)], clocks())
    other.heard_of_drill("shop", clocks().wall_ns - 7200 * SECOND, clocks())
    assert 60 <= drill_in(other, clocks) <= 120
