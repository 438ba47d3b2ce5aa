"""One file, written to in every way that fsx knows: it reads as it should, and any moment of it comes back.

After `fsx` of Apple and of xfstests: random operations on a file, held against a model of it in memory.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from knowngood.core.instants import now_ns
from knowngood.linux.beneath import allocate
from tests.loops import FILE_SYSTEMS, Mounts
from tests.mounted import needs_fuse
from tests.unit.kinds_files_journal.journalling import Journalled

pytestmark = [pytest.mark.root, needs_fuse]
_KEEP_SIZE, _PUNCH, _ZERO = 1, 2, 16
_LARGEST = 300_000
_CANNOT = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})


class _Fsx:
    """A file, and what it should be."""

    def __init__(self, path: Path, some: random.Random) -> None:
        self.path = path
        self.some = some
        self.model = bytearray()
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def step(self) -> None:
        """One operation."""
        steps: list[Callable[[], None]] = [self.write, self.write, self.append, self.truncate, self.read, self.mapread]
        steps += [self.mapwrite, self.punch, self.zero, self.allocate, self.copy, self.reopen, self.sync, self.vector]
        self.some.choice(steps)()

    def _put(self, at: int, data: bytes) -> None:
        self.model.extend(bytes(max(0, at + len(data) - len(self.model))))
        self.model[at : at + len(data)] = data

    def _range(self, most: int = _LARGEST) -> tuple[int, int]:
        at = self.some.randrange(max(1, most))
        return at, self.some.randrange(1, max(2, min(70_000, most - at + 1)))

    def write(self) -> None:
        """Anywhere, also behind the end."""
        at, size = self._range()
        data = self.some.randbytes(size)
        assert os.pwrite(self.fd, data, at) == size
        self._put(at, data)

    def vector(self) -> None:
        """Several parts at once."""
        at, size = self._range()
        data = self.some.randbytes(size)
        assert os.pwritev(self.fd, [data[: size // 3], data[size // 3 :]], at) == size
        self._put(at, data)

    def append(self) -> None:
        """At the end, with a descriptor of its own."""
        data = self.some.randbytes(self.some.randrange(1, 5000))
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        assert os.write(fd, data) == len(data)
        os.close(fd)
        self._put(len(self.model), data)

    def truncate(self) -> None:
        """Shorter or longer."""
        size = self.some.randrange(_LARGEST)
        os.ftruncate(self.fd, size)
        self.model = self.model[:size] + bytes(max(0, size - len(self.model)))

    def read(self) -> None:
        """It is as it should be."""
        at, size = self._range()
        assert os.pread(self.fd, size, at) == bytes(self.model[at : at + size])

    def mapread(self) -> None:
        """Through memory as well."""
        if self.model:
            with mmap.mmap(self.fd, 0, prot=mmap.PROT_READ) as memory:
                assert memory[:] == bytes(self.model)

    def mapwrite(self) -> None:
        """Through memory, and out."""
        if self.model:
            at, size = self._range(len(self.model))
            data = self.some.randbytes(min(size, len(self.model) - at))
            with mmap.mmap(self.fd, 0) as memory:
                memory[at : at + len(data)] = data
                memory.flush()
            self._put(at, data)

    def _allocate(self, mode: int) -> tuple[int, int] | None:
        at, size = self._range()
        try:
            allocate(self.fd, mode, at, size)
        except OSError as wrong:
            assert wrong.errno in _CANNOT
            return None
        return at, size

    def punch(self) -> None:
        """A hole."""
        if done := self._allocate(_KEEP_SIZE | _PUNCH):
            size = min(done[1], len(self.model) - done[0])
            self._put(done[0], bytes(size)) if size > 0 else None

    def zero(self) -> None:
        """Zeros, also behind the end."""
        if done := self._allocate(_ZERO):
            self._put(done[0], bytes(done[1]))

    def allocate(self) -> None:
        """Room, also behind the end."""
        if done := self._allocate(0):
            self.model.extend(bytes(max(0, sum(done) - len(self.model))))

    def copy(self) -> None:
        """From one place to another."""
        at, size = self._range(len(self.model))
        to = self.some.randrange(_LARGEST)
        if at + size <= to or to + size <= at:
            count = os.copy_file_range(self.fd, self.fd, size, at, to)
            self._put(to, bytes(self.model[at : at + count])) if count else None

    def reopen(self) -> None:
        """Another descriptor."""
        os.close(self.fd)
        self.fd = os.open(self.path, os.O_RDWR | self.some.choice((0, os.O_DSYNC)))

    def sync(self) -> None:
        """On stable storage."""
        os.fsync(self.fd)


def _run(base: Path, seed: int, steps: int) -> None:
    some, site = random.Random(seed), Journalled(base)
    noted: list[tuple[int, bytes]] = []
    try:
        site.settle()
        first, fsx = len(site.roots) - 1, _Fsx(site.tree / "fsx", some)
        try:
            for number in range(steps):
                fsx.step()
                if some.random() < 8 / steps:
                    noted.append((now_ns(), bytes(fsx.model)))
                if some.random() < 4 / steps:
                    assert site.renew() if number % 2 else site.tick() is not None
            assert (site.tree / "fsx").read_bytes() == bytes(fsx.model)
        finally:
            os.close(fsx.fd)
        site.tick()
        assert site.follower.standing.level == "journal"
        for time_ns, truth in noted:
            assert site.at(base=first, time_ns=time_ns)[b"fsx"][-1] == truth
        site.verify(first)
    finally:
        site.end()


@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_one_file(kind: str, mounts: Mounts) -> None:
    """On each file system."""
    _run(mounts.fresh_dir(kind), 1, 300)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_one_file_often(kind: str, seed: int, mounts: Mounts) -> None:
    """For longer."""
    _run(mounts.fresh_dir(kind), seed, 3000)
