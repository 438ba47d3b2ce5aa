"""Choosing a point, planning, asking, and only then writing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from knowngood.core.errors import Damaged, NotFound, UsageError
from knowngood.core.instants import SECOND
from knowngood.core.model import Point
from knowngood.flow.moment import moment_of
from knowngood.flow.parts import Parts
from knowngood.flow.points import latest_point, point_at
from knowngood.flow.protect import protect
from knowngood.flow.recover import ComponentPlan, Wish, recover
from knowngood.testing.clock import FakeClock
from knowngood.testing.vaults import SmallVault
from knowngood.vault.catalog import Catalog
from tests.unit.flow.notes import NotesKind, service_of


def yes(_: list[ComponentPlan]) -> bool:
    """Agreed."""
    return True


# ------------------------------------------------------------------------------------------------------ choosing


def test_moments_and_ids(parts: Parts) -> None:
    """The newest at or before a moment; the beginning of an id; a name, the newest of those that share it."""
    with FakeClock() as clock:
        made: list[Point] = []
        for name in ("one", "same", "same"):
            made.append(protect(service_of("a"), parts, name=name).point)
            clock.move(10)
    first, second, third = made
    assert latest_point(parts, "shop") == third
    assert point_at(parts, "shop", third.moment_ns + SECOND) == third
    assert point_at(parts, "shop", third.moment_ns) == third
    assert point_at(parts, "shop", third.moment_ns - 1) == second
    assert point_at(parts, "shop", first.moment_ns) == first
    assert point_at(parts, "shop", second.id.hex()[:8]) == second
    assert point_at(parts, "shop", first.id.hex().upper()) == first
    assert point_at(parts, "shop", "one") == first
    assert point_at(parts, "shop", "same") == third


def test_before_the_first(parts: Parts) -> None:
    """The answer says how old the oldest is."""
    point = protect(service_of("a"), parts).point
    with pytest.raises(NotFound) as caught:
        point_at(parts, "shop", point.moment_ns - 1)
    assert "knowngood points shop" in caught.value.hint


def test_no_point(parts: Parts, vault: SmallVault) -> None:
    """None at all; or one whose name is not known without the key, which is told apart."""
    for ask in (lambda: latest_point(parts, "shop"), lambda: point_at(parts, "shop", 1)):
        with pytest.raises(NotFound) as caught:
            ask()
        assert caught.value.hint == "make one with: knowngood protect shop"
    protect(service_of("a"), parts)
    blind = Catalog(":memory:")
    blind.follow(vault.store, None, vault.vault.id)
    with pytest.raises(NotFound) as caught:
        latest_point(replace(parts, catalog=blind), "shop")
    blind.close()
    assert "private key" in caught.value.message
    assert "--recovery-key-file" in caught.value.hint


def test_point_of_another_service(parts: Parts) -> None:
    """Its id is known, and does not do."""
    other = msgspec.structs.replace(service_of("b"), name="other")
    point = protect(other, parts).point
    protect(service_of("a"), parts)
    with pytest.raises(NotFound, match="one of 'other'"):
        point_at(parts, "shop", point.id.hex())
    for text in ("%", "", "not hex", "f" * 40):
        with pytest.raises(NotFound):
            point_at(parts, "shop", text)


def test_a_hidden_point_by_its_id(parts: Parts, vault: SmallVault) -> None:
    """Even when no other is left."""
    point = protect(service_of("a"), parts, name="x").point
    vault.expire(point, undo_ns=SECOND * 1000)
    assert point_at(parts, "shop", point.id.hex()) == point
    with pytest.raises(NotFound):
        point_at(parts, "shop", "x")


# ---------------------------------------------------------------------------------------------------- recovering


def test_plans_first_then_the_same_plans(parts: Parts, kind: NotesKind) -> None:
    """All are planned before the first is carried out, and it is the objects that were agreed to."""
    point = protect(service_of("a", "b"), parts).point
    kind.places = {}
    agreed: list[ComponentPlan] = []

    def agree(plans: list[ComponentPlan]) -> bool:
        agreed.extend(plans)
        return True

    kind.log.clear()
    done = recover(moment_of(point, parts), Wish(), parts, agree)
    assert kind.log == ["plan a", "plan b", "materialize a", "materialize b"]
    assert [plan for plan, _ in done] == agreed
    assert kind.places["/srv/a"][b"text"] == b"a" * 50
    assert parts.progress.phases[-3:] == ["planning", "recovering a", "recovering b"]


def test_no(parts: Parts, kind: NotesKind) -> None:
    """Nothing is written."""
    point = protect(service_of("a"), parts).point
    kind.places = {}
    assert recover(moment_of(point, parts), Wish(), parts, lambda _: False) == []
    assert kind.places == {}


def test_targets(parts: Parts, kind: NotesKind, tmp_path: Path) -> None:
    """A folder each below the one that is named; one component straight into it."""
    point = protect(service_of("a", "b"), parts).point
    recover(moment_of(point, parts), Wish(to=str(tmp_path)), parts, yes)
    recover(moment_of(point, parts), Wish(component="b", to=str(tmp_path / "x")), parts, yes)
    assert {f"{tmp_path}/a", f"{tmp_path}/b", f"{tmp_path}/x"} <= set(kind.places)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        recover(moment_of(point, parts), Wish(to=str(tmp_path / "file")), parts, yes)
    with pytest.raises(NotFound) as caught:
        recover(moment_of(point, parts), Wish(component="z"), parts, yes)
    assert caught.value.hint == "it has: a, b"


def test_what_was_excluded_then(parts: Parts, kind: NotesKind) -> None:
    """Comes along from the point's own definition."""
    point = protect(service_of("a", exclude=("*.tmp",)), parts).point
    recover(moment_of(point, parts), Wish(delete_extra=True), parts, yes)
    assert (kind.requests[-1].exclude, kind.requests[-1].delete_extra) == (("*.tmp",), True)
    old = msgspec.structs.replace(point, definition=b"")
    recover(moment_of(old, parts), Wish(), parts, yes)
    assert kind.requests[-1].exclude == ()


def test_paths_go_to_the_components_that_have_them(parts: Parts, kind: NotesKind) -> None:
    """Those that have none are not even planned in the end."""
    kind.places["/srv/a"][b"only a"] = b"1"
    kind.places["/srv/b"][b"only b"] = b"2"
    point = protect(service_of("a", "b", "c"), parts).point
    kind.places = {}
    recover(moment_of(point, parts), Wish(paths=("only a", "*b")), parts, yes)
    assert kind.places == {"/srv/a": {b"only a": b"1"}, "/srv/b": {b"only b": b"2"}}
    kind.places = {}
    recover(moment_of(point, parts), Wish(paths=("common",)), parts, yes)
    assert set(kind.places) == {"/srv/a", "/srv/b", "/srv/c"}


def test_a_path_that_nobody_has(parts: Parts, kind: NotesKind) -> None:
    """Nothing is written of the others."""
    point = protect(service_of("a", "b"), parts).point
    kind.places = {}
    for wish in (Wish(paths=("text", "nothing")), Wish(component="a", paths=("nothing",))):
        with pytest.raises(NotFound, match="nothing"):
            recover(moment_of(point, parts), wish, parts, yes)
    assert kind.places == {}


def test_what_is_missing_in_the_vault_is_damage(parts: Parts, vault: SmallVault) -> None:
    """It must not be taken for a path that was not found."""
    point = protect(service_of("a", "b"), parts).point
    for each in list(vault.store.list("pages/")):
        vault.store.delete(each.key)
    with pytest.raises(Damaged):
        recover(moment_of(point, parts), Wish(paths=("text",)), parts, yes)
