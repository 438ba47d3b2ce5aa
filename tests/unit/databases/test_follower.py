"""What a follower of a database does when something goes wrong, with a feed that a test fills."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest

from knowngood.core.errors import NoSpace, StoreFailed
from knowngood.core.ids import new_id
from knowngood.core.log import Gap, LogRecord, Operation
from knowngood.core.ports import CaptureContext, ChunkSink, Holder
from knowngood.core.progress import Progress
from knowngood.databases import follower as module
from knowngood.databases.feed import ChainBroken, Taken
from knowngood.databases.follower import DatabaseFollower
from knowngood.databases.image import Image
from knowngood.databases.local import LocalFiles
from knowngood.databases.steps import Begin, Step, Write
from knowngood.testing.memory import MemorySink

LOG = b"log"


class Filled:
    """A feed (port Feed) whose log is what a test adds to it."""

    def __init__(self) -> None:
        self.written = b""
        self.taken = 0
        self.bases = 0
        self.landed_at = self.kept_at = b""
        self.wrong: Exception | None = None
        self.closed = False

    @property
    def holder(self) -> Holder | None:
        """None."""
        return None

    def base(self, image: Image, sink: ChunkSink, progress: Progress) -> bytes:
        """All that is there."""
        del progress
        self.bases += 1
        image.add(sink, b"base", BytesIO(self.written).read, 1)
        image.apply([Begin(LOG)])
        self.start = self.taken = len(self.written)
        return b"%d" % self.taken

    def resume(self, position: bytes) -> bool:
        """Never."""
        del position
        return False

    def take(self) -> Taken:
        """What came."""
        if self.wrong is not None:
            raise self.wrong
        data, at = self.written[self.taken :], self.taken - self.start
        self.taken = len(self.written)
        steps: list[Step] = [Write(LOG, at, data)] if data else []
        return Taken(steps, b"%d" % self.taken)

    def landed(self, position: bytes) -> None:
        """Noted."""
        self.landed_at = position

    def kept(self, position: bytes) -> None:
        """Noted."""
        self.kept_at = position

    def fileno(self) -> int:
        """Some number."""
        return 77

    def close(self) -> None:
        """Noted."""
        self.closed = True


class Database:
    """A follower of a feed, and its records."""

    def __init__(self, state: Path) -> None:
        self.feed = Filled()
        self.state = str(state)
        self.follower = DatabaseFollower(self.feed, self.state, (0, 0), lambda: 1)
        self.trusted: set[bytes] = set()

    def checkpoint(self) -> list[LogRecord]:
        """Made and committed."""
        context = CaptureContext(MemorySink(), self.state, frozenset(self.trusted), Progress(), new_id())
        made = self.follower.checkpoint(context, 0, 1)
        self.follower.landed()
        self.trusted.add(context.checkpoint_id)
        self.follower.remember(context, made.captured)
        return list(made.records)

    def gap(self) -> int:
        """Why there is one, in a checkpoint that is a new base."""
        bases, last = self.feed.bases, self.checkpoint()[-1]
        assert last.operation == Operation.GAP
        assert self.feed.bases == bases + 1
        return last.value

    def close(self) -> None:
        """Follow no longer."""
        self.follower.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """With a base."""
    with closing(Database(tmp_path / "state")) as found:
        assert not found.follower.look()
        assert found.follower.standing.file == -1
        assert found.gap() == Gap.NOT_RUNNING
        yield found


def test_what_is_told_to_the_server(database: Database) -> None:
    """What landed may be acknowledged; what a committed checkpoint has may be forgotten."""
    database.feed.written += b"one"
    assert database.follower.look()
    assert database.feed.landed_at == b"0"
    assert [each.data for each in database.follower.records(MemorySink(), 5, 1)] == [b"one"]
    assert [each.sequence for each in database.follower.records(MemorySink(), 6, 1)] == [6]
    database.follower.landed()
    assert (database.feed.landed_at, database.feed.kept_at) == (b"3", b"0")
    assert not database.follower.look()
    assert database.checkpoint() == []
    assert database.feed.kept_at == b"3"


def test_a_disk_that_is_full_is_a_gap_and_no_hole(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed does not give again what could not be kept: a new base follows."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    database.feed.written += b"lost"
    with monkeypatch.context() as patched:
        patched.setattr(LocalFiles, "write", full)
        with pytest.raises(NoSpace):
            database.follower.look()
    assert not database.follower.standing.based
    assert database.follower.standing.reason
    assert database.gap() == Gap.OTHER


def test_a_server_that_is_away_loses_nothing(database: Database) -> None:
    """It goes on."""
    database.feed.written += b"one"
    database.feed.wrong = StoreFailed("away")
    with pytest.raises(StoreFailed):
        database.follower.look()
    with pytest.raises(StoreFailed):
        database.checkpoint()
    database.feed.wrong = None
    assert [each.data for each in database.checkpoint()] == [b"one"]


def test_a_broken_chain_while_a_checkpoint_is_made(database: Database) -> None:
    """It has a new base instead."""
    database.feed.wrong = ChainBroken("restarted")
    assert not database.follower.look()
    assert database.follower.standing.reason == "restarted"
    database.feed.wrong = None
    assert database.gap() == Gap.OTHER
    database.feed.wrong = ChainBroken("again")
    assert database.gap() == Gap.OTHER


def test_what_waits_for_the_vault_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """More is left at the server, and nobody is woken for it; a checkpoint takes it nevertheless."""
    monkeypatch.setattr(module, "_TAKEN_BYTES", 10)
    monkeypatch.setattr(module, "DUE_BYTES", 20)
    database.feed.written += b"x" * 10
    assert database.follower.standing.file == 77
    assert database.follower.look()
    assert database.follower.standing.file == -1
    database.feed.written += b"y" * 20
    assert database.follower.look()
    assert database.feed.taken == 10
    assert not database.follower.standing.due
    assert sum(len(each.data) for each in database.checkpoint()) == 30
    assert database.follower.standing.file == 77
    database.feed.written += b"z" * 21
    database.follower.look()
    assert database.follower.standing.due


def test_a_log_in_the_vault_that_ends_elsewhere(database: Database) -> None:
    """A new base."""
    database.feed.written += b"one"
    database.follower.look()
    database.follower.lose()
    assert not database.follower.standing.based
    assert database.gap() == Gap.OTHER


def test_closing(tmp_path: Path) -> None:
    """Also the feed; the state folder is free again."""
    for _ in range(2):
        database = Database(tmp_path / "state")
        database.close()
        assert database.feed.closed
