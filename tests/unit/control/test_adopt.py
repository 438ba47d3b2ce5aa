"""What the points of a vault offer a home: only definitions that a file could hold."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from knowngood.control.adopt import offers, plan_adoption
from knowngood.control.home import Home
from knowngood.control.services import get_service, save_service
from knowngood.core.model import Check, ComponentSpec, Hooks, Point, Policy, ServiceSpec
from knowngood.core.progress import Progress
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault

GOOD = ServiceSpec(name="s", components=(ComponentSpec(name="c", kind="files", path="/srv"),), policy=Policy(undo=60))


@pytest.fixture
def small() -> SmallVault:
    """Without a point."""
    return SmallVault(MemoryStore())


def _point(small: SmallVault, definition: bytes, service: str = "s") -> Point:
    with small.vault.session("protect") as session, small.vault.ingest(session, Progress()) as sink:
        return small.commit(session, small.land(sink, {b"f": b"content"}), service, definition=definition)


def test_the_newest_definition_counts(small: SmallVault) -> None:
    """Of points that are hidden, too."""
    _point(small, msgspec.msgpack.encode(GOOD))
    newer = msgspec.structs.replace(GOOD, policy=Policy(undo=120))
    point = _point(small, msgspec.msgpack.encode(newer))
    assert [(each.service, each.point, each.host) for each in offers(small.catalog)] == [(newer, point, "host")]
    small.expire(point, undo_ns=1 << 60)
    assert [each.service for each in offers(small.catalog)] == [GOOD]
    small.expire(*small.catalog.points(), undo_ns=1 << 60)
    assert [each.service for each in offers(small.catalog)] == [newer]


@pytest.mark.parametrize(
    "definition",
    [
        b"",
        b"rubbish",
        msgspec.msgpack.encode({"name": "s"}),
        msgspec.msgpack.encode(msgspec.structs.replace(GOOD, name="another")),
        msgspec.msgpack.encode(msgspec.structs.replace(GOOD, name="../../etc/s")),
        msgspec.msgpack.encode(msgspec.structs.replace(GOOD, components=())),
        msgspec.msgpack.encode(
            msgspec.structs.replace(GOOD, components=(ComponentSpec(name="c", kind="files", path="relative"),))
        ),
        msgspec.msgpack.encode(msgspec.structs.replace(GOOD, policy=Policy(undo=float("nan")))),
    ],
)
def test_what_no_file_could_say_is_not_offered(definition: bytes, small: SmallVault) -> None:
    """Whoever made the point may mean harm. An older point may still tell."""
    _point(small, definition)
    assert offers(small.catalog) == []
    _point(small, msgspec.msgpack.encode(GOOD))
    _point(small, definition)
    assert [each.service for each in offers(small.catalog)] == [GOOD]


def test_a_service_whose_name_is_a_path(small: SmallVault) -> None:
    """In the point as in its definition."""
    name = "../../etc/cron.d/s"
    _point(small, msgspec.msgpack.encode(msgspec.structs.replace(GOOD, name=name)), name)
    assert offers(small.catalog) == []


def test_programs_are_not_taken_over(small: SmallVault, tmp_path: Path) -> None:
    """Whoever can write to the vault could name any; those that are defined here stay."""
    home = Home.at(str(tmp_path))
    home.create()
    evil = msgspec.structs.replace(
        GOOD,
        hooks=Hooks(before_recover=("/bin/evil", "-x")),
        checks=(Check(python="/bin/evil.py"), Check(component="c", ask="q", expect="1")),
    )
    _point(small, msgspec.msgpack.encode(evil))
    (offer,) = offers(small.catalog)
    adoption = plan_adoption(home, offer)
    adoption.change.carry_out(home)
    taken = get_service(home, "s")
    assert (taken.hooks, taken.checks) == (Hooks(), (Check(component="c", ask="q", expect="1"),))
    assert adoption.left_out == ("before-recover: /bin/evil -x", "python /bin/evil.py")
    ours = msgspec.structs.replace(taken, hooks=Hooks(after_recover=("/bin/good",)))
    save_service(home, ours)
    assert plan_adoption(home, offer).change.action == "none"
