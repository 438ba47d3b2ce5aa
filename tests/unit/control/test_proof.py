"""What drills say of a service, against what is promised."""

from __future__ import annotations

import pytest

from knowngood.control.drill_page import page
from knowngood.control.proof import Amiss, amiss, proof_of
from knowngood.core.instants import SECOND
from knowngood.core.model import Judgement, Point, Policy

NOW = 10_000_000 * SECOND


def made(name: bytes, age: float, status: str, level: str = "L1") -> Point:
    """A point."""
    return Point(
        id=name * 16,
        service_label=b"l" * 16,
        service="shop",
        marks=(),
        level=level,
        status=status,
        moment_ns=int(NOW - age * SECOND),
        started_ns=0,
        evidence={},
    )


def judged(point: Point, age: float, seconds: float = 10, reason: str = "") -> Judgement:
    """By a drill so many seconds ago."""
    at = int(NOW - age * SECOND)
    return Judgement(point=point.id, status=point.status, at_ns=at, seconds=seconds, reason=reason)


A, B, C = made(b"a", 300, "proven"), made(b"b", 200, "suspect", "L0"), made(b"c", 100, "recoverable")


def found(*judgements: Judgement, rto: float = 60, drill: float = 1000) -> Amiss | None:
    """What is amiss."""
    proof = proof_of([C, B, A], {each.point: each for each in judgements})
    return amiss("shop", Policy(rto=rto, drill=drill), proof, NOW)


def test_what_is_known() -> None:
    """The newest of each."""
    proof = proof_of([C, B, A], {each.point: each for each in (judged(A, 50), judged(B, 40))})
    assert proof.proven == (A, judged(A, 50))
    assert proof.newest == (B, judged(B, 40))
    assert proof.levels == {"L1": C, "L0": B}
    assert proof.expected == 10


@pytest.mark.parametrize(
    ("amiss", "grave", "said"),
    [
        (found(judged(A, 50)), False, None),
        (found(judged(A, 50), judged(B, 40, reason="no orders")), True, "is suspect: no orders"),
        (found(judged(A, 50, seconds=100)), True, "recovery took 1 min 40 s in the newest drill, and 1m are promised"),
        (found(), False, "it was never proven, and a drill is promised every"),
        (found(judged(A, 2001)), False, "it was 33 min 21 s ago proven"),
        (found(judged(A, 1999)), False, None),
        (found(judged(B, 40), rto=0, drill=0), False, None),
        (found(rto=60, drill=0), False, None),
    ],
)
def test_what_is_amiss(amiss: Amiss | None, grave: bool, said: str | None) -> None:
    """Only what is promised counts."""
    if said is None:
        assert amiss is None
    else:
        assert amiss
        assert said in amiss.reason
        assert amiss.grave == grave


def test_a_page_shows_text_as_text() -> None:
    """Answers of checks come from recovered data."""
    report = {
        "service": "shop", "host": "h", "point": "p", "moment": "m", "level": "L1", "outcome": "suspect",
        "reasons": ["<script>alert(1)</script>"], "started": "s", "isolated": True,
        "sockets_hidden": True, "seconds": 1.0, "rto": None,
        "rto_kept": None, "components": [],
        "checks": [{"what": "a", "expect": None, "came": "failed", "got": "<b>&", "seconds": 1.0}],
    }  # fmt: skip
    text = page(report, "k")
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;b&gt;&amp;" in text
