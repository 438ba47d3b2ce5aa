"""How a promise stands: kept, late, broken and unknown are four things."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from knowngood.control.home import Home
from knowngood.control.lapses import Lapses
from knowngood.control.services import get_service
from knowngood.control.status import Report, Verdict, assess, headline
from knowngood.control.up.listening import listening
from knowngood.control.up.protocol import Failure, FollowerState, Running, ServiceNow
from knowngood.control.workshop import Workshop
from knowngood.core.errors import NotFound
from knowngood.core.instants import now_ns
from knowngood.flow.protect import protect
from knowngood.plugins import PLUGINS
from knowngood.testing.clock import FakeClock
from tests.keepers import IDLE, PROTECTING, answering
from tests.user import User

NOW = ServiceNow(name="shop", age=None, point="", due_in=5.0, failure=None)
FAILURE = Failure(code="x", message="it failed", hint="do this", at_ns=1, attempts=3)


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """The wall clock."""
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def user(tmp_path: Path) -> User:
    """With a service that has an rpo of five minutes."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("x")
    user = User(tmp_path)
    user.begins("shop", tmp_path / "data")
    user.does("policy", "set", "shop", "rpo=5m")
    return user


def looks(user: User, keeper: Running | None = None, **now: Any) -> Report:
    """The report, with this keeper and what it knows of the service; none when no keeper is given."""
    home = Home.at(str(user.home))
    shop = Workshop(home, PLUGINS)
    if keeper is None:
        return assess(shop)
    keeper = msgspec.structs.replace(keeper, services=(msgspec.structs.replace(NOW, **now),))
    with answering(home, keeper):
        return assess(shop)


def of(report: Report) -> tuple[str, str]:
    """State and reason of the one service."""
    (verdict,) = report.verdicts
    return verdict.state, verdict.reason


def test_no_point(user: User) -> None:
    """All of it can be lost; whether that is about to change is another question."""
    assert of(looks(user)) == ("broken", "there is no point, and knowngood up is not running")
    assert of(looks(user, IDLE)) == ("late", "there is no point yet; the first one is on its way")
    assert of(looks(user, IDLE, failure=FAILURE)) == ("broken", "there is no complete point: it failed")
    assert not looks(user).kept


def test_by_age(user: User, clock: FakeClock) -> None:
    """Within the rpo it is kept, also while the next one fails; beyond it, it depends."""
    user.protects()
    assert of(looks(user)) == ("kept", "knowngood up is not running")
    assert of(looks(user, IDLE)) == ("kept", "")
    assert of(looks(user, IDLE, failure=FAILURE)) == ("kept", "it failed")
    assert looks(user).kept
    clock.move(301)
    assert of(looks(user)) == ("late", "knowngood up is not running")
    assert of(looks(user, IDLE)) == ("late", "the next point is on its way")
    assert of(looks(user, msgspec.structs.replace(IDLE, doing=PROTECTING))) == ("late", "a point is being made")
    assert of(looks(user, msgspec.structs.replace(IDLE, waiting_for="somebody"))) == ("late", "somebody")
    report = looks(user, IDLE, failure=FAILURE)
    assert of(report) == ("broken", "it failed")
    assert report.verdicts[0].fix == "do this"
    assert not report.kept


def test_the_clock_is_set(user: User, clock: FakeClock) -> None:
    """Back: nobody can say, unless there is a keeper, who goes by another clock. A second or two are no matter."""
    point = user.protects()["id"]
    clock.move(-3600)
    report = looks(user)
    assert of(report)[0] == "unknown"
    assert not report.kept
    assert of(looks(user, IDLE, age=10.0, point=point)) == ("kept", "")
    clock.move(10 * 3600)
    assert of(looks(user, IDLE, age=10.0, point=point)) == ("kept", "")
    clock.move(-9 * 3600 - 2)
    assert looks(user).verdicts[0].at_risk == 0


def test_incomplete_points(user: User, clock: FakeClock, tmp_path: Path) -> None:
    """Do not count; that they are newer is said."""
    user.protects()
    clock.move(301)
    user.does("service", "add", "shop", "--files", tmp_path / "gone")
    shop = Workshop(Home.at(str(user.home)), PLUGINS)
    made = protect(get_service(shop.home, "shop"), shop.parts(), partly=True)
    shop.close()
    assert made.point.status == "incomplete"
    assert of(looks(user, IDLE)) == ("late", "some things could not be read in the newest point")


def test_the_vault_cannot_be_reached(user: User) -> None:
    """Then nothing can be brought back, however new the points are; what would be lost is known all the same."""
    user.protects()
    user.vault.rename(user.folder / "away")
    report = looks(user, IDLE)
    assert of(report)[0] == "broken"
    assert str(user.vault) in of(report)[1]
    assert report.verdicts[0].at_risk is not None
    assert report.trouble


def test_nothing_is_promised(user: User) -> None:
    """That is unknown, not kept; and no promise is broken."""
    user.does("policy", "set", "shop", "rpo=0")
    report = looks(user)
    assert of(report)[0] == "unknown"
    assert "no rpo is promised" in of(report)[1]
    assert report.kept
    assert headline(report) == "nothing is promised: nobody says how much may be lost"


def test_worst_first(user: User, tmp_path: Path) -> None:
    """And only the one that was asked for, when one was."""
    user.protects()
    for name in ("new", "none"):
        user.does("service", "add", name, "--files", tmp_path / "data")
    user.does("policy", "set", "new", "rpo=1m")
    (user.home / "services" / "bad.yaml").write_text("service: bad\n")
    report = looks(user)
    assert [(each.name, each.state) for each in report.verdicts] == [
        ("bad", "broken"),
        ("new", "broken"),
        ("none", "unknown"),
        ("shop", "kept"),
    ]
    assert headline(report) == "2 of 3 services not as promised: bad, new"
    shop = Workshop(Home.at(str(user.home)), PLUGINS)
    assert [each.name for each in assess(shop, "bad").verdicts] == ["bad"]
    with pytest.raises(NotFound):
        assess(shop, "nothing")


def test_a_service_of_another_host(user: User) -> None:
    """Its points are not ours, though it has the same name and shares the vault."""
    shop = Workshop(Home.at(str(user.home)), PLUGINS)
    protect(get_service(shop.home, "shop"), replace(shop.parts(), host="elsewhere"))
    shop.close()
    assert of(looks(user))[0] == "broken"


def test_headlines() -> None:
    """One sentence."""
    kept = Verdict("a", "kept", "", "", 300, 150, None, 90.0, None)  # pyright: ignore[reportArgumentType]
    assert headline(Report((), None, None)) == "there is no service: nothing is protected"
    assert headline(Report((kept,), None, None)) == "all is as promised: at most the last 1 min 30 s would be lost now"


def test_a_keeper_that_gives_no_answer(user: User) -> None:
    """Is not one that does not run, and not one that is well."""
    user.protects()
    with patch("knowngood.control.up.client._PATIENCE", 0.05), listening(Home.at(str(user.home)).socket, {}):
        report = looks(user)
        assert of(report)[0] == "kept"
        assert "does not answer" in of(report)[1]
        assert report.silent
        assert user.does("status").out.splitlines()[-1] == "running, without an answer"


def test_writes_that_do_not_wait(user: User) -> None:
    """Whoever asks for it is told, for as long as it lasts, and afterwards that it was so."""
    user.does("protect", "shop")
    late = FollowerState(component="data", capture="journal", holds=True, behind=0.5, unsafe="the vault was 3 s late")
    report = looks(user, IDLE, followers=(late,))
    assert not report.kept
    assert "writes do not wait" in headline(report)
    well = msgspec.structs.replace(late, unsafe="")
    lapses = Lapses(Home.at(str(user.home)))
    lapses.heard("shop", (late,), 1)
    lapses.heard("shop", (well,), 2)
    lapses.measured("shop", 17.0, now_ns())
    lapses.save(now_ns())
    report = looks(user, IDLE, followers=(well,))
    assert report.kept
    assert report.verdicts[0].worst == 17
    assert [each.why for each in report.verdicts[0].breaches] == ["the vault was 3 s late"]
    text = user.does("status").out
    assert "the vault was 3 s late" in text
    assert "17 s" in text
