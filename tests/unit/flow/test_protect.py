"""Protecting: every component in turn, then one commit, and only then does a kind learn of it."""

from __future__ import annotations

import msgspec
import pytest

from knowngood.core.errors import KnowngoodError, Unsupported, UsageError
from knowngood.core.model import ComponentSpec, Problem, ServiceSpec
from knowngood.flow.parts import Parts
from knowngood.flow.protect import protect
from knowngood.testing.vaults import SmallVault
from tests.unit.flow.notes import NotesKind, service_of


def test_order(parts: Parts, kind: NotesKind) -> None:
    """All are probed before the first is read; all are read before a kind may trust what it learnt."""
    done = protect(service_of("a", "b"), parts)
    steps = ("probe", "checkpoint", "remember")
    assert kind.log == [f"{step} {name}" for step in steps for name in ("a", "b")]
    assert [each.component for each in done.checkpoints] == ["a", "b"]
    assert [mark.checkpoint for mark in done.point.marks] == [each.id for each in done.checkpoints]
    assert parts.progress.phases == ["reading a", "landing a", "reading b", "landing b", "committing"]


def test_what_a_point_says(parts: Parts) -> None:
    """Its service as it was defined then, its level, its evidence, moments that fit each other."""
    service = service_of("a", "b", exclude=("*.tmp",))
    point = protect(service, parts, name="evening").point
    assert msgspec.msgpack.decode(point.definition, type=ServiceSpec) == service
    assert (point.service, point.name, point.level, point.status) == ("shop", "evening", "L0", "recoverable")
    assert set(point.evidence) == {"method", "spread-seconds"}
    assert 0 < point.started_ns <= point.moment_ns <= point.received_ns
    assert parts.catalog.points("shop") == [point]


def test_bytes_are_told_per_component(parts: Parts) -> None:
    """What an earlier component has landed does not count again for a later one."""
    done = protect(service_of("a", "b"), parts)
    first, second = (each.totals.landed_bytes for each in done.checkpoints)
    assert first > second > 0
    assert done.landed_bytes == first + second
    again = protect(service_of("a", "b"), parts)
    assert again.landed_bytes == 0


def test_timelines_stay_the_same(parts: Parts) -> None:
    """They belong to host, service, component and kind, and to nothing that changes."""
    first, second = protect(service_of("a", "b"), parts), protect(service_of("b"), parts)
    assert first.checkpoints[1].timeline == second.checkpoints[0].timeline
    assert first.checkpoints[0].timeline != first.checkpoints[1].timeline


def test_trust_is_in_points_that_are_kept(parts: Parts, kind: NotesKind, vault: SmallVault) -> None:
    """Not in hidden ones: they may be collected at any time."""
    first, second = protect(service_of("a"), parts), protect(service_of("a"), parts)
    vault.expire(first.point)
    protect(service_of("a"), parts)
    assert kind.trusted == {second.checkpoints[0].id}


def test_problems_make_it_incomplete(parts: Parts, kind: NotesKind) -> None:
    """The rest is protected."""
    kind.problems = [Problem(b"secret", "permission denied")]
    done = protect(service_of("a"), parts)
    assert done.point.status == "incomplete"
    assert done.checkpoints[0].problems == (Problem(b"secret", "permission denied"),)
    assert done.checkpoints[0].problem_count == 1


def test_a_component_that_is_not_there(parts: Parts, kind: NotesKind) -> None:
    """Nothing is read of the others."""
    with pytest.raises(UsageError):
        protect(service_of("a", "gone"), parts)
    assert kind.log == ["probe a", "probe gone"]
    assert parts.catalog.points() == []


def test_a_kind_that_fails(parts: Parts, kind: NotesKind, vault: SmallVault) -> None:
    """Nothing becomes visible, the session is withdrawn, and nobody remembers anything."""
    kind.fails = KnowngoodError("no")
    with pytest.raises(KnowngoodError, match="no"):
        protect(service_of("a"), parts)
    assert kind.log[-1] == "checkpoint a"
    vault.follow()
    assert vault.catalog.points() == []
    assert list(vault.store.list("sessions/")) == []


def test_an_unknown_kind(parts: Parts) -> None:
    """The answer names those that there are."""
    service = ServiceSpec(name="s", components=(ComponentSpec(name="x", kind="tape", path="/"),))
    with pytest.raises(Unsupported) as caught:
        protect(service, parts)
    assert caught.value.hint == "it has: notes"


def test_the_vault_learns_no_names(parts: Parts, vault: SmallVault) -> None:
    """Neither of services nor of components: not even from the announcement of who is at work."""
    seen: list[bytes] = []
    original = vault.store.put
    vault.store.put = lambda key, data: (seen.append(b"".join(data)), original(key, data))[1]  # type: ignore[method-assign]
    protect(service_of("a"), parts)
    assert not any(b"shop" in data or b"/srv" in data for data in seen)


def test_a_component_that_is_left_out(parts: Parts, kind: NotesKind) -> None:
    """Where that is asked for: the others are in the point, which is incomplete and says so."""
    del kind.places["/srv/b"]
    service = service_of("a", "b", "c")
    with pytest.raises(UsageError):
        protect(service, parts)
    made = protect(service, parts, partly=True)
    assert [each.component for each in made.checkpoints] == ["a", "c"]
    assert [(each.component.name, each.error.code) for each in made.left_out] == [("b", "usage")]
    assert (made.point.status, made.point.evidence["left-out"]) == ("incomplete", "b")
    assert msgspec.msgpack.decode(made.point.definition, type=ServiceSpec) == service
    assert protect(service_of("a"), parts, partly=True).point.status == "recoverable"
    kind.places.clear()
    with pytest.raises(UsageError):
        protect(service, parts, partly=True)
