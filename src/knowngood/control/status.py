"""Is our protection what we promised? For every service, from the catalog, and from the keeper if one runs."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from knowngood.control.home import Home
from knowngood.control.lapses import Breach, Lapses, risk_of
from knowngood.control.promises import State
from knowngood.control.proof import Amiss, Proof, amiss, proof_of
from knowngood.control.services import Broken, list_services
from knowngood.control.up.client import running
from knowngood.control.up.protocol import FollowerState, Running, ServiceNow
from knowngood.control.up.work import Newest, newest_of
from knowngood.control.workshop import Workshop
from knowngood.core.errors import Busy, KnowngoodError, NotFound
from knowngood.core.instants import SECOND, now_ns
from knowngood.core.model import Point, ServiceSpec
from knowngood.core.sizes import span_text
from knowngood.vault.catalog import Catalog
from knowngood.vault.forget import bad_packs

NOT_RUNNING = "knowngood up is not running"
_A_LITTLE = 5.0
"""Seconds by which a clock may have been corrected."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a service stands. `reason` says why it is not kept, or what is amiss though it is; seconds."""

    name: str
    state: State
    reason: str
    fix: str
    promised: float  # the rpo; 0 for none
    every: float
    newest: Point | None  # the newest complete point
    at_risk: float | None  # what would be lost now: the age of the newest complete point
    now: ServiceNow | None
    proof: Proof = field(default_factory=Proof)
    rto: float = 0  # how long recovery may take; 0: nothing is promised
    amiss: Amiss | None = None  # with what is promised about recovery
    worst: float | None = None  # what would have been lost at the worst moment of the last 24 hours; None: unmeasured
    breaches: tuple[Breach, ...] = ()  # times in which writes did not wait for the vault, though they are to


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What reading the vault back found, as this home knows: how many objects were read, when the one was that was read
    longest ago (ns, 0: none was), and how many were damaged."""

    objects: int = 0
    oldest_ns: int = 0
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """How all stands. `trouble` keeps the vault from being looked at; `silent` is a keeper that gives no answer."""

    verdicts: tuple[Verdict, ...]
    keeper: Running | None
    trouble: KnowngoodError | None
    silent: Busy | None = None
    read_back: ReadBack = field(default_factory=ReadBack)

    @property
    def kept(self) -> bool:
        """Whether everything that is promised is kept, for certain."""
        kept = all(each.state == State.KEPT or not _promises(each) for each in self.verdicts)
        return kept and not any(each.amiss or unsafe(each) for each in self.verdicts)


def unsafe(verdict: Verdict) -> Sequence[FollowerState]:
    """Components whose writes are to wait for the vault, and do not now."""
    return [each for each in verdict.now.followers if each.unsafe] if verdict.now else []


def _promises(verdict: Verdict) -> bool:
    return bool(verdict.promised) or verdict.state == State.BROKEN


def assess(shop: Workshop, only: str | None = None) -> Report:
    """Look at every service of a home, or at one. Raises NotFound when there is no such service."""
    shop.home.vault_path()  # a home that was not set up is no promise that is broken
    listing = list_services(shop.home)
    services = [each for each in listing.services if only in (None, each.name)]
    broken = [each for each in listing.broken if only in (None, each.name)]
    if only is not None and not services and not broken:
        raise NotFound(f"there is no service '{only}'", hint="knowngood service list")
    asked = _keeper(shop.home)
    catalog, trouble = _catalog(shop)
    try:
        judged = [_judged(each, shop.home, catalog, asked, trouble) for each in services]
        read_back = _read_back(catalog)
    finally:
        catalog.close()
    judged += [_unreadable(each) for each in broken]
    judged.sort(key=lambda each: (list(State).index(each.state), -(each.at_risk or 0), each.name))
    return Report(tuple(judged), asked.keeper, trouble, asked.silent, read_back)


def _read_back(catalog: Catalog) -> ReadBack:
    rows = catalog.checked().values()
    return ReadBack(len(rows), min((at for at, _ in rows), default=0), len(bad_packs(catalog)))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What came of asking the keeper, and why there is none."""

    keeper: Running | None
    silent: Busy | None = None

    @property
    def why(self) -> tuple[str, str]:
        """What is wrong and what to do."""
        return (self.silent.message, self.silent.hint) if self.silent else (NOT_RUNNING, "knowngood up")


def _keeper(home: Home) -> _Asked:
    try:
        return _Asked(running(home))
    except Busy as wrong:
        return _Asked(None, wrong)


def _catalog(shop: Workshop) -> tuple[Catalog, KnowngoodError | None]:
    """The catalog as new as can be, and what kept it from being brought up to the vault."""
    catalog = Catalog(shop.home.catalog)
    try:
        catalog.follow(shop.store, None, shop.vault.id)
    except KnowngoodError as wrong:
        return catalog, wrong
    return catalog, None


def _unreadable(broken: Broken) -> Verdict:
    reason = f"its file cannot be read, it is not protected: {broken.error.message}"
    return Verdict(broken.name, State.BROKEN, reason, broken.error.hint, 0, 0, None, None, None)


def _judged(
    service: ServiceSpec, home: Home, catalog: Catalog, asked: _Asked, trouble: KnowngoodError | None
) -> Verdict:
    keeper = asked.keeper
    points: list[Point] = []
    try:
        points = catalog.points(service.name)
        newest = newest_of(home, points, service.name, socket.gethostname())
    except KnowngoodError as wrong:
        newest, trouble = Newest(None, None), trouble or wrong
    now = next((each for each in keeper.services if each.name == service.name), None) if keeper else None
    at_risk = risk_of(service, age_of(newest.complete, now), now)
    if trouble:
        state, reason, fix = State.BROKEN, trouble.message, trouble.hint
    elif newest.complete is None:
        state, reason, fix = _without_point(service.name, newest, asked, now, catalog.nameless())
    else:
        state, reason, fix = _by_age(service, newest, at_risk, asked, now)
    if not service.policy.rpo:
        state, fix = State.UNKNOWN, fix or f"knowngood policy set {shlex.quote(service.name)} rpo=5m"
        reason = "; ".join(filter(None, ("no rpo is promised", reason)))
    policy, proof = service.policy, _proof(catalog, points)
    wrong = amiss(service.name, policy, proof, now_ns())
    if wrong:
        reason, fix = "; ".join(filter(None, (reason, wrong.reason))), fix or wrong.fix
    lapses = Lapses(home)
    worst = [each for each in (lapses.worst(service.name, now_ns()), at_risk) if each is not None]
    return Verdict(
        service.name,
        state,
        reason,
        fix,
        policy.rpo,
        policy.every,
        newest.complete,
        at_risk,
        now,
        proof,
        policy.rto,
        wrong,
        max(worst, default=None),
        tuple(lapses.breaches(service.name)),
    )


def _proof(catalog: Catalog, points: Sequence[Point]) -> Proof:
    with suppress(KnowngoodError):  # of a catalog that cannot be read, the verdict tells
        return proof_of(points, catalog.judgements())
    return Proof()


def age_of(complete: Point | None, now: ServiceNow | None) -> float | None:
    """Seconds since a point was begun: all that was written before then is inside. None when nobody can say.

    The keeper's own measure comes first: no wall clock takes part in it.
    """
    if complete is None:
        return None
    if now and now.point == complete.id.hex() and now.age is not None:
        return now.age
    age = (now_ns() - complete.started_ns) / SECOND
    return max(0.0, age) if age > -_A_LITTLE else None


_Finding = tuple[State, str, str]


def _without_point(name: str, newest: Newest, asked: _Asked, now: ServiceNow | None, nameless: int) -> _Finding:
    if now and now.failure:
        return State.BROKEN, f"there is no complete point: {now.failure.message}", now.failure.hint
    if newest.point:
        return State.BROKEN, "there is no complete point: some things could not be read", f"knowngood protect {name}"
    if nameless:
        fix = "knowngood vault rebuild --passphrase-file FILE"
        return State.UNKNOWN, f"{nameless} points are there whose names take the private key", fix
    if now and now.due_in is not None:
        return State.LATE, "there is no point yet; the first one is on its way", ""
    return (
        State.BROKEN,
        "there is no point" + ("" if asked.keeper else f", and {asked.why[0]}"),
        f"knowngood protect {name}",
    )


def _by_age(
    service: ServiceSpec, newest: Newest, at_risk: float | None, asked: _Asked, now: ServiceNow | None
) -> _Finding:
    name, rpo, keeper = service.name, service.policy.rpo, asked.keeper
    failure = now.failure if now else None
    if at_risk is None:
        return State.UNKNOWN, "the newest point is of a time to come: the clock was set back", "timedatectl status"
    if failure and rpo:
        return State.KEPT if at_risk <= rpo else State.BROKEN, failure.message, failure.hint
    if at_risk <= rpo or not rpo:
        return (State.KEPT, "", "") if keeper or not service.policy.every else (State.KEPT, *asked.why)
    if newest.point and newest.complete and newest.point.id != newest.complete.id:
        return State.LATE, "some things could not be read in the newest point", f"knowngood protect {name}"
    if keeper is None:
        return State.LATE, *asked.why
    if keeper.doing and keeper.doing.service == name:
        return State.LATE, "a point is being made", ""
    if keeper.waiting_for:
        return State.LATE, keeper.waiting_for, ""
    return State.LATE, "the next point is on its way", ""


def headline(report: Report) -> str:
    """The one sentence that answers: could I lose data?"""
    promised = [each for each in report.verdicts if _promises(each)]
    failing = [each for each in promised if each.state != State.KEPT]
    if not report.verdicts:
        return "there is no service: nothing is protected"
    unproven = [each for each in report.verdicts if each.amiss]
    waiting = [each for each in report.verdicts if unsafe(each)]
    if waiting and not failing:
        return f"writes do not wait for the vault, though they are to: {', '.join(names(waiting))}"
    if unproven and not failing:
        return f"recovery is not as promised: {', '.join(names(unproven))}"
    if not promised:
        return "nothing is promised: nobody says how much may be lost"
    if not failing:
        most = max(each.at_risk or 0 for each in promised)
        return f"all is as promised: at most the last {span_text(most)} would be lost now"
    return f"{len(failing)} of {len(promised)} services not as promised: {', '.join(names(failing))}"


def names(verdicts: Sequence[Verdict]) -> list[str]:
    """The first few names."""
    shown = [each.name for each in verdicts[:5]]
    return [*shown, "…"] if len(verdicts) > len(shown) else shown
