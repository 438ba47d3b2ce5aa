"""A folder to protect, a vault in memory, and captures of the one into the other."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from knowngood.core.buffers import Buffer
from knowngood.core.ids import Name
from knowngood.core.instants import SECOND
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import CaptureContext, Captured
from knowngood.core.progress import Progress
from knowngood.kinds.files import FilesKind
from knowngood.kinds.files.limits import Limits
from knowngood.seal.chunker import ChunkSizes
from knowngood.testing.memory import MemoryPages, MemorySink, MemoryVault
from knowngood.tree.block import Entry
from knowngood.tree.read import TreeReader


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not repeat."""
    return random.Random(seed).randbytes(size)


def later() -> int:
    """A clock so far ahead that all files count as settled."""
    return time.time_ns() + 10 * SECOND


class Power(Exception):
    """The power goes."""


class TooLate(AssertionError):
    """A capture came to its end before the power went."""


class WatchedSink(MemorySink):
    """A sink that tells a test of each chunk before it takes it."""

    def __init__(
        self, vault: MemoryVault, sizes: ChunkSizes | None, before_add: Callable[[Buffer], None] | None
    ) -> None:
        super().__init__(vault, sizes)
        self._before_add = before_add

    def add(self, data: Buffer) -> Name:
        """Take one chunk."""
        if self._before_add:
            self._before_add(data)
        return super().add(data)


@dataclass
class Shot:
    """One capture, and all that can be asked of it."""

    captured: Captured
    sink: MemorySink
    progress: Progress
    context: CaptureContext

    @property
    def tree(self) -> TreeReader:
        """The tree."""
        return TreeReader(self.captured.root, MemoryPages(self.sink.vault).page)

    @property
    def entries(self) -> dict[bytes, Entry]:
        """All entries by path; they must come in order."""
        found = list(self.tree.entries())
        keys = [(entry.directory, entry.name) for entry in found]
        assert keys == sorted(set(keys))
        return {entry.path: entry for entry in found}

    @property
    def reasons(self) -> dict[bytes, str]:
        """What went wrong, by path."""
        assert self.captured.problem_count == len(self.captured.problems)
        return {problem.path: problem.reason for problem in self.captured.problems}

    def content(self, path: bytes) -> bytes:
        """The bytes of a file, holes filled in."""
        entry = self.tree.lookup(path)
        stream = entry.inline or b"".join(
            bytes(self.sink.vault.chunks[Name(name)]) for name, _ in self.tree.chunks(entry)
        )
        assert [len(self.sink.vault.chunks[Name(name)]) for name, _ in self.tree.chunks(entry)] == [
            length for _, length in self.tree.chunks(entry)
        ]
        whole = bytearray(entry.size)
        at = 0
        for offset, length in entry.extents():
            whole[offset : offset + length] = stream[at : at + length]
            at += length
        assert at == len(stream)
        return bytes(whole)


@dataclass
class Site:
    """A component in `tree`, its state folder, its vault."""

    base: Path
    limits: Limits = field(default_factory=Limits)
    sizes: ChunkSizes | None = None
    clock: Callable[[], int] = later
    exclude: tuple[str, ...] = ()
    exclude_caches: bool = False
    one_file_system: bool = False
    path: Path | None = None

    def __post_init__(self) -> None:
        self.tree = self.base / "tree"
        self.state = self.base / "state"
        self.vault = MemoryVault()
        self._ids = itertools.count(1)
        self._kept: set[bytes] = set()
        self.tree.mkdir(exist_ok=True)
        self.state.mkdir(exist_ok=True)

    @property
    def spec(self) -> ComponentSpec:
        """The component."""
        return ComponentSpec(
            name="c",
            kind="files",
            path=os.fsdecode(self.path or self.tree),
            exclude=self.exclude,
            exclude_caches=self.exclude_caches,
            one_file_system=self.one_file_system,
        )

    def write(self, path: str | bytes, data: bytes = b"") -> Path:
        """Write a file below the tree."""
        target = self.tree / os.fsdecode(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return target

    def capture(
        self,
        *,
        trust: bool = True,
        remember: bool = True,
        before_add: Callable[[Buffer], None] | None = None,
        state: Path | None = None,
    ) -> Shot:
        """Capture, land, commit, remember."""
        sink = WatchedSink(self.vault, self.sizes, before_add)
        identifier = b"%016d" % next(self._ids)
        kept = frozenset(self._kept) if trust else frozenset()
        context = CaptureContext(sink, str(state or self.state), kept, Progress(), identifier)
        kind = FilesKind(self.limits, self.clock)
        captured = kind.checkpoint(self.spec, context)
        sink.flush()
        assert self.vault.complete(captured.root)
        if remember:
            self._kept.add(identifier)
            kind.remember(self.spec, context, captured)
        return Shot(captured, sink, context.progress, context)

    def trust(self, shot: Shot) -> None:
        """The checkpoint of a capture was committed."""
        self._kept.add(shot.context.checkpoint_id)

    def distrust(self) -> None:
        """All earlier checkpoints have expired."""
        self._kept.clear()

    def fresh(self) -> Shot:
        """A capture that knows nothing of earlier ones: what every other must be equal to."""
        state = self.base / f"fresh-{next(self._ids)}"
        state.mkdir()
        return self.capture(trust=False, remember=False, state=state)

    def interrupt(self, *, after_chunks: int) -> int:
        """Capture until the power goes at a chunk; what was not made durable is lost. Returns how many were added."""
        left = itertools.count(1)

        def before_add(_: Buffer) -> None:
            if next(left) > after_chunks:
                raise Power

        sink = WatchedSink(self.vault, self.sizes, before_add)
        context = CaptureContext(sink, str(self.state), frozenset(self._kept), Progress(), b"%016d" % next(self._ids))
        try:
            FilesKind(self.limits, self.clock).checkpoint(self.spec, context)
        except Power:
            sink.crash()
            return len(sink.added)
        raise TooLate


def once(action: Callable[[], object]) -> Callable[[Buffer], None]:
    """Do something before the first chunk is taken: all names of its directory are listed by then."""
    actions = [action]

    def act(_: Buffer) -> None:
        if actions:
            actions.pop()()

    return act
