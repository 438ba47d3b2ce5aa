"""A database that is followed into a vault in memory; its log is replayed there, and recovered into folders."""

from __future__ import annotations

import os
import select
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from knowngood.core.ids import Name, new_id
from knowngood.core.instants import now_ns
from knowngood.core.log import LogRecord, Operation
from knowngood.core.model import Checkpoint, ComponentSpec, Totals
from knowngood.core.ports import CaptureContext, Captured, Follower, Kind, PageSource, RecoveryRequest, Sandbox
from knowngood.core.progress import Progress
from knowngood.testing.memory import MemoryPages, MemoryScratch, MemorySink, MemoryVault
from knowngood.tree.replay import Replay, Until
from tests.unit.tree.replaying import expand, read

_DEADLINE = 60.0
_MEMORY = "/dev/shm"
_MEMORY_BYTES = 2 << 30  # of free room; a container may have 64 MiB there


class Following:
    """What `flow/follow.py` does, without a vault on disk. `records` is the whole log since the first checkpoint."""

    follower: Follower

    def __init__(self, kind: Kind, component: ComponentSpec, state: Path) -> None:
        """Nobody follows until `begin` is called."""
        self.kind = kind
        self.component = component
        self.state = str(state)
        self.vault = MemoryVault()
        self.records: list[LogRecord] = []
        self.checkpoints: list[tuple[Captured, int]] = []  # and where the log was at it
        self._trusted: set[bytes] = set()

    def begin(self) -> None:
        """Follow."""
        self.follower = self.kind.follow(self.component, self.state)

    def restart(self) -> None:
        """As if the process had ended and begun again."""
        self.follower.close()
        self.begin()

    def tick(self, *, lands: bool = True) -> int:
        """One tick; how many records came. With `lands` false, the commit fails."""
        if not self.follower.look():
            return 0
        sink = MemorySink(self.vault)
        records = list(self.follower.records(sink, len(self.records), now_ns()))
        if not lands:
            return 0
        sink.flush()
        self.records += records
        self.follower.landed()
        return len(records)

    def until(self, enough: Callable[[], bool]) -> None:
        """Tick, when there is something, until it is enough."""
        end = time.monotonic() + _DEADLINE
        while not enough():
            assert time.monotonic() < end, "it does not come"
            file = self.follower.standing.file
            select.select([file] if file >= 0 else [], [], [], 0.05)
            self.tick()

    def until_records(self, more: int = 1) -> None:
        """Tick until there are so many records more."""
        least = len(self.records) + more
        self.until(lambda: len(self.records) >= least)

    def checkpoint(self, *, commits: bool = True) -> list[LogRecord]:
        """A checkpoint; the records before it. With `commits` false it is thrown away after the log has landed."""
        sink = MemorySink(self.vault)
        context = CaptureContext(sink, self.state, frozenset(self._trusted), Progress(), new_id())
        made = self.follower.checkpoint(context, len(self.records), now_ns())
        sink.flush()
        self.records += made.records
        self.follower.landed()
        if commits:
            self._trusted.add(context.checkpoint_id)
            self.checkpoints.append((made.captured, len(self.records)))
            self.follower.remember(context, made.captured)
        return list(made.records)

    @property
    def gaps(self) -> int:
        """How many there are in the log."""
        return sum(each.operation == Operation.GAP for each in self.records)

    def base(self, state: Path) -> Captured:
        """A checkpoint that nobody follows."""
        sink = MemorySink(self.vault)
        context = CaptureContext(sink, str(state), frozenset(), Progress(), new_id())
        captured = self.kind.checkpoint(self.component, context)
        sink.flush()
        self.kind.remember(self.component, context, captured)
        return captured

    # ------------------------------------------------------------------------------------------------------ recovery

    def at(self, sequence: int) -> tuple[Name, PageSource]:
        """The state before the record of this number: by the nearest checkpoint and replay."""
        captured, start = max((each for each in self.checkpoints if each[1] <= sequence), key=lambda each: each[1])
        replay = Replay(captured.root, MemoryPages(self.vault), MemoryScratch(), expand, start)
        replay.run(self.records[start:], Until(sequence=sequence))
        return replay.state()

    def newest(self) -> tuple[Name, PageSource]:
        """The last checkpoint."""
        return self.checkpoints[-1][0].root, MemoryPages(self.vault)

    def recover(self, state: tuple[Name, PageSource], folder: Path) -> Path:
        """Bring a state back into a folder."""
        root, pages = state
        request = RecoveryRequest(checkpoint_of(root, self.component), str(folder))
        done = self.kind.materialize(self.kind.plan(request, pages, Progress()), pages, Progress())
        assert not done.problems
        return folder

    @contextmanager
    def sandbox(self, state: tuple[Name, PageSource]) -> Iterator[Sandbox]:
        """A throw-away server on a state."""
        with open_folder() as folder:
            sandbox = self.kind.sandbox(self.component, str(self.recover(state, folder / "out")))
            try:
                yield sandbox
            finally:
                sandbox.stop()

    def close(self) -> None:
        """Follow no longer."""
        self.follower.close()


@contextmanager
def following(kind: Kind, component: ComponentSpec, state: Path) -> Iterator[Following]:
    """While the block runs, it is followed."""
    found = Following(kind, component, state)
    found.begin()
    with closing(found):
        yield found


@contextmanager
def open_folder(*, in_memory: bool = False) -> Iterator[Path]:
    """A temporary folder that every user may enter, as servers of other users have to.

    `in_memory`, where there is room, is for those who ask how long a server waits: for us, not for a busy disk.
    """
    roomy = in_memory and os.path.isdir(_MEMORY) and shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES
    folder = Path(tempfile.mkdtemp(prefix="kg-", dir=_MEMORY if roomy else None))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def checkpoint_of(root: Name, component: ComponentSpec) -> Checkpoint:
    """A checkpoint, as recovery wants it."""
    return Checkpoint(
        id=new_id(), timeline=bytes(16), root=root, component=component.name, kind=component.kind,
        source=component.where, host="host", capture="journal", started_ns=now_ns(), finished_ns=now_ns(),
        totals=Totals(),
    )  # fmt: skip


def contents(state: tuple[Name, PageSource]) -> dict[bytes, tuple[int, int, int, bytes]]:
    """Mode, owner and content of all that is in a tree, by path."""
    found = read(*state)
    return {key: (*each[:3], each[-2]) for key, each in found.items()}


def paths_in(state: tuple[Name, PageSource]) -> set[str]:
    """What files are in a tree."""
    return {os.fsdecode(key.replace(b"\0", b"/")) for key in contents(state)}
