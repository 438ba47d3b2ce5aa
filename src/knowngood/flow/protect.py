"""Protect: read every component of a service, land what is new, and make a point. (docs/overview.md follows one change
through here byte by byte.)"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from knowngood.core.errors import Busy, Damaged, KnowngoodError, Unsupported, UsageError
from knowngood.core.fit import misfits
from knowngood.core.ids import new_id
from knowngood.core.instants import now_ns
from knowngood.core.model import Checkpoint, ComponentSpec, Level, Mark, Point, ServiceSpec, Status
from knowngood.core.ports import CaptureContext
from knowngood.flow.capture import Capture
from knowngood.flow.follow import Following
from knowngood.flow.parts import Parts
from knowngood.flow.together import Together
from knowngood.vault.forget import bad_packs, forget_harmed
from knowngood.vault.harm import Harmed
from knowngood.vault.ingest import Ingest
from knowngood.vault.session import Session


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A component that is not in a point, and why."""

    component: ComponentSpec
    error: KnowngoodError


@dataclass(frozen=True, slots=True)
class Protected:
    """What protecting a service came to."""

    point: Point
    checkpoints: tuple[Checkpoint, ...]
    landed_bytes: int
    forgotten: int = 0  # places of damaged content that the index told of before
    left_out: tuple[LeftOut, ...] = ()


def protect(
    service: ServiceSpec,
    parts: Parts,
    *,
    name: str = "",
    partly: bool = False,
    followed: Mapping[str, Following] | None = None,
    level: Level = Level.CUT,
) -> Protected:
    """Make a point of a service. Raises before anything is visible, or returns a point that is durable.

    Files that could not be read are problems of the point; it is then marked incomplete. What landed before an
    interruption is not read again. What a check found damaged is stored again from the source, as far as it is there:
    old points that need it become whole. `partly` is for those who keep going: a component that cannot be protected at
    all is left out, the point is incomplete, and the others are in it. When there is none left, the first error is
    raised. Of components that are `followed`, by their names, only what changed is read; their logs go up to the point.
    `level` is what is asked for, held or quiesced; a point that does not reach it is made all the same, and says why.
    """
    followed = followed or {}
    components, left_out = _probed(service, parts, followed, partly=partly)
    forgotten = _forget_harm(parts)
    started = now_ns()
    timelines = tuple(each.timeline for each in followed.values())
    with (
        Together(service, level, followed, left_out=bool(left_out)) as together,
        parts.vault.session("protect", timelines=timelines) as session,
    ):
        # What expired before the session was announced must not be trusted: it may be on its way out (INV-6).
        parts.catalog.follow(parts.vault.store, None, parts.vault.id)
        with parts.vault.ingest(session, parts.progress) as sink:
            captures = [_begin(service, each, parts, session, sink, followed.get(each.name)) for each in components]
            together.hold(captures)
            for each in together.ordered(captures):
                _capture(each, parts, together)
            landed = sink.landed_bytes
        parts.progress.enter("committing")
        checkpoints = tuple(each.checkpoint for each in captures)
        point = _point(service, checkpoints, parts, started, name, left_out, together)
        point = msgspec.structs.replace(point, evidence=point.evidence | _instants(captures))
        point = parts.vault.commit_point(session, parts.catalog, point, checkpoints)
    for each in captures:
        each.remember()
    return Protected(point, checkpoints, landed, forgotten, left_out)


def _probed(
    service: ServiceSpec, parts: Parts, followed: Mapping[str, Following], *, partly: bool
) -> tuple[tuple[ComponentSpec, ...], tuple[LeftOut, ...]]:
    """The components that can be protected, and those that cannot."""
    good: list[ComponentSpec] = []
    left_out: list[LeftOut] = []
    for component in service.components:
        try:
            kind = parts.kind(component.kind)
            for each in misfits(component, kind.traits):
                raise UsageError(f"service '{service.name}': {each.problem}", hint=each.fix)
            kind.probe(component)
            following = followed.get(component.name)
            if following is not None and (why := following.standing.unready) is not None:
                raise why
            good.append(component)
        except KnowngoodError as wrong:
            if not partly:
                raise
            left_out.append(LeftOut(component, wrong))
    if left_out and not good:
        raise left_out[0].error
    return tuple(good), tuple(left_out)


def _forget_harm(parts: Parts) -> int:
    """Make the index forget what a check found damaged, so that this run finds it missing. Returns how many places.

    While somebody else keeps the vault in order, or the index has to be rebuilt first, it is left for the next run.
    """
    catalog = parts.catalog
    if catalog.harm() != Harmed.FOUND:
        return 0
    try:
        done = forget_harmed(parts.vault, bad_packs(catalog), parts.progress)
    except (Busy, Damaged, Unsupported):
        return 0
    at = now_ns()
    catalog.note_checked([(pack, at, verdict) for pack, verdict in done.verdicts.items()])
    catalog.distrust()  # also what came between the check and now
    catalog.note_harm(Harmed.FORGOTTEN)
    return done.places


def _begin(
    service: ServiceSpec,
    component: ComponentSpec,
    parts: Parts,
    session: Session,
    sink: Ingest,
    following: Following | None,
) -> Capture:
    timeline = parts.timeline(service, component)
    context = CaptureContext(
        sink=sink,
        state_dir=parts.state_dir(timeline),
        trusted=parts.catalog.trusted_checkpoints(session.epoch.purged),
        progress=parts.progress,
        checkpoint_id=new_id(),
    )
    if following is not None:
        following.open(session)
    return Capture(component, parts.kind(component.kind), context, sink, timeline, following)


def _capture(each: Capture, parts: Parts, together: Together) -> None:
    """Read a component, where that was not done while it was held, and land it. Its state is of the common instant,
    where there is one."""
    parts.progress.enter(f"reading {each.component.name}")
    landed_before = each.sink.landed_bytes
    captured = each.read(together.moment_ns)
    together.confirm(each)
    parts.progress.enter(f"landing {each.component.name}")
    position = each.land()
    each.made = Checkpoint(
        id=each.context.checkpoint_id,
        timeline=each.timeline,
        root=captured.root,
        component=each.component.name,
        kind=each.component.kind,
        source=each.component.where,
        host=parts.host,
        capture=captured.capture,
        started_ns=each.started_ns,
        finished_ns=together.moment_ns or now_ns(),
        totals=msgspec.structs.replace(captured.totals, landed_bytes=each.sink.landed_bytes - landed_before),
        problems=tuple(captured.problems),
        problem_count=captured.problem_count,
        position=position,
    )


def _instants(captures: Iterable[Capture]) -> dict[str, str]:
    """Which components are of one instant each, all their files together, and how that came about."""
    made = [(each.component.name, each.captured) for each in captures]
    found = [f"{name} ({captured.instant})" for name, captured in made if captured and captured.instant]
    return {"one-instant": ", ".join(found)} if found else {}


def _point(
    service: ServiceSpec,
    checkpoints: tuple[Checkpoint, ...],
    parts: Parts,
    started: int,
    name: str,
    left_out: tuple[LeftOut, ...],
    together: Together,
) -> Point:
    finished = together.moment_ns or now_ns()
    incomplete = bool(left_out) or any(each.problem_count for each in checkpoints)
    spread = 0 if together.moment_ns else max((each.finished_ns for each in checkpoints), default=finished) - started
    return Point(
        id=new_id(),
        service_label=parts.vault.writer.namer.label("service", parts.host, service.name),
        service=service.name,
        marks=tuple(Mark(each.timeline, each.id) for each in checkpoints),
        level=together.level,
        status=Status.INCOMPLETE if incomplete else Status.RECOVERABLE,
        moment_ns=finished,
        started_ns=started,
        evidence={
            **together.evidence,
            "spread-seconds": f"{spread / 1e9:.3f}",
            **({"left-out": ", ".join(each.component.name for each in left_out)} if left_out else {}),
        },
        definition=msgspec.msgpack.encode(service),
        name=name,
    )
