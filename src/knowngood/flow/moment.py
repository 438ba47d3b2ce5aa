"""Moments: which checkpoint the state of each component comes from, and how far its log is replayed on it.

The state at a moment is that of the nearest checkpoint at or before it, by the time when that was finished, with the
log replayed up to, and not including, the first record in log order that is later. So nothing that is later by its own
clock is ever inside. Where a clock was set back within a log, a moment that came twice means the second time if a
checkpoint was made in that, else the first; where it was wrong for a while and then right, the next checkpoint makes
it right. Records are never put into another order than that of the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from knowngood.core.errors import NotFound
from knowngood.core.model import Checkpoint, Point, Position
from knowngood.flow.parts import Parts
from knowngood.flow.points import checkpoints_of, latest_point, point_at
from knowngood.vault.log_reader import Until
from knowngood.vault.record import PlainSegment


@dataclass(frozen=True, slots=True)
class Stand:
    """A checkpoint, and the point that has it."""

    point: Point
    checkpoint: Checkpoint

    @property
    def position(self) -> Position | None:
        """Its place on its timeline's log; None when it is not on it."""
        found = self.checkpoint.position
        return found if isinstance(found, Position) else None

    @property
    def sequence(self) -> int:
        """The number of the first record after it; -1 when it is not on a log."""
        return self.position.sequence if self.position else -1


@dataclass(frozen=True, slots=True)
class Aim:
    """Where the state of one component comes from. Without `until`, it is the checkpoint as it is.

    `thinned`: the log after the checkpoint was kept for a while, and is not any more.
    """

    stand: Stand
    until: Until | None = None
    thinned: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """What somebody wants to see: `point` itself, or the service as it was some time after that point.

    `asked_ns` is that moment; None for a point itself, and for the newest state that there is.
    """

    point: Point
    aims: tuple[Aim, ...]
    asked_ns: int | None = None

    def chosen(self, component: str | None) -> tuple[Aim, ...]:
        """Its components, or the one of this name. Raises NotFound."""
        if component is None:
            return self.aims
        named = tuple(each for each in self.aims if each.stand.checkpoint.component == component)
        if not named:
            known = ", ".join(each.stand.checkpoint.component for each in self.aims)
            raise NotFound(f"the point has no component '{component}'", hint=f"it has: {known}")
        return named


def moment_of(point: Point, parts: Parts) -> Moment:
    """Exactly that point."""
    return Moment(point, tuple(Aim(Stand(point, each)) for each in checkpoints_of(point, parts)))


def moment_at(parts: Parts, service: str, at_ns: int | None) -> Moment:
    """A service at some instant; the newest there is, whatever clocks say, for None. Raises NotFound.

    Which components there are is what the newest point before it says.
    """
    point = latest_point(parts, service) if at_ns is None else point_at(parts, service, at_ns)
    plain = moment_of(point, parts)
    stands = stands_of(parts, service)
    aims = (_nearest(each.stand, stands, parts, at_ns) for each in plain.aims)
    return replace(plain, aims=tuple(aims), asked_ns=at_ns)


def stands_of(parts: Parts, service: str, timeline: bytes | None = None) -> dict[bytes, list[Stand]]:
    """All checkpoints of a service's points by their timelines, or of one timeline, in the order of their arrival.

    That is the order of the log, too: both are decided by the vault, and no clock can turn them round.
    """
    found: dict[bytes, list[Stand]] = {}
    for point in reversed(parts.catalog.points(service)):
        for mark in point.marks:
            if timeline in (None, mark.timeline):
                stand = Stand(point, parts.catalog.checkpoint(mark.checkpoint))
                found.setdefault(mark.timeline, []).append(stand)
    return found


def _nearest(own: Stand, stands: Mapping[bytes, list[Stand]], parts: Parts, at_ns: int | None) -> Aim:
    """The nearest checkpoint on the timeline, and the log from there. `own` is the one that the point has."""
    on_log = [each for each in stands.get(own.checkpoint.timeline, ()) if each.position is not None]
    if at_ns is not None:
        on_log = [each for each in on_log if each.checkpoint.finished_ns <= at_ns]
        on_log.sort(key=lambda each: each.checkpoint.finished_ns)
    if not on_log or (own.position is None and own.checkpoint.received_ns >= on_log[-1].checkpoint.received_ns):
        return Aim(own)
    nearest = on_log[-1]
    follows = after(nearest, parts)
    return Aim(nearest, Until(moment_ns=at_ns) if follows == After.LOG else None, follows == After.THINNED)


class After(Enum):
    """What there is in the log after a checkpoint."""

    NOTHING = auto()
    LOG = auto()  # or something that tells of a log which is lost
    THINNED = auto()  # nothing that leads on from there: it was kept for a while, and is not any more


def after(stand: Stand, parts: Parts) -> After:
    """What follows a checkpoint on its timeline."""
    if stand.position is None:
        return After.NOTHING
    following = next(parts.catalog.log.covering(stand.checkpoint.timeline, stand.sequence), None)
    if following is None:
        return After.NOTHING
    return After.THINNED if _is_thinned(parts, stand, following) else After.LOG


def _is_thinned(parts: Parts, stand: Stand, following: PlainSegment) -> bool:
    """Whether all that is missing between a checkpoint and the next segment was thinned out on purpose."""
    at = stand.sequence
    for first, end in _hidden(parts, stand.checkpoint.timeline):
        if first <= at < end:
            at = end
    return stand.sequence < following.first <= at


def _hidden(parts: Parts, timeline: bytes) -> Iterator[tuple[int, int]]:
    yield from sorted((part.first, part.end) for part in parts.catalog.log.hidden(timeline))
