"""The journal by chance: whatever is done through the mount, every instant that was noted comes back exactly."""

from __future__ import annotations

import mmap
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings, strategies as st

from knowngood.core.instants import now_ns
from knowngood.kinds.files.follow import dirtied, reading
from knowngood.kinds.files.journal import backlog
from knowngood.linux.beneath import EXCHANGE, allocate, rename_beneath
from knowngood.seal.chunker import ChunkSizes
from knowngood.testing.memory import MemoryPages
from tests.loops import FILE_SYSTEMS, Mounts
from tests.mounted import needs_fuse
from tests.property.test_files_follow import Changer
from tests.unit.kinds_files.capturing import noise
from tests.unit.kinds_files_journal.journalling import Journalled, State, differing_states

pytestmark = [pytest.mark.root, needs_fuse]
_KEEP_SIZE, _PUNCH, _ZERO = 1, 2, 16


class Writer(Changer):
    """Does what a watcher would not see, as well."""

    def change(self) -> None:
        """Do one; what cannot be done is not."""
        rare = [
            self.append,
            self.mapped,
            self.punch,
            self.zero,
            self.prealloc,
            self.swap,
            self.open_and_gone,
            self.owner,
        ]
        if self.some.random() < 0.5:
            super().change()
            return
        with suppress(OSError, ValueError):
            self.some.choice(rare)()

    def append(self) -> None:
        """At the end, in several writes."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK  # where no file is, there may be a pipe
        with os.fdopen(os.open(self.file(), flags, 0o644), "ab", buffering=0) as file:
            for _ in range(self.some.randrange(4)):
                file.write(noise(self.some.randrange(1, 9000), self.some.randrange(100)))

    def mapped(self) -> None:
        """Through memory."""
        with self.file().open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            at = self.some.randrange(len(memory))
            memory[at : at + 10] = b"0123456789"[: len(memory) - at]
            memory.flush()

    def _allocate(self, mode: int) -> None:
        with self.file().open("r+b") as file:
            allocate(file.fileno(), mode, self.some.randrange(400_000), self.some.randrange(1, 200_000))

    def punch(self) -> None:
        """A hole."""
        self._allocate(_KEEP_SIZE | _PUNCH)

    def zero(self) -> None:
        """A range of zeros, which may make the file longer."""
        self._allocate(_ZERO)

    def prealloc(self) -> None:
        """Room."""
        self._allocate(0)

    def swap(self) -> None:
        """Two names change places."""
        one, other = os.fsencode(self.path()), os.fsencode(self.path())
        rename_beneath(-100, one, -100, other, EXCHANGE)

    def open_and_gone(self) -> None:
        """Written to after its name went, and another file has it."""
        path = self.file()
        with path.open("r+b", buffering=0) as file:
            path.unlink()
            path.write_bytes(b"another one")
            file.write(b"nobody sees this")
            os.fchmod(file.fileno(), 0o640)

    def owner(self) -> None:
        """Somebody else's."""
        os.chown(self.path(), self.some.randrange(3), self.some.randrange(3), follow_symlinks=False)


def _tree_of(site: Journalled) -> State:
    return site.states(site.roots[-1][0], MemoryPages(site.vault))


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 1 << 32))
def test_whatever_happens(seed: int) -> None:
    """Replay comes to what was there at noted instants, from every checkpoint on; each checkpoint is what is there."""
    _one_run(seed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", FILE_SYSTEMS)
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1 << 32))
def test_whatever_happens_often(kind: str, mounts: Mounts, seed: int) -> None:
    """The same, for longer, on each file system."""
    _one_run(seed, mounts.fresh_dir(kind))


@contextmanager
def _small_parts() -> Iterator[None]:
    """Files count as large that are small, so that they are read in parts."""
    with patch.object(reading, "PATCHED", 100_000), patch.object(backlog, "PATCHED", 100_000):
        with patch.object(dirtied, "GRAIN", 4096):
            yield


def _one_run(seed: int, folder: Path | None = None) -> None:
    with _small_parts():
        _run(seed, folder)


def _run(seed: int, folder: Path | None) -> None:
    some = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=folder) as base:
        site = Journalled(Path(base), sizes=ChunkSizes(1 << 16, 1 << 17, 1 << 18))
        try:
            writer = Writer(site.tree, some)
            for _ in range(some.randrange(20)):
                writer.change()
            site.settle()
            noted: list[tuple[int, int, State]] = []
            for _ in range(some.randrange(2, 6)):
                for _ in range(some.choice((1, 2, 5, 15))):
                    writer.change()
                noted.append((len(site.roots) - 1, now_ns(), site.there()))
                if some.random() < 0.3:
                    site.checkpoint()
                    assert site.captured.capture == "journal", site.follower.standing
                    assert not differing_states(_tree_of(site), site.there())
                elif some.random() < 0.7:
                    site.tick()
                    assert site.follower.standing.level == "journal", site.follower.standing
                elif some.random() < 0.3:
                    site.dies()
                    site.follower = site.follow()
                elif some.random() < 0.3:
                    assert site.renew()
            site.tick()
            assert site.follower.standing.level == "journal", site.follower.standing
            for at, time_ns, truth in noted:
                assert not differing_states(site.at(base=at, time_ns=time_ns), truth)
            site.verify()
        finally:
            site.end()


_SEVERAL = """
import os, random, signal, sys
from pathlib import Path
from tests.property.test_files_journal import Writer
class Among(Writer):
    def mapped(self):
        # What is mapped may be cut short by another, which ends whoever writes there: that is a child's lot.
        child = os.fork()
        if child:
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert ended in (0, -signal.SIGBUS), ended
            return
        try:
            super().mapped()
        finally:
            os._exit(0)
writer = Among(Path(sys.argv[1]), random.Random(int(sys.argv[2])))
writer.pipe = lambda: None  # one that another process puts in the place of a file would be waited for
for line in sys.stdin:
    for _ in range(int(line)):
        writer.change()
    print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
def test_several_processes_at_once(seed: int, tmp_path: Path) -> None:
    """They write over each other as fast as they can; whenever they pause, that instant comes back."""
    some = random.Random(seed)
    site = Journalled(tmp_path, sizes=ChunkSizes(1 << 16, 1 << 17, 1 << 18))
    words = [sys.executable, "-c", _SEVERAL, str(site.tree)]
    writers = [
        subprocess.Popen([*words, str(some.random())[2:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        site.settle()
        first, noted = len(site.roots) - 1, list[tuple[int, State]]()
        for _ in range(12):
            for each in writers:
                assert each.stdin
                each.stdin.write("15\n")
                each.stdin.flush()
            if some.random() < 0.5:
                site.tick()  # while they write
            if some.random() < 0.3:
                site.checkpoint()
                assert site.captured.capture == "journal", site.follower.standing
            assert [each.stdout.readline() for each in writers if each.stdout] == ["done\n"] * 3
            noted.append((now_ns(), site.there()))
        site.tick()
        for time_ns, truth in noted:
            assert not differing_states(site.at(base=first, time_ns=time_ns), truth)
    finally:
        for each in writers:
            each.kill()
            each.communicate()
        site.end()
