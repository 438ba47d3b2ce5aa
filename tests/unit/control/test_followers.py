"""Followers: who is chosen, when they are called, and that one that fails harms nobody else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from knowngood.control.home import Home
from knowngood.control.schedule import Now
from knowngood.control.up.followers import PATIENCE, Followed, FollowerMaker, Followers, strongest
from knowngood.control.up.protocol import BaseNow, FollowerState
from knowngood.core.errors import KnowngoodError, NotYet
from knowngood.core.model import ComponentSpec, ServiceSpec
from knowngood.core.traits import KindTraits
from knowngood.testing.clock import TwoClocks
from tests.unit.flow.notes import NotesKind


@dataclass
class Watching:
    """Notes what is asked of it."""

    what: Followed
    log: list[str]
    fails: dict[str, Exception] = field(default_factory=dict)

    def _note(self, word: str) -> None:
        self.log.append(f"{word} {self.what.component.name}")
        if wrong := self.fails.get(word):
            raise wrong

    def start(self) -> None:
        """Noted."""
        self._note("start")

    def tick(self, now: Now) -> float:
        """Again in seven seconds."""
        self._note("tick")
        return now.steady + 7

    def rest(self) -> None:
        """Noted."""
        self._note("rest")

    def stop(self) -> None:
        """Noted."""
        self._note("stop")

    def state(self) -> FollowerState:
        """Up to date."""
        return FollowerState(component=self.what.component.name, capture="watch", behind=0.0)

    following = None
    """It makes no checkpoints."""

    def fileno(self) -> int:
        """One."""
        return 41


@dataclass
class Stage:
    """Followers of services of components `a` and `b`, the log of what was asked, and what is to fail."""

    followers: Followers
    log: list[str]
    fails: dict[str, Exception]
    wanted: list[str]
    made: list[Watching]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Followers at the level `watch` for a kind that can be watched."""
    log: list[str] = []
    fails: dict[str, Exception] = {}
    wanted: list[str] = []
    made: list[Watching] = []
    kind = NotesKind()
    kind.traits = KindTraits(name="notes", capture=("scan", "watch"))

    def maker(what: Followed) -> Watching:
        made.append(Watching(what, log, fails))
        return made[-1]

    followers = Followers(Home.at(str(tmp_path)), {"watch": maker}, lambda: {"notes": kind}, wanted.append)
    return Stage(followers, log, fails, wanted, made)


def service(*names: str, kind: str = "notes", path: str = "/srv") -> ServiceSpec:
    """A service with these components."""
    return ServiceSpec(name="shop", components=tuple(ComponentSpec(name=each, kind=kind, path=path) for each in names))


def test_the_strongest_is_chosen() -> None:
    """Of those that the kind can do and somebody follows at."""
    makers = {"watch": Watching, "journal": Watching}
    assert strongest(("scan", "watch", "clone", "journal"), makers) == "journal"  # pyright: ignore[reportArgumentType]
    assert strongest(("scan", "clone", "watch"), makers) == "watch"  # pyright: ignore[reportArgumentType]
    assert strongest(("scan", "clone"), makers) is None  # pyright: ignore[reportArgumentType]


def test_a_life(stage: Stage) -> None:
    """Started, called, stopped once; one whose component changes is another one."""
    clocks = TwoClocks()
    stage.followers.keep_to([service("a", "b")])
    assert stage.log == []
    assert stage.followers.tick(clocks()) == clocks.steady + 7
    assert stage.log == ["start a", "tick a", "start b", "tick b"]
    assert stage.followers.files() == [41, 41]
    assert [each.component for each in stage.followers.states("shop")] == ["a", "b"]
    assert stage.followers.states("mail") == ()
    stage.made[0].what.wants_point()
    assert stage.wanted == ["shop"]
    stage.log.clear()
    stage.followers.keep_to([service("a", path="/mnt")])
    stage.followers.tick(clocks())
    assert stage.log == ["stop a", "stop b", "start a", "tick a"]
    stage.followers.stop()
    assert stage.log[-1] == "stop a"
    assert stage.followers.tick(clocks()) == math.inf


def test_kinds_that_nobody_follows(stage: Stage) -> None:
    """Are left to scanning."""
    stage.followers.keep_to([service("a", kind="other")])
    assert stage.followers.tick(TwoClocks()()) == math.inf
    assert stage.log == []


@pytest.mark.parametrize("word", ["start", "tick"])
@pytest.mark.parametrize("wrong", [KnowngoodError("it is so"), ValueError("a mistake")])
def test_one_that_fails(word: str, wrong: Exception, stage: Stage) -> None:
    """Says why, and is tried again a while later; the others go on."""
    clocks = TwoClocks()
    stage.followers.keep_to([service("a"), ServiceSpec(name="mail", components=service("b").components)])
    stage.fails[word] = wrong
    stage.followers.tick(clocks())
    (state,) = stage.followers.states("shop")
    assert state.failure
    assert str(wrong) in state.failure.message
    calls = len(stage.log)
    assert ("stop a" in stage.log) == (word == "tick")
    clocks.move(29)
    stage.followers.tick(clocks())
    assert len(stage.log) == calls
    stage.fails.clear()
    clocks.move(1)
    stage.followers.tick(clocks())
    (state,) = stage.followers.states("shop")
    assert (state.failure, state.behind) == (None, 0.0)


def test_nothing_is_mounted_unasked(tmp_path: Path) -> None:
    """A journal is mounted over the path: only for components that say so."""
    kind, levels = NotesKind(), list[tuple[str, str]]()
    kind.traits = KindTraits(name="notes", capture=("scan", "watch", "journal"), unasked=("journal",))

    def maker(level: str) -> FollowerMaker:
        def make(what: Followed) -> Watching:
            levels.append((what.component.name, level))
            return Watching(what, [])

        return make

    makers = {level: maker(level) for level in ("watch", "journal")}
    followers = Followers(Home.at(str(tmp_path)), makers, lambda: {"notes": kind}, lambda _: None)
    auto, asked = service("a").components[0], replace(service("b").components[0], capture="journal")
    followers.keep_to([ServiceSpec(name="shop", components=(auto, asked))])
    followers.tick(TwoClocks()())
    assert levels == [("a", "watch"), ("b", "journal")]


def test_points_wait_for_bases_a_little(tmp_path: Path) -> None:
    """Half a minute; where there is nothing else, until they are there; never for one that only replaces another."""

    def says(*bases: BaseNow | None) -> str:
        states = tuple(
            FollowerState(component=f"c{number}", capture="journal", base=base) for number, base in enumerate(bases)
        )
        followers = Followers(Home.at(str(tmp_path)), {}, dict, lambda _: None)
        with patch.object(Followers, "states", lambda *_: states):
            try:
                followers.require_bases("shop")
            except NotYet as wrong:
                return wrong.message
        return ""

    young = BaseNow(seconds=PATIENCE - 1, bytes=1, total_bytes=2, first=True)
    old = BaseNow(seconds=PATIENCE, bytes=1, total_bytes=2, first=True)
    again = BaseNow(seconds=1, bytes=1, total_bytes=2, first=False)
    assert says() == says(None, None) == says(again, None) == says(again) == ""
    assert says(young, None) == "a base of 'c0' is being read"
    assert says(None, old) == ""
    assert says(old) == "a base of 'c0' is being read"
    assert says(old, young) == "a base of 'c0', 'c1' is being read"
