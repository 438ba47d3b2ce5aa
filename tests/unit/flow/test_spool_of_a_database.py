"""A database that is followed while the vault is away: its server is told of what is in the vault, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from knowngood.core.instants import now_ns
from knowngood.core.log import LogRecord, Operation
from knowngood.core.model import ComponentSpec, Position
from knowngood.core.ports import ChunkSink, Follower
from knowngood.core.progress import Progress
from knowngood.databases.feed import Taken
from knowngood.databases.follower import DatabaseFollower
from knowngood.databases.image import Image
from knowngood.databases.steps import Begin, Step, Write
from knowngood.flow.follow import Following
from knowngood.flow.parts import Parts
from knowngood.flow.protect import protect
from knowngood.testing.vaults import SmallVault
from knowngood.vault.log_reader import LogReader
from tests.unit.flow.notes import NotesKind, parts_of, service_of
from tests.unit.flow.stage import FailingStore


@dataclass
class Fed:
    """A feed (port Feed) that gives what a test hands it, and notes what the server was told."""

    steps: list[Step] = field(default_factory=list)
    given: int = 0
    told: list[int] = field(default_factory=list)
    holder = None

    def base(self, image: Image, sink: ChunkSink, progress: Progress) -> bytes:
        """Empty."""
        return b"0"

    def resume(self, position: bytes) -> bool:
        """Never."""
        return False

    def take(self) -> Taken:
        """What was handed over since."""
        steps, self.steps = self.steps, []
        self.given += len(steps)
        return Taken(steps, b"%d" % self.given)

    def landed(self, position: bytes) -> None:
        """Noted."""
        self.told.append(int(position))

    def kept(self, position: bytes) -> None:
        """Nothing."""

    def fileno(self) -> int:
        """None."""
        return -1

    def close(self) -> None:
        """Nothing."""


@dataclass
class FedKind(NotesKind):
    """Follows what a feed gives."""

    feed: Fed = field(default_factory=Fed)

    def follow(self, component: ComponentSpec, state_dir: str) -> Follower:
        """By the one feed."""
        return DatabaseFollower(self.feed, state_dir, (0, 0), now_ns)


class Served:
    """A database that is followed from its base on."""

    def __init__(self, tmp_path: Path) -> None:
        self.store = FailingStore()
        self.small = SmallVault(self.store)
        self.kind = FedKind({"/srv/a": {}})
        self.feed = self.kind.feed
        self.parts: Parts = replace(
            parts_of(self.small, self.kind), state_dir=lambda each: _made(tmp_path / each.hex())
        )
        service = service_of("a")
        self.following = Following(service, service.components[0], self.parts)
        self.base = protect(service, self.parts, followed={"a": self.following}).checkpoints[0]
        self.feed.steps.append(Begin(b"log"))
        self.following.tick()
        self.written = b""

    def writes(self, data: bytes) -> None:
        """The server's log goes on."""
        self.feed.steps.append(Write(b"log", len(self.written), data))
        self.written += data

    def log(self) -> bytes:
        """What the vault's log has of it."""
        assert isinstance(self.base.position, Position)
        reader = LogReader(self.small.vault, self.small.catalog, self.small.private)
        found: Sequence[LogRecord] = list(reader.records(self.following.timeline, self.base.position))
        return b"".join(each.data for each in found if each.operation == Operation.WRITE)


def _made(path: Path) -> str:
    os.makedirs(path, exist_ok=True)
    return str(path)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """With an empty log."""
    made = Served(tmp_path)
    yield made
    made.following.close()


def test_the_server_is_told_when_it_is_in_the_vault(served: Served) -> None:
    """And not while it waits here; nothing is lost or twice there."""
    before = served.feed.told[-1]
    served.following.rest()
    served.store.before = "sessions/"
    for _ in range(5):
        served.writes(b"some ")
        assert served.following.tick().kept
    assert served.feed.told[-1] == before
    served.store.before = "none"
    served.following.tick()
    assert served.feed.told[-1] == before + 5
    assert served.log() == served.written


@pytest.mark.parametrize("where", ["segments/", "commits/"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("full", [False, True])
def test_a_commit_that_fails(where: str, when: str, served: Served, *, full: bool) -> None:
    """What comes between the attempt and the answer is not taken for a part of it."""
    spool = served.following.spool
    patched = pytest.MonkeyPatch()
    if full:
        patched.setattr(type(spool), "limit", 0)
    setattr(served.store, when, where)
    for _ in range(3):
        served.writes(b"some ")
        served.following.tick()
    served.store.before = served.store.after = "none"
    patched.undo()
    served.writes(b"more")
    served.following.tick()
    served.following.tick()
    assert served.log() == served.written
    assert served.feed.told[-1] == served.feed.given
