"""The keeper's parts: what it remembers, whether it moves, and how it sleeps."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.control.home import Home
from knowngood.control.plugins import Plugins
from knowngood.control.schedule import Now, Obligation, Schedule, Verb
from knowngood.control.up.events import Event, What
from knowngood.control.up.followers import Followed, Followers
from knowngood.control.up.keeper import Keeper
from knowngood.control.up.protocol import Answer, FollowerState, Request, Told
from knowngood.control.up.standing import Standing
from knowngood.control.up.waking import Waker
from knowngood.core.ports import Kind
from knowngood.core.progress import Progress
from knowngood.core.traits import KindTraits
from knowngood.doors.cli.commands.up import event_line
from knowngood.kinds.files import FilesKind
from knowngood.plugins import PLUGINS
from knowngood.testing.clock import TwoClocks
from tests.leaks import nothing_left_behind
from tests.user import User

__all__ = ["nothing_left_behind"]


@pytest.fixture
def standing(tmp_path: Path) -> Standing:
    """Of a keeper that has just begun."""
    followers = Followers(Home.at(str(tmp_path)), {}, dict, lambda _: None)
    return Standing(1, "root", Schedule(TwoClocks()()), followers)


def test_whether_it_moves(standing: Standing) -> None:
    """Idle, it goes round; at work, its counters change. What stands still for too long is stuck."""
    assert standing.moves(0)
    assert standing.moves(59)
    assert not standing.moves(60)
    standing.beats += 1
    assert standing.moves(60)
    progress = Progress()
    standing.doing = (Obligation(Verb.TIDY, "", 0), 1, progress)
    assert standing.moves(100)
    assert standing.moves(999)
    assert not standing.moves(1000)
    progress.bytes += 1
    assert standing.moves(1000)
    progress.enter("another phase")
    assert standing.moves(1899)


def test_recording_may_take_long(standing: Standing) -> None:
    """What changed at once may be very much: as long as a verb may stand still, so may that."""
    standing.recording = True
    assert standing.moves(0)
    assert standing.moves(899)
    assert not standing.moves(900)
    standing.recording = False
    assert not standing.moves(899)


def test_troubles(standing: Standing) -> None:
    """News is what was not said before; it is counted until it is over."""
    now = TwoClocks()()
    assert standing.line() == "all is well"
    assert standing.failed("shop", Told("busy", "one"), now)
    assert not standing.failed("shop", Told("busy", "one"), now)
    assert standing.failed("shop", Told("busy", "two"), now)
    assert "shop: two" in standing.line()
    over = standing.well("shop")
    assert over
    assert over.attempts == 3
    assert standing.well("shop") is None
    standing.failed("gone", Told("busy", "one"), now)
    standing.forget_others({"shop"})
    assert standing.line() == "all is well"


def test_sleeping() -> None:
    """It ends when it is told to, from anywhere, or when a file can be read; a woken one sleeps again."""
    waker = Waker()
    reading, writing = os.pipe()
    caught = []
    try:
        for _ in range(100_000):  # more than a pipe holds
            waker.wake()
        waker.sleep(1000)
        waker.sleep(0)
        os.write(writing, b"x")
        waker.sleep(1000, [reading])
        before = signal.getsignal(signal.SIGHUP)
        with waker.signals({signal.SIGHUP: lambda: caught.append(1)}):
            os.kill(os.getpid(), signal.SIGHUP)
            waker.sleep(1000)
        assert caught == [1]
        assert signal.getsignal(signal.SIGHUP) is before
    finally:
        waker.close()
        os.close(reading)
        os.close(writing)


def test_a_mistake_of_ours(tmp_path: Path) -> None:
    """One verb that fails in a way nobody foresaw is told like any trouble; the loop goes on, and ends when told."""
    user = User(tmp_path)
    (tmp_path / "data").mkdir()
    user.begins("shop", tmp_path / "data")
    user.does("policy", "set", "shop", "points=1s")
    events: list[Event] = []

    def tell(event: Event) -> None:
        events.append(event)
        if event.what == What.TROUBLE:
            os.kill(os.getpid(), signal.SIGTERM)

    def kinds() -> dict[str, Kind]:
        raise ZeroDivisionError("nobody foresaw this")

    keeper = Keeper(Home.at(str(user.home)), Plugins(store=PLUGINS.store, kinds=kinds), tell)
    keeper.run()
    assert [each.what for each in events] == ["started", "services", "trouble", "stopped"]
    assert "unexpected ZeroDivisionError: nobody foresaw this" in events[2].message
    answer = keeper.answer(Request("status"))
    assert answer.running
    assert answer.running.stopping
    (service,) = answer.running.services
    assert service.failure
    assert service.failure.attempts == 1


class Watching:
    """A follower that wants a point each time it is called."""

    def __init__(self, what: Followed, log: list[str]) -> None:
        self.what = what
        self.log = log

    def start(self) -> None:
        """Noted."""
        self.log.append("start")

    def tick(self, now: Now) -> float:
        """Noted."""
        self.log.append("tick")
        self.what.wants_point()
        return now.steady + 1000

    def rest(self) -> None:
        """Nothing is open."""

    def stop(self) -> None:
        """Noted."""
        self.log.append("stop")

    def state(self) -> FollowerState:
        """Up to date."""
        return FollowerState(component=self.what.component.name, capture="watch", behind=0.5)

    following = None
    """It makes no checkpoints."""

    def fileno(self) -> int:
        """None."""
        return -1


def test_a_follower_that_is_plugged_in(tmp_path: Path) -> None:
    """Is started with the loop, called between verbs, asks for points where none are due, and is stopped."""
    user = User(tmp_path)
    (tmp_path / "data").mkdir()
    user.begins("shop", tmp_path / "data")
    log: list[str] = []
    answers: list[Answer] = []

    def tell(event: Event) -> None:
        log.append(event.what)
        if log.count("point") == 2:
            answers.append(keeper.answer(Request("status")))
            os.kill(os.getpid(), signal.SIGTERM)

    kind = FilesKind()
    followed = patch.object(FilesKind, "traits", KindTraits(name="files", capture=("scan", "watch")))
    plugins = Plugins(
        store=PLUGINS.store, kinds=lambda: {"files": kind}, followers={"watch": lambda what: Watching(what, log)}
    )
    keeper = Keeper(Home.at(str(user.home)), plugins, tell, between=lambda: log.append("between"))
    with followed:
        keeper.run()
    both = ["between", "point"]
    assert log == ["started", "services", "start", "tick", "tick", *both, "tick", *both, "stop", "stopped"]
    running = answers[0].running
    assert running
    assert running.services[0].followers == (FollowerState(component="data", capture="watch", behind=0.5),)


@pytest.mark.parametrize(
    ("message", "shown"),
    [("plain", "plain"), ("two words", '"two words"'), ('a "b"', '"a \\"b\\""'), ("x=y", '"x=y"'), ("ü", '"ü"')],
)
def test_lines_can_be_read_back(message: str, shown: str) -> None:
    """By people and by programs that know key=value."""
    line = event_line(Event(what=What.TROUBLE, service="shop", message=message, hint="do it"))
    assert line.endswith(f' trouble service=shop message={shown} next="do it"')
