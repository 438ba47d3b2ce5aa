"""What every kind of database promises, with real servers: bases, any moment, restarts, broken chains, holds.

A kind joins by a line in PLAYS (tests/contract/databases.py).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from knowngood.core.errors import KnowngoodError
from knowngood.core.ports import Holder
from knowngood.testing.forking import fork
from knowngood.testing.memory import MemoryPages
from tests.contract.databases import PLAYS, Play
from tests.leaks import nothing_left_behind
from tests.servers.following import Following, contents, following, open_folder
from tests.servers.waiting import until

__all__ = ["nothing_left_behind"]

_DEADLINE = 60.0


@pytest.fixture(params=PLAYS)
def play(request: pytest.FixtureRequest) -> Iterator[Play]:
    """A database of each kind, running."""
    with open_folder() as folder, PLAYS[request.param](folder) as found:
        yield found


@pytest.fixture
def followed(play: Play, tmp_path: Path) -> Iterator[Following]:
    """It has three numbers, and a base."""
    for number in (1, 2, 3):
        play.write(number)
    with following(play.kind, play.component, tmp_path / "state") as found:
        found.checkpoint()
        assert found.follower.standing.based
        yield found


def numbers(followed: Following, play: Play, state: object = None) -> set[int]:
    """What a sandbox on a state answers; by default on the newest checkpoint."""
    with followed.sandbox(state or followed.newest()) as sandbox:  # type: ignore[arg-type]
        return {int(row[0]) for row in sandbox.ask(play.question, 30)}


def writes(followed: Following, play: Play, *more: int) -> int:
    """Write, and wait until it is in the log; where the log is then."""
    for number in more:
        play.write(number)
        followed.until_records()
        while followed.tick():
            pass
    if more:
        followed.until(lambda: play.has_landed(followed.records))
    return len(followed.records)


# ------------------------------------------------------------------------------------------------------------ bases


def test_a_base_is_recovered_and_answers(play: Play, tmp_path: Path) -> None:
    """Without anybody who follows."""
    play.kind.probe(play.component)
    with following(play.kind, play.component, tmp_path / "state") as found:
        found.follower.close()
        for number in (1, 2, 3):
            play.write(number)
        captured = found.base(tmp_path / "state")
        assert captured.capture == "scan"
        assert captured.totals.files >= 1
        assert captured.totals.bytes > 0
        found.follower = play.kind.follow(play.component, found.state)
        assert numbers(found, play, (captured.root, MemoryPages(found.vault))) == {1, 2, 3}


def test_nobody_else_makes_bases_of_what_is_followed(followed: Following) -> None:
    """They would take the local files from under the follower."""
    with pytest.raises(KnowngoodError, match="followed"):
        followed.base(Path(followed.state))


def test_a_base_of_an_empty_database(play: Play, tmp_path: Path) -> None:
    """And what comes into it."""
    with following(play.kind, play.component, tmp_path / "state") as found:
        found.checkpoint()
        play.write(7)
        found.until_records()
        assert numbers(found, play, found.at(len(found.records))) == {7}


# ------------------------------------------------------------------------------------------------------- any moment


def test_any_moment(followed: Following, play: Play) -> None:
    """Each state that was, before and after a checkpoint; and what replay makes is what the checkpoint has."""
    first = writes(followed, play, 4)
    second = writes(followed, play, 5, 6)
    followed.checkpoint()
    assert contents(followed.at(len(followed.records))) == contents(followed.newest())
    third = writes(followed, play, 7)
    assert numbers(followed, play, followed.at(first)) == {1, 2, 3, 4}
    assert numbers(followed, play, followed.at(second)) == {1, 2, 3, 4, 5, 6}
    assert numbers(followed, play, followed.at(third)) == {1, 2, 3, 4, 5, 6, 7}
    assert followed.gaps == 1


def test_replay_from_an_older_checkpoint_comes_to_the_newer_one(followed: Following, play: Play) -> None:
    """The same files, byte by byte."""
    writes(followed, play, 4, 5)
    followed.checkpoint()
    writes(followed, play, 6)
    followed.checkpoint()
    newest = followed.checkpoints.pop()
    del followed.checkpoints[1:]
    assert contents(followed.at(newest[1])) == contents((newest[0].root, MemoryPages(followed.vault)))


def test_what_did_not_land_comes_again(followed: Following, play: Play) -> None:
    """A vault that is away for a while loses nothing; nor does a checkpoint that is not committed."""
    play.write(4)
    end = time.monotonic() + _DEADLINE
    while not followed.follower.look():
        assert time.monotonic() < end
    followed.tick(lands=False)
    play.write(5)
    followed.until_records()
    followed.checkpoint(commits=False)
    play.write(6)
    followed.until_records()
    followed.checkpoint()
    assert numbers(followed, play) == {1, 2, 3, 4, 5, 6}
    assert numbers(followed, play, followed.at(len(followed.records))) == {1, 2, 3, 4, 5, 6}
    assert followed.gaps == 1


def test_at_rest_nothing_is_recorded(followed: Following) -> None:
    """Nor when it is looked at often."""
    for _ in range(20):
        assert followed.tick() == 0
    before = len(followed.records)
    followed.checkpoint()
    assert len(followed.records) == before


# -------------------------------------------------------------------------------------------- restarts, broken chains


def test_a_restart_of_the_follower_resumes(followed: Following, play: Play) -> None:
    """What was written meanwhile is in the next checkpoint; a gap shows."""
    writes(followed, play, 4)
    play.write(5)
    followed.restart()
    assert not followed.follower.standing.based
    play.write(6)
    followed.checkpoint()
    assert numbers(followed, play) == {1, 2, 3, 4, 5, 6}
    after = writes(followed, play, 7)
    assert numbers(followed, play, followed.at(after)) == {1, 2, 3, 4, 5, 6, 7}
    assert followed.gaps == 2


def test_a_checkpoint_that_expired_is_not_gone_on_from(followed: Following, play: Play) -> None:
    """Its chunks may be gone."""
    followed._trusted.clear()
    writes(followed, play, 4)
    followed.checkpoint()
    assert numbers(followed, play) == {1, 2, 3, 4}
    assert followed.gaps == 2


def test_a_restart_of_the_server(followed: Following, play: Play) -> None:
    """Nothing that it acknowledged is missing afterwards."""
    writes(followed, play, 4)
    play.restart()
    play.write(5)
    end = time.monotonic() + _DEADLINE
    while followed.follower.standing.based and not followed.follower.look():
        assert time.monotonic() < end
    followed.tick()
    followed.checkpoint()
    after = writes(followed, play, 6)
    assert numbers(followed, play) == {1, 2, 3, 4, 5}
    assert numbers(followed, play, followed.at(after)) == {1, 2, 3, 4, 5, 6}
    assert (followed.gaps == 1) == play.resumes_after_restart


def test_a_broken_chain_is_a_gap_and_a_new_base(followed: Following, play: Play) -> None:
    """It is said why, and never papered over."""
    writes(followed, play, 4)
    play.forget()
    play.write(5)
    end = time.monotonic() + _DEADLINE
    while followed.follower.standing.based:
        assert time.monotonic() < end
        followed.tick()
    assert followed.follower.standing.reason
    assert followed.follower.standing.file == -1  # nobody is woken for what is not taken
    play.write(6)
    followed.checkpoint()
    assert followed.gaps == 2
    assert followed.follower.standing.based
    assert numbers(followed, play) == {1, 2, 3, 4, 5, 6}


def test_a_server_that_is_away(followed: Following, play: Play) -> None:
    """It is said, as something that may pass; then it goes on."""
    if not play.has_server:
        pytest.skip("there is no server that could be away")
    writes(followed, play, 4)
    play.stop()
    with pytest.raises(KnowngoodError) as wrong:
        _until_it_fails(followed)
    assert wrong.value.retry == "later"
    play.start()
    play.write(5)
    followed.tick()
    followed.checkpoint()
    assert numbers(followed, play) == {1, 2, 3, 4, 5}


def _until_it_fails(followed: Following) -> None:
    end = time.monotonic() + _DEADLINE
    while time.monotonic() < end:
        followed.tick()


def test_those_who_may_not_read_it_are_told(play: Play, tmp_path: Path) -> None:
    """What is missing, and never a secret."""
    for number, stranger in enumerate(play.strangers()):
        with pytest.raises(KnowngoodError) as wrong:
            play.kind.probe(stranger)
            with following(play.kind, stranger, tmp_path / str(number)) as found:
                found.checkpoint()
        assert wrong.value.hint


# ------------------------------------------------------------------------------------------------------------ holds


def holder_of(followed: Following) -> Holder:
    """It has one when the kind says so."""
    assert followed.kind.traits.holds
    holder = followed.follower.standing.holder
    assert holder is not None
    return holder


def test_a_hold_is_exact(followed: Following, play: Play) -> None:
    """All that was acknowledged before it is in the next checkpoint, nothing that was begun after it."""
    acknowledged, stop = [0], threading.Event()

    def load() -> None:
        number = 100
        while not stop.is_set():
            play.write(number)
            acknowledged.append(number)
            number += 1

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(5):
            until(lambda: len(acknowledged) % 7 >= 3)
            holder = holder_of(followed)
            holder.hold(5)
            held = acknowledged[-1]
            assert holder.mark()
            assert holder.release()
            until(lambda held=held: acknowledged[-1] > held + 2)
            followed.checkpoint()
            found = {each for each in numbers(followed, play) if each >= 100}
            # one may have been written, and not yet been acknowledged, when the hold began
            assert found in ({*range(100, held + 1)}, {*range(100, held + 2)})
    finally:
        stop.set()
        thread.join()


def test_nothing_is_written_during_a_hold(followed: Following, play: Play) -> None:
    """A write waits for its end."""
    holder = holder_of(followed)
    holder.hold(20)
    thread = threading.Thread(target=play.write, args=(4,))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert holder.mark()
    assert holder.release()
    thread.join(_DEADLINE)
    assert not thread.is_alive()
    followed.checkpoint()
    found = numbers(followed, play)
    if getattr(play, "writes_before_it_waits", False):  # durable, and not acknowledged: as after a crash
        found.discard(4)
    assert found == {1, 2, 3}
    followed.until(lambda: numbers(followed, play, followed.at(len(followed.records))) == {1, 2, 3, 4})


def test_a_hold_ends_by_its_lease(followed: Following, play: Play) -> None:
    """And says that it was no hold any more."""
    holder = holder_of(followed)
    began = time.monotonic()
    holder.hold(0.5)
    play.write(4)
    assert time.monotonic() - began >= 0.45
    assert not holder.release()


def test_a_hold_ends_when_its_holder_is_killed(play: Play, tmp_path: Path) -> None:
    """The database takes writes again, though nobody releases."""
    play.write(1)
    reading, writing = os.pipe()
    child = fork()
    if not child:
        try:
            with following(play.kind, play.component, tmp_path / "state") as found:
                found.checkpoint()
                holder_of(found).hold(2)
                os.write(writing, b"!")
                signal.pause()
        finally:
            os._exit(1)
    assert os.read(reading, 1) == b"!"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    began = time.monotonic()
    play.write(2)
    assert time.monotonic() - began < 30
    with following(play.kind, play.component, tmp_path / "state") as found:
        found.checkpoint()
        assert numbers(found, play) == {1, 2}
