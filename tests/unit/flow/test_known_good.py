"""The last known good point, and the order of recovery."""

from __future__ import annotations

import msgspec
import pytest

from knowngood.core.errors import NotFound
from knowngood.core.model import Judgement, Point, ServiceSpec
from knowngood.flow.choose import chosen_moment
from knowngood.flow.moment import moment_of
from knowngood.flow.parts import Parts
from knowngood.flow.protect import protect
from knowngood.flow.recover import Wish, recover
from tests.unit.flow.notes import NotesKind, service_of


def judged(parts: Parts, point: Point, status: str) -> None:
    """A drill says so."""
    with parts.vault.session("drill") as session:
        parts.vault.judge(session, parts.catalog, (Judgement(point=point.id, status=status, at_ns=1),))


def test_the_newest_proven_before_the_first_suspect(parts: Parts) -> None:
    """Whatever was proven after it; and when the suspicion is over, the newest of all."""
    points = [protect(service_of("a"), parts).point for _ in range(5)]
    with pytest.raises(NotFound, match="no point of 'shop' was proven"):
        chosen_moment(parts, "shop", "last-known-good")
    judged(parts, points[0], "proven")
    judged(parts, points[1], "proven")
    judged(parts, points[3], "suspect")
    judged(parts, points[4], "proven")
    assert chosen_moment(parts, "shop", "last-known-good").point.id == points[1].id
    judged(parts, points[3], "proven")
    assert chosen_moment(parts, "shop", "Last-Known-Good").point.id == points[4].id
    judged(parts, points[0], "suspect")
    with pytest.raises(NotFound, match="before the first suspect one"):
        chosen_moment(parts, "shop", "last-known-good")


def test_components_come_back_in_order(parts: Parts, kind: NotesKind) -> None:
    """As the service says now; those that it does not name, afterwards."""
    point = protect(service_of("a", "b", "c"), parts).point
    service: ServiceSpec = msgspec.structs.replace(service_of("a", "b", "c"), order=("c", "b"))
    recover(moment_of(point, parts), Wish(to="/out"), parts, lambda _: True, service)
    assert [each for each in kind.log if each.startswith("materialize")] == [
        "materialize c",
        "materialize b",
        "materialize a",
    ]


def test_what_refers_is_read_first(parts: Parts, kind: NotesKind) -> None:
    """Nothing that is named in one part is missing in the other: the level says so."""
    service: ServiceSpec = msgspec.structs.replace(service_of("a", "b", "c"), refers_to={"c": ("b",), "b": ("a",)})
    point = protect(service, parts).point
    assert [each for each in kind.log if each.startswith("checkpoint")] == [
        "checkpoint c",
        "checkpoint b",
        "checkpoint a",
    ]
    assert point.level == "L0+"
    assert protect(service_of("a", "b"), parts).point.level == "L0"
