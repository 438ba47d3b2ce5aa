"""Tidy: what the policy no longer keeps is hidden, small segments of logs are folded, what was hidden long enough is
collected, and what is left gets parity. A plan first, always."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from knowngood.core.errors import Damaged, NotFound, Unaccounted
from knowngood.core.instants import SECOND, now_ns
from knowngood.core.ladder import PointFacts, Verdict, judge
from knowngood.core.model import Point, Policy, Status
from knowngood.flow.fold import fold_logs
from knowngood.flow.heal import parity_kept
from knowngood.flow.hindrance import explained
from knowngood.flow.parts import Parts
from knowngood.flow.thin import Thinning, plan_thinning, thin
from knowngood.vault.collect import Collected, collect
from knowngood.vault.fold import Folded
from knowngood.vault.forget import bad_packs, spent_packs
from knowngood.vault.parity.keep import Kept
from knowngood.vault.survey import Known

_HIDE_TRUST = 7 * 86400 * SECOND
_DELETE_TRUST = 30 * 86400 * SECOND
"""How far the clock may be after the newest commit and still be believed: one that was set years ahead must not let
go of everything. A vault that nothing was added to for longer keeps what it has."""
_ALL_OVER = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Judged:
    """A point and what the ladder says of it."""

    point: Point
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class TidyPlan:
    """What a tidy would do: per service its judged points (newest first), parts of logs that are not kept any more, and
    what collecting would free.

    A hindrance forbids collecting, and not hiding: the points that it comes from may be among those.
    """

    services: Mapping[str, list[Judged]]
    undo_ns: Mapping[str, int]
    thinnings: tuple[Thinning, ...] = ()
    collected: Collected | None = None
    hindrance: Damaged | None = None

    @property
    def expiring(self) -> list[Point]:
        """The points that would be hidden."""
        return [each.point for judged in self.services.values() for each in judged if not each.verdict.keep]


@dataclass(slots=True)
class Tidied:
    """What a tidy did."""

    expired: list[Point] = field(default_factory=list)
    folded: Folded = field(default_factory=Folded)
    collected: Collected | None = None
    hindrance: Damaged | None = None
    parity: Kept = field(default_factory=Kept)


def judge_points(points: Sequence[Point], policy: Policy, now: int) -> list[Judged]:
    """Ask the ladder about the points of one service. The vault's receive time counts, never the agent's."""
    facts = [
        PointFacts(point.id, point.moment_ns, point.received_ns, suspect=point.status == Status.SUSPECT)
        for point in points
    ]
    return [Judged(*each) for each in zip(points, judge(facts, policy.keep, now), strict=True)]


def plan_tidy(policies: Mapping[str, Policy], parts: Parts, *, measure: bool = True) -> TidyPlan:
    """Judge every point of these services. Points of services that are not named here stay.

    Without `measure`, what collecting would free is not looked for: that takes as long as to collect.
    """
    now = min(now_ns(), parts.catalog.latest_received() + _HIDE_TRUST)
    services = {name: judge_points(parts.catalog.points(name), policy, now) for name, policy in policies.items()}
    undo = {name: int(policy.undo * SECOND) for name, policy in policies.items()}
    thinnings: list[Thinning] = []
    for name, policy in policies.items():
        expiring = {each.point.id for each in services[name] if not each.verdict.keep}
        thinnings += plan_thinning(name, policy, expiring, now, parts)
    measured = _collected(parts, dry_run=True) if measure else (None, None)
    return TidyPlan(services, undo, tuple(thinnings), *measured)


def tidy(plan: TidyPlan, parts: Parts) -> Tidied:
    """Carry out a plan: hide, fold, then collect what was hidden long enough ago."""
    done = Tidied()
    for name, judged in plan.services.items():
        expiring = [each.point for each in judged if not each.verdict.keep]
        if expiring:
            expire(expiring, plan.undo_ns[name], parts)
            done.expired += expiring
        thin([each for each in plan.thinnings if each.service == name], plan.undo_ns[name], parts)
    done.folded = fold_logs(parts)
    done.collected, done.hindrance = _collected(parts, dry_run=False)
    done.parity = parity_kept(parts)
    return done


def _collected(parts: Parts, *, dry_run: bool) -> tuple[Collected | None, Damaged | None]:
    try:
        return take_away(parts, dry_run=dry_run), None
    except Damaged as wrong:
        return None, wrong


def take_away(parts: Parts, *, dry_run: bool = False, undo_is_over: bool = False) -> Collected:
    """Collect what no point needs. `undo_is_over` ends the undo window of every hidden point now.

    Raises Damaged when damage hides what is needed: with the points it touches, and the ways out.
    """
    believed = min(now_ns(), parts.catalog.latest_received() + _DELETE_TRUST)
    try:
        return collect(
            parts.vault,
            parts.progress,
            dry_run=dry_run,
            now=_ALL_OVER if undo_is_over else believed,
            known=Known(spent_packs(parts.catalog), bad_packs(parts.catalog), parts.private_here()),
        )
    except Unaccounted as wrong:
        raise explained(wrong, parts) from None


def expire(points: Sequence[Point], undo_ns: int, parts: Parts) -> None:
    """Hide points; they can be brought back for `undo_ns`."""
    with parts.vault.session("expire", freeing=True) as session:
        parts.vault.expire(session, parts.catalog, tuple(point.id for point in points), undo_ns)


def undo(point: Point, parts: Parts) -> None:
    """Bring a hidden point back. Raises NotFound when it is not hidden, or already being collected."""
    if point.id not in parts.catalog.expired():
        raise NotFound("that point is not expired", hint=f"see: knowngood points {point.service} --expired")
    with parts.vault.session("undo") as session:
        parts.vault.undo(session, parts.catalog, (point.id,))
