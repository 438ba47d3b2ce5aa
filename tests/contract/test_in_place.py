"""Servers whose data comes back to where it was: what runs is never touched, what is replaced is kept, and whoever is
interrupted finds the old or the new."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pytest
from msgspec import structs

from knowngood.core.errors import Busy, KnowngoodError, NotFound, UsageError
from knowngood.core.ids import Name
from knowngood.core.ports import PageSource, Recovered, RecoveryPlan, RecoveryRequest
from knowngood.core.progress import Progress
from knowngood.databases import switch as switching
from tests.contract.databases import PLAYS, Play
from tests.leaks import nothing_left_behind
from tests.servers.following import Following, checkpoint_of, following, open_folder

__all__ = ["nothing_left_behind"]

pytestmark = pytest.mark.slow


@dataclass
class Stage:
    """A server, followed; and a state of it that is to come back."""

    play: Play
    followed: Following
    wanted: int = 0  # where the log was then

    @cached_property
    def state(self) -> tuple[Name, PageSource]:
        """What was then."""
        return self.followed.at(self.wanted)

    def request(self) -> RecoveryRequest:
        """In place."""
        return RecoveryRequest(checkpoint_of(self.state[0], self.play.component), "", component=self.play.component)

    def plan(self) -> RecoveryPlan:
        """What it would do."""
        return self.play.kind.plan(self.request(), self.state[1], Progress())

    def recover(self) -> Recovered:
        """Do it."""
        return self.play.kind.materialize(self.plan(), self.state[1], Progress())

    def write(self, *numbers: int) -> int:
        """Until they are in the log; where that is then."""
        for number in numbers:
            self.play.write(number)
            self.followed.until_records()
        while self.followed.tick():
            pass
        return len(self.followed.records)


KINDS = ["mariadb", "postgres", "redis"]
QUICKEST = pytest.mark.parametrize("stage", ["redis"], indirect=True)
"""What is the same for all is asked of one."""


@pytest.fixture(params=KINDS)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """It had 1 to 3, and has 1 to 5."""
    with open_folder() as folder, PLAYS[request.param](folder) as play:
        play.write(1)
        play.write(2)
        with following(play.kind, play.component, tmp_path / "state") as followed:
            followed.checkpoint()
            found = Stage(play, followed)
            found.wanted = found.write(3)
            found.write(4, 5)
            yield found


def test_back_in_place_and_forth_again(stage: Stage) -> None:
    """The server that runs is said; once it is stopped, its data is as it was, it starts as ever, and is followed on.
    What was replaced is kept, and can be put back."""
    plan = stage.plan()
    assert "stop it first" in plan.hindrance
    with pytest.raises(Busy, match="runs on"):
        stage.recover()
    assert stage.play.numbers() == {1, 2, 3, 4, 5}
    stage.play.stop()
    plan = stage.plan()
    assert not plan.hindrance
    owner = os.stat(plan.place)
    done = stage.recover()
    assert done.kept == f"{plan.place}.former"
    assert done.kept in " ".join(plan.notes)
    assert (os.stat(plan.place).st_uid, os.stat(plan.place).st_mode) == (owner.st_uid, owner.st_mode)
    assert [each for each in os.listdir(os.path.dirname(plan.place)) if "knowngood" in each] == []
    stage.play.start()
    assert stage.play.numbers() == {1, 2, 3}
    stage.play.write(6)
    _until_a_base(stage.followed)
    assert stage.followed.gaps == 2
    stage.play.stop()
    os.rename(plan.place, plan.place + ".recovered")
    os.rename(done.kept, plan.place)
    stage.play.start()
    assert stage.play.numbers() == {1, 2, 3, 4, 5}


def _until_a_base(followed: Following) -> None:
    """The server's history is another one: that is seen, and a base taken."""

    def lost() -> bool:
        return not followed.follower.standing.based

    while not lost():
        try:
            followed.until(lost)
        except KnowngoodError:  # it is not there yet
            continue
    followed.checkpoint()


@QUICKEST
@pytest.mark.parametrize("after", range(3))
def test_interrupted_at_any_rename(stage: Stage, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old or the new is there, whole; the next run goes on, and nothing that was replaced is lost."""
    stage.play.stop()
    place = stage.plan().place
    _cut(monkeypatch, after)
    with pytest.raises(KeyboardInterrupt):
        stage.recover()
    monkeypatch.undo()
    assert os.path.lexists(place)
    first = {os.stat(place).st_ino}
    done = stage.recover()
    kept = {each for each in os.listdir(os.path.dirname(place)) if each.startswith(os.path.basename(place) + ".former")}
    assert os.path.basename(done.kept) in kept
    assert len(kept) == (1 if after < 1 else 2)
    assert os.stat(done.kept).st_ino in first
    stage.play.start()
    assert stage.play.numbers() == {1, 2, 3}


def _cut(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Ctrl-C when so many of the switch's steps were done before one more."""
    left = [after]

    def step(what: Callable[..., None]) -> Callable[..., None]:
        def run(*words: object) -> None:
            what(*words)
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt

        return run

    monkeypatch.setattr(switching, "sync_folder", step(switching.sync_folder))
    monkeypatch.setattr(switching, "rename_beneath", step(switching.rename_beneath))


@QUICKEST
def test_what_is_no_data_of_it_is_not_replaced(stage: Stage) -> None:
    """A folder of something else, one that is not known, single files."""
    stage.play.stop()
    live = stage.plan().place
    with open_folder() as folder:
        (folder / os.path.basename(live)).mkdir(exist_ok=True)
        (folder / os.path.basename(live) / "letter").write_text("dear")
        component = stage.play.component
        other = {**component.options, "data-folder": str(folder)}
        for request, hint in (
            (replace(stage.request(), component=structs.replace(component, options=other)), "data-folder"),
            (replace(stage.request(), paths=("x",)), "--to"),
        ):
            with pytest.raises(UsageError) as wrong:
                stage.play.kind.plan(request, stage.state[1], Progress())
            assert hint in wrong.value.hint
        assert (folder / os.path.basename(live) / "letter").read_text() == "dear"


@QUICKEST
def test_what_a_run_has_left_that_was_ended(stage: Stage) -> None:
    """Its files are gone on with, and what does not belong to them goes; so does a server that it had started."""
    stage.play.stop()
    place = stage.plan().place
    beside = Path(switching.building(place))
    for path, text in (("appendonlydir/appendonly.aof.1.incr.aof", "*1"), ("appendonlydir/other.manifest", "x")):
        (beside / path).parent.mkdir(parents=True, exist_ok=True)
        (beside / path).write_text(text)
    with subprocess.Popen(["sleep", "600"], cwd=beside, stdin=subprocess.DEVNULL, start_new_session=True) as left:
        stage.recover()
        assert left.wait(60) == -signal.SIGKILL
    assert not beside.exists()
    assert not os.path.exists(f"{place}/other.manifest")
    stage.play.start()
    assert stage.play.numbers() == {1, 2, 3}


@QUICKEST
def test_what_does_not_start_is_not_put_there(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has changed then, and nothing is left."""
    stage.play.stop()
    place = stage.plan().place
    before = sorted(os.listdir(os.path.dirname(place)))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NotFound, match="not installed"):
        stage.recover()
    monkeypatch.undo()
    assert sorted(os.listdir(os.path.dirname(place))) == before
    stage.play.start()
    assert stage.play.numbers() == {1, 2, 3, 4, 5}
