"""Timeline: which moments of each component can be had, and where and why they cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from knowngood.core.errors import Damaged, NotFound, Unsupported
from knowngood.flow.moment import After, Stand, after, stands_of
from knowngood.flow.parts import Parts
from knowngood.flow.points import latest_point
from knowngood.flow.state import Clock, next_stand
from knowngood.vault.log_reader import LogReader


@dataclass(frozen=True, slots=True)
class Break:
    """Where a log breaks: record `sequence` is the first that is not known. `following` makes it whole again."""

    after_ns: int
    sequence: int
    reason: str
    following: Stand | None


@dataclass(frozen=True, slots=True)
class Covered:
    """A stretch in which every moment can be had. It begins with a checkpoint; `broken` says why it ends, if it did."""

    stand: Stand
    until_ns: int
    records: int
    broken: Break | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """One component: its checkpoints in the order of the log, and what the log covers between and after them."""

    component: str
    id: bytes
    stands: Sequence[Stand]
    covered: Sequence[Covered]

    @property
    def records(self) -> int:
        """How many records of its log can be replayed."""
        return sum(each.records for each in self.covered)


def timelines(service: str, parts: Parts) -> list[Timeline]:
    """The timelines of the components that a service has now, each read in full. Raises NotFound, Locked."""
    point = latest_point(parts, service)
    stands = stands_of(parts, service)
    with parts.vault.session("look", reading=True):
        return [_timeline(stands[mark.timeline], parts) for mark in point.marks]


def _timeline(stands: list[Stand], parts: Parts) -> Timeline:
    checkpoint = stands[-1].checkpoint
    parts.progress.enter(f"reading the log of {checkpoint.component}")
    covered: list[Covered] = []
    reached = -1
    for stand in stands:
        if stand.sequence > reached and after(stand, parts) == After.LOG:
            covered.append(_walk(stand, stands, parts))
            broken = covered[-1].broken
            # A checkpoint at the very place of a break may be where the next chain begins.
            reached = stand.sequence + covered[-1].records - (broken is not None)
    return Timeline(checkpoint.component, checkpoint.timeline, stands, covered)


def _walk(stand: Stand, stands: list[Stand], parts: Parts) -> Covered:
    checkpoint, position = stand.checkpoint, stand.position
    assert position is not None
    reader = LogReader(parts.vault, parts.catalog, parts.private())
    clock, records = Clock(checkpoint.finished_ns), 0
    try:
        for record in reader.records(checkpoint.timeline, position):
            clock.note(record)
            records += 1
    except (NotFound, Damaged, Unsupported) as wrong:
        sequence = position.sequence + records
        following = next_stand({checkpoint.timeline: stands}, stand, sequence)
        broken = Break(clock.last_ns, sequence, wrong.message, following)
        return Covered(stand, max(clock.latest_ns - 1, checkpoint.finished_ns), records, broken)
    return Covered(stand, max(clock.latest_ns, checkpoint.finished_ns), records)
