"""Every commit of a busy database is captured, and each can be had back: hashes inside of the transactions say so.

Two programs write at once; checkpoints of theirs and hand-overs of ours race; wardens are killed.
"""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import pytest

from knowngood.core.errors import KnowngoodError
from knowngood.core.log import Form, Operation
from knowngood.core.model import ComponentSpec
from knowngood.kinds.files import FilesKind
from knowngood.kinds.sqlite.kind import sqlite_kind
from knowngood.testing.memory import MemoryPages
from tests.fault.sqlite_writer import number_of, prepare
from tests.servers.following import Following, contents, following

_ROOT = Path(__file__).resolve().parents[2]


class Busy:
    """A database, its programs, and who follows it."""

    def __init__(self, followed: Following, path: Path) -> None:
        self.followed = followed
        self.path = path
        self._programs: list[subprocess.Popen[bytes]] = []

    def begin(self, count: int, mode: str = "plain", synchronous: str = "NORMAL", seed: int = 1) -> None:
        """Two programs write so many transactions together."""
        for number in (0, 1):
            words = [self.path, count // 2, seed * 2 + number, synchronous, mode if number else "plain"]
            command = [sys.executable, "-m", "tests.fault.sqlite_writer", *map(str, words)]
            self._programs.append(subprocess.Popen(command, cwd=_ROOT))

    def follow(self, at_times: Callable[[], object] = lambda: None) -> None:
        """Tick until they have ended, and all is taken."""
        while any(each.poll() is None for each in self._programs):
            self._turn()
            at_times()
        assert [each.returncode for each in self._programs] == [0, 0]
        while self._turn():
            pass

    def _turn(self) -> bool:
        """What the keeper does; what fails is tried again."""
        file = self.followed.follower.standing.file
        select.select([file] if file >= 0 else [], [], [], 0.02)
        try:
            if self.followed.follower.standing.based:
                return self.followed.tick() > 0
            self.followed.checkpoint()
        except KnowngoodError as wrong:
            assert wrong.retry == "later", wrong
        return True

    def states(self, scratch: Path) -> Iterator[int]:
        """Play the log by hand: the number of each state after the base, -1 for a gap."""
        records = self.followed.records
        bases = {start: captured.root for captured, start in self.followed.checkpoints}
        data = bytearray()
        for at, record in enumerate(records):
            if record.operation == Operation.GAP:
                yield -1
                data = bytearray(
                    contents((bases[at + 1], MemoryPages(self.followed.vault)))[self.path.name.encode()][3]
                )
                yield _number(data, scratch)
                continue
            if record.operation == Operation.WRITE:
                assert record.form == Form.BYTES
                data.extend(bytes(max(0, record.offset + record.length - len(data))))
                data[record.offset : record.offset + record.length] = record.data
            else:
                assert record.operation == Operation.TRUNCATE
                del data[record.length :]
                data.extend(bytes(record.length - len(data)))
            last = at + 1 == len(records)
            if last or records[at + 1].time_ns != record.time_ns or records[at + 1].operation == Operation.GAP:
                yield _number(data, scratch)

    def close(self) -> None:
        """End all."""
        for each in self._programs:
            each.kill()
            each.wait()


def _number(data: bytes | bytearray, scratch: Path) -> int:
    scratch.write_bytes(data)
    return number_of(str(scratch))


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Busy]:
    """Prepared, and followed."""
    path = tmp_path / "shop.db"
    prepare(str(path))
    component = ComponentSpec(name="db", kind="sqlite", path=str(path))
    with following(sqlite_kind(FilesKind()), component, tmp_path / "state") as followed:
        followed.checkpoint()
        found = Busy(followed, path)
        yield found
        found.close()


def warden_of(followed: Following) -> int:
    """Its process."""
    warden = followed.follower._feed._warden  # type: ignore[attr-defined]
    return warden._process.pid if warden else 0


def assert_complete(busy: Busy, count: int, scratch: Path) -> None:
    """Every commit, in its order, and the last checkpoint is the last of them."""
    numbers = [number for number, _ in groupby(busy.states(scratch))]  # VACUUM is a commit that changes no content
    assert numbers == [-1, *range(count + 1)]
    busy.followed.checkpoint()
    found = contents(busy.followed.newest())[busy.path.name.encode()][3]
    assert _number(bytearray(found), scratch) == count
    assert contents(busy.followed.at(len(busy.followed.records))) == contents(busy.followed.newest())


@pytest.mark.parametrize("mode", ["plain", "reads", "spills", "checkpoints"])
def test_every_commit(busy: Busy, tmp_path: Path, mode: str) -> None:
    """Also with old states that are read for long, with rollbacks, with the programs' own checkpoints and VACUUM."""
    some = random.Random(1)
    busy.begin(160, mode)
    busy.follow(lambda: some.random() < 0.02 and busy.followed.checkpoint())
    assert_complete(busy, 160, tmp_path / "scratch")


@pytest.mark.slow
@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
@pytest.mark.parametrize("mode", ["plain", "reads", "spills", "checkpoints"])
def test_every_commit_of_a_thousand(busy: Busy, tmp_path: Path, mode: str, synchronous: str) -> None:
    """Eight times a thousand."""
    some = random.Random(2)
    busy.begin(1000, mode, synchronous, seed=3)
    busy.follow(lambda: some.random() < 0.01 and busy.followed.checkpoint())
    assert_complete(busy, 1000, tmp_path / "scratch")


def _kills(busy: Busy, count: int, scratch: Path, *, restarts: bool) -> None:
    some = random.Random(4)

    def kill() -> None:
        if some.random() < 0.04 and (process := warden_of(busy.followed)):
            os.kill(process, signal.SIGKILL)
        elif restarts and some.random() < 0.02:
            busy.followed.restart()

    busy.begin(count, "checkpoints", seed=5)
    busy.follow(kill)
    numbers = list(busy.states(scratch))
    before = 0
    for at, number in enumerate(numbers):
        if number >= 0:
            assert number in (before, before + 1) or numbers[at - 1] == -1  # nothing is missing where no gap shows
            before = number
    assert before == count


@pytest.mark.parametrize("restarts", [False, True])
def test_killed_wardens(busy: Busy, tmp_path: Path, restarts: bool) -> None:
    """What cannot be told apart is a gap; every state is one that was committed, and nothing else is missing."""
    _kills(busy, 200, tmp_path / "scratch", restarts=restarts)


@pytest.mark.slow
def test_killed_wardens_for_long(busy: Busy, tmp_path: Path) -> None:
    """Over and over."""
    _kills(busy, 2000, tmp_path / "scratch", restarts=True)
