"""Drill: a rehearsed recovery. A point is brought back into a private folder, started without the host's network, asked
what the service's checks ask, and thrown away; how long each part took is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from knowngood.core.errors import KnowngoodError
from knowngood.core.instants import now_ns
from knowngood.core.model import Judgement, Point, ServiceSpec, Status
from knowngood.flow.checks import Answered, Came, run_checks
from knowngood.flow.moment import Moment
from knowngood.flow.parts import Parts
from knowngood.flow.private import private_folder
from knowngood.flow.rig import Piece, Rig, bring_back, bytes_of, speaks_against, start
from knowngood.linux.apart import Isolation, apart


class Outcome(StrEnum):
    """What a drill says of a point."""

    PROVEN = "proven"
    SUSPECT = "suspect"
    UNPROVEN = "unproven"  # nothing speaks against the point; something here kept it from being proven


@dataclass(slots=True)
class Drilled:
    """What a drill came to. Seconds; `reasons` say why it is not proven."""

    service: ServiceSpec
    moment: Moment
    started_ns: int
    pieces: list[Piece] = field(default_factory=list[Piece])
    answers: list[Answered] = field(default_factory=list[Answered])
    isolation: Isolation = field(default_factory=Isolation)
    finished_ns: int = 0

    @property
    def seconds(self) -> float:
        """How long the recovery took: all parts, one after the other, until each answered."""
        return sum(each.recover_seconds + (each.start_seconds or 0) for each in self.pieces)

    @property
    def rto_kept(self) -> bool | None:
        """Whether that is within what is promised; None where nothing is."""
        promised = self.service.policy.rto
        return self.seconds <= promised if promised else None

    @property
    def reasons(self) -> list[str]:
        """What keeps the point from being proven, what speaks against it first."""
        return [*self._against, *self._hindrances]

    @property
    def _against(self) -> list[str]:
        found = [f"{name}: {wrong.message}" for name, wrong in self._errors if speaks_against(wrong)]
        bad = (Came.FAILED, Came.HUNG)
        return found + [f"{each.check.what}: {each.came}: {each.got}" for each in self.answers if each.came in bad]

    @property
    def _hindrances(self) -> list[str]:
        found = [f"{name}: {wrong.message}" for name, wrong in self._errors if not speaks_against(wrong)]
        counts = {each.component.name: each.recovered.problem_count for each in self.pieces if each.recovered}
        return found + [
            f"{name}: {count} things could not be written as they were" for name, count in counts.items() if count
        ]

    @property
    def _errors(self) -> list[tuple[str, KnowngoodError]]:
        return [(each.component.name, each.error) for each in self.pieces if each.error is not None]

    @property
    def outcome(self) -> Outcome:
        """What is said of the point."""
        if self._against:
            return Outcome.SUSPECT
        return Outcome.UNPROVEN if self._hindrances else Outcome.PROVEN

    @property
    def point(self) -> Point | None:
        """The point that was rehearsed; None for a moment between points."""
        whole = all(each.until is None and each.stand.point == self.moment.point for each in self.moment.aims)
        return self.moment.point if self.moment.asked_ns is None and whole else None


def drill(moment: Moment, service: ServiceSpec, parts: Parts, *, registry: str, scripts: str) -> Drilled:
    """Rehearse the recovery of a moment, with the checks, the order and the promises of a service as it is now.

    `registry` is where private folders are known, `scripts` where relative paths of scripts begin. Raises what keeps
    it from being begun; everything later is part of the outcome.
    """
    drilled = Drilled(service, moment, now_ns())
    with private_folder(registry, bytes_of(moment)) as folder:
        rig = bring_back(moment, folder, parts, service)
        drilled.pieces = rig.pieces
        drilled.isolation = apart(lambda: _try(drilled, rig, parts, scripts, folder), rig.stop, folder)
    drilled.finished_ns = now_ns()
    return drilled


def _try(drilled: Drilled, rig: Rig, parts: Parts, scripts: str, folder: str) -> None:
    """Start and ask."""
    with _stopped(rig):
        start(rig, parts)
        if rig.errors:
            return
        parts.progress.enter("checking")
        drilled.answers = run_checks(rig, drilled.service.checks, scripts, folder)


@contextmanager
def _stopped(rig: Rig) -> Iterator[None]:
    try:
        yield
    finally:
        rig.stop()


def judge(drilled: Drilled, report: bytes, parts: Parts) -> Judgement | None:
    """Mark the point in the vault: proven or suspect. `report` is the hash of the drill's report."""
    point = drilled.point
    if point is None or drilled.outcome == Outcome.UNPROVEN:
        return None
    status = Status.PROVEN if drilled.outcome == Outcome.PROVEN else Status.SUSPECT
    judgement = Judgement(
        point=point.id,
        status=status,
        at_ns=now_ns(),
        seconds=drilled.seconds,
        report=report,
        reason="; ".join(drilled.reasons)[:1000],
    )
    with parts.vault.session("drill") as session:
        parts.vault.judge(session, parts.catalog, (judgement,))
    return judgement
