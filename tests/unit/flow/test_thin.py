"""Which parts of logs are let go, and that every moment of the window keeps a checkpoint before it."""

from __future__ import annotations

from knowngood.core.instants import now_ns
from knowngood.core.model import Keep, Policy
from knowngood.flow.moment import moment_at
from knowngood.flow.parts import Parts
from knowngood.flow.thin import plan_thinning, thin
from knowngood.flow.tidy import plan_tidy, tidy
from knowngood.testing.clock import DAY, FakeClock
from knowngood.testing.vaults import SmallVault
from knowngood.vault.log_reader import START
from tests.unit.flow.test_moment import clock, point_on, write

__all__ = ["clock"]

WINDOW = Policy(keep=Keep(any_moment=2 * DAY))


def test_what_is_before_the_window_goes(parts: Parts, vault: SmallVault, clock: FakeClock) -> None:
    """Up to the newest checkpoint before it; with that, the first moments of the window can still be made."""
    first = point_on(parts, START)
    middle = write(vault, first, clock, 3)
    second = point_on(parts, middle)
    clock.move(DAY)
    end = write(vault, first, clock, 2)
    clock.move(1.5 * DAY)
    at = clock()
    point_on(parts, end)
    clock.move(10)
    write(vault, first, clock)
    (planned,) = plan_thinning("shop", WINDOW, (), now_ns(), parts)
    assert (planned.component, planned.end, planned.records) == ("a", middle.sequence, 3)
    thin([planned], 0, parts)
    assert plan_thinning("shop", WINDOW, (), now_ns(), parts) == []
    (aim,) = moment_at(parts, "shop", at).aims
    assert (aim.stand.point, aim.thinned) == (second, False)


def test_a_checkpoint_that_goes_is_no_beginning(parts: Parts, vault: SmallVault, clock: FakeClock) -> None:
    """Else nobody could make the moments after it."""
    first = point_on(parts, START)
    second = point_on(parts, write(vault, first, clock, 3))
    clock.move(3 * DAY)
    assert plan_thinning("shop", WINDOW, {second.id}, now_ns(), parts) == []
    assert plan_thinning("shop", Policy(keep=Keep(any_moment=5 * DAY)), (), now_ns(), parts) == []


def test_the_end_of_a_log_stays(parts: Parts, vault: SmallVault, clock: FakeClock) -> None:
    """Those who continue it have to know it."""
    first = point_on(parts, START)
    point_on(parts, write(vault, first, clock, 3))
    clock.move(3 * DAY)
    assert plan_thinning("shop", WINDOW, (), now_ns(), parts) == []


def test_tidying_thins(parts: Parts, vault: SmallVault, clock: FakeClock) -> None:
    """As it was planned; and it is gone once nobody can want it back."""
    first = point_on(parts, START)
    point_on(parts, write(vault, first, clock, 3))
    write(vault, first, clock)
    clock.move(3 * DAY)
    policy = Policy(keep=Keep(any_moment=2 * DAY, daily=30 * DAY), undo=0)
    plan = plan_tidy({"shop": policy}, parts)
    assert [each.records for each in plan.thinnings] == [3]
    tidy(plan, parts)
    parts.catalog.follow(parts.vault.store, None, parts.vault.id)
    timeline = first.marks[0].timeline
    assert [each.count for each in parts.catalog.log.covering(timeline, 0)] == [1]
    assert not vault.check().findings
