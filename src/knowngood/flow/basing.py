"""Bases made while the vault is away: a checkpoint that waits on this machine, and what follows it, in the spool.

It is read as any other: what the newest checkpoint that the home knows of has already is not read again. When the vault
is back it lands with a point of its own, and the moments after it can be had. The other components of the service are
in that point as their newest checkpoints have them, which are older: it says so, and is incomplete.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from knowngood.core.ids import new_id
from knowngood.core.instants import SECOND, now_ns
from knowngood.core.log import LogRecord
from knowngood.core.model import Checkpoint, ComponentSpec, Level, Mark, Point, Position, ServiceSpec, Status
from knowngood.core.ports import CaptureContext, Captured, Durable, Follower
from knowngood.core.progress import Progress
from knowngood.flow.moment import stands_of
from knowngood.flow.parts import Parts
from knowngood.flow.spooling import BaseSink, Spooler
from knowngood.vault.spool import Spool, SpooledBase

APART = 1 << 20
"""So many numbers of records are left out before a base: a home that lost its last moments in a power cut does not know
exactly where the log ends, and a new chain may begin anywhere after that."""

CARRIED = "carried-over"
"""The evidence of a point that names components which are older than it."""


class BaseHere:
    """Makes bases of one component in its spool."""

    def __init__(self, service: ServiceSpec, component: ComponentSpec, timeline: bytes, spool: Spool) -> None:
        self._service = service
        self._component = component
        self._timeline = timeline
        self._spool = spool

    def make(self, follower: Follower, parts: Parts, spooler: Spooler, progress: Progress) -> Position:
        """Make one; the position after it. The follower goes on from it.

        Raises NoSpace when it is more than may wait, NotFound when the component is gone, what else cannot be read.
        """
        relies = self._relies(parts)
        context: CaptureContext | None = None
        captured: Captured | None = None

        def base_of(sink: BaseSink) -> tuple[list[LogRecord], SpooledBase]:
            nonlocal context, captured
            trusted = frozenset((relies,)) if relies else frozenset[bytes]()
            context = CaptureContext(sink, parts.state_dir(self._timeline), trusted, progress, new_id())
            started = now_ns()
            followed = follower.checkpoint(context, first, started)
            captured = followed.captured
            made = self._checkpoint(context.checkpoint_id, captured, parts.host, started)
            return list(followed.records), SpooledBase(made, relies)

        first = self._end(parts) + APART
        progress.enter(f"reading {self._component.name}, for a vault that is away")
        _, end = spooler.keep_base(first, base_of)
        assert context is not None
        assert captured is not None
        follower.landed(Durable.HERE)
        follower.remember(context, captured)
        return end

    def _end(self, parts: Parts) -> int:
        """Where the log ends, as far as this home knows."""
        newest = parts.catalog.log.newest(self._timeline)
        waiting = self._spool.ticks[-1].part.end if self._spool.ticks else 0
        return max(newest.end if newest else 0, waiting)

    def _relies(self, parts: Parts) -> bytes:
        """The newest checkpoint that is known, or waits; empty when there is none."""
        waiting = [each.base.checkpoint.id for each in self._spool.ticks if each.base is not None]
        if waiting:
            return waiting[-1]
        known = stands_of(parts, self._service.name, self._timeline).get(self._timeline, [])
        trusted = parts.catalog.trusted_checkpoints()
        return next((each.checkpoint.id for each in known[-1:] if each.checkpoint.id in trusted), b"")

    def _checkpoint(self, identifier: bytes, captured: Captured, host: str, started: int) -> Checkpoint:
        return Checkpoint(
            id=identifier,
            timeline=self._timeline,
            root=captured.root,
            component=self._component.name,
            kind=self._component.kind,
            source=self._component.where,
            host=host,
            capture=captured.capture,
            started_ns=started,
            finished_ns=now_ns(),
            totals=captured.totals,
            problems=tuple(captured.problems),
            problem_count=captured.problem_count,
        )


def point_of(service: ServiceSpec, parts: Parts) -> Callable[[Checkpoint], Point]:
    """The point of a base that waited."""

    def made(base: Checkpoint) -> Point:
        label = parts.vault.writer.namer.label("service", parts.host, service.name)
        newest = next((each for each in parts.catalog.points(service.name) if each.service_label == label), None)
        ours = {parts.timeline(service, each) for each in service.components} - {base.timeline}
        others = [each for each in newest.marks if each.timeline in ours] if newest else []
        older = [parts.catalog.checkpoint(each.checkpoint) for each in others]
        started = min((base.started_ns, *(each.started_ns for each in older)))
        evidence = {"spread-seconds": f"{(base.finished_ns - started) / SECOND if older else 0:.3f}"}
        if older:
            evidence[CARRIED] = ", ".join(each.component for each in older)
        whole = len(service.components) == 1 and not base.problem_count
        return Point(
            id=new_id(),
            service_label=label,
            service=service.name,
            marks=(Mark(base.timeline, base.id), *others),
            level=Level.CUT,
            status=Status.RECOVERABLE if whole else Status.INCOMPLETE,
            moment_ns=base.finished_ns,
            started_ns=base.started_ns,
            evidence=evidence,
            definition=msgspec.msgpack.encode(service),
        )

    return made
