"""What drills say of a service, against what is promised: when it was last proven, how long recovery takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from knowngood.core.ids import short
from knowngood.core.instants import SECOND, when_text
from knowngood.core.model import Judgement, Level, Point, Policy, Status
from knowngood.core.sizes import span_short, span_text

_LATE = 2.0
"""A drill is overdue after so many times its spacing: the next one may have come to nothing."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The newest proven point and its judgement, the newest judgement of all, and the newest point of each level."""

    proven: tuple[Point, Judgement] | None = None
    newest: tuple[Point, Judgement] | None = None
    levels: Mapping[Level, Point] = field(default_factory=dict[Level, Point])

    @property
    def expected(self) -> float | None:
        """How long a recovery takes, by the newest drill; seconds."""
        return self.newest[1].seconds if self.newest and self.newest[1].seconds else None


def proof_of(points: Sequence[Point], judgements: Mapping[bytes, Judgement]) -> Proof:
    """From the points of a service, newest first, and all judgements in the order of arrival."""
    known = {each.id: each for each in points}
    ours = [(known[point], each) for point, each in judgements.items() if point in known]
    proven = [each for each in ours if each[0].status == Status.PROVEN]
    levels: dict[Level, Point] = {}
    for point in points:
        levels.setdefault(Level(point.level), point)
    return Proof(
        max(proven, key=lambda each: each[0].moment_ns, default=None),
        ours[-1] if ours else None,
        levels,
    )


@dataclass(frozen=True, slots=True)
class Amiss:
    """A promise about recovery that is not kept, and what to do. `grave`: it does not come right by itself."""

    grave: bool
    reason: str
    fix: str


def amiss(service: str, policy: Policy, proof: Proof, now_ns: int) -> Amiss | None:
    """The worst of it; None when all is as promised, or nothing is."""
    if proof.newest and proof.newest[1].status == Status.SUSPECT and policy.drill:
        point, judgement = proof.newest
        said = f"point {short(point.id)} of {when_text(point.moment_ns)} is suspect: {judgement.reason}"
        return Amiss(True, said, f"knowngood drills {service}")
    if policy.rto and proof.expected is not None and proof.expected > policy.rto:
        took, promised = span_text(proof.expected), span_short(policy.rto)
        return Amiss(
            True,
            f"recovery took {took} in the newest drill, and {promised} are promised",
            f"knowngood drills {service}",
        )
    if policy.drill:
        age = None if proof.proven is None else (now_ns - proof.proven[1].at_ns) / SECOND
        if age is None or age > policy.drill * _LATE:
            since = "never" if age is None else f"{span_text(age)} ago"
            said = f"it was {since} proven, and a drill is promised every {span_short(policy.drill)}"
            return Amiss(False, said, f"knowngood drill {service}")
    return None
