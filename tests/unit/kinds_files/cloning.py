"""A folder that is followed with clones, on a file system that has them."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from knowngood.core.ids import Name
from knowngood.kinds.files.follow.clones import Clones
from knowngood.kinds.files.follow.follower import FilesFollower
from knowngood.seal.chunker import ChunkSizes
from knowngood.testing.memory import MemorySink, MemoryVault
from tests.unit.kinds_files.following import Followed

LEAST = 64 * 1024
SIZES = ChunkSizes(1 << 16, 1 << 17, 1 << 18)


class Room:
    """A file system of which tests say how much is free. Time passes whenever somebody looks at the clock."""

    def __init__(self) -> None:
        self.free = 1.0
        self.step = 1e6  # seconds
        self._looks = itertools.count()

    def share(self, _fd: int) -> float:
        """What is free of it."""
        return self.free

    def clock(self) -> float:
        """Seconds."""
        return next(self._looks) * self.step


@dataclass
class Cloned(Followed):
    """With clones of files that are not large. `meanwhile` happens once, while a checkpoint is being read."""

    sizes: ChunkSizes | None = SIZES
    subvolume: bool = False
    most: int = 1000
    meanwhile: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.subvolume and not (self.base / "tree").exists():
            subprocess.run(["btrfs", "-q", "subvolume", "create", self.base / "tree"], check=True)
        self.room = Room()
        super().__post_init__()

    def follow(self) -> FilesFollower:
        """Begin to follow."""
        path, state = os.fsencode(os.path.realpath(self.tree)), str(self.base / "state")
        self.clones = Clones(self.room.clock, self.room.share, least=LEAST, files=self.most)
        arguments = (self.component, path, state, self.told, lambda: self.mapped, self.limits, self.clock)
        return FilesFollower(*arguments, self.clones)

    def sink(self) -> MemorySink:
        """A way into the vault."""
        return Busy(self.vault, self.sizes, self.meanwhile)


class Busy(MemorySink):
    """Something happens at each chunk that is taken, as long as there is something to happen."""

    def __init__(self, vault: MemoryVault, sizes: ChunkSizes | None, acts: list[Callable[[], object]]) -> None:
        super().__init__(vault, sizes)
        self._acts = acts

    def add(self, data: object) -> Name:
        """Take one chunk."""
        if self._acts:
            self._acts.pop(0)()
        return super().add(data)  # type: ignore[arg-type]


def write(path: Path, offset: int, data: bytes) -> None:
    """Some bytes of a file."""
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        file.write(data)
