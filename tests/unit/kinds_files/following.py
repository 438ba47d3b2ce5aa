"""A folder that is followed without a kernel: tests say what a watcher would tell; the log is replayed in memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from knowngood.core.ids import Name, new_id
from knowngood.core.instants import now_ns
from knowngood.core.log import LogRecord
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import CaptureContext, PageSource
from knowngood.core.progress import Progress
from knowngood.kinds.files import FilesKind
from knowngood.kinds.files.follow.follower import FilesFollower
from knowngood.kinds.files.limits import Limits
from knowngood.kinds.files.watch import Dirty, WatchTraits
from knowngood.seal.chunker import ChunkSizes
from knowngood.testing.memory import MemoryPages, MemoryScratch, MemorySink, MemoryVault
from knowngood.tree.block import ROOT_NAME, Entry
from knowngood.tree.diff import diff
from knowngood.tree.read import TreeReader
from knowngood.tree.replay import Replay
from tests.unit.tree.replaying import expand

Place = tuple[bytes, bytes]
Stamp = tuple[int, ...]


def stamps(root: Path) -> dict[Place, Stamp]:
    """What a folder looks like from outside."""
    top = os.fsencode(root)
    found = {(b"", ROOT_NAME): _stamp(top)}
    for above, folders, files in os.walk(top):
        key = os.path.relpath(above, top).replace(b"/", b"\0")
        for name in folders + files:
            found[(b"" if key == b"." else key, name)] = _stamp(os.path.join(above, name))
    return found


def _stamp(path: bytes) -> Stamp:
    here = os.lstat(path)
    size = 0 if stat.S_ISDIR(here.st_mode) else here.st_size
    return here.st_ino, here.st_mode, here.st_ctime_ns, here.st_mtime_ns, size, here.st_nlink


@dataclass
class Told:
    """A watcher (port Watch) that tells what a test hands it."""

    root: Path
    traits: WatchTraits = field(default_factory=lambda: WatchTraits("fanotify"))
    dirty: Dirty = field(default_factory=Dirty)
    sparing: Callable[[set[Place], dict[Place, Stamp]], set[Place]] | None = None
    automatic: bool = True
    closed: bool = False
    before: dict[Place, Stamp] = field(default_factory=dict)
    now: dict[Place, Stamp] = field(default_factory=dict)

    def fileno(self) -> int:
        """None."""
        return -1

    def drain(self) -> Dirty:
        """What was handed over; and, by itself, what differs from the last time."""
        if self.automatic:
            now = stamps(self.root)
            changed = {place for place in now.keys() | self.before.keys() if now.get(place) != self.before.get(place)}
            self.now = now
            self.dirty.entries |= self.sparing(changed, self.before) if self.sparing else changed
            self.before = now
        answer, self.dirty = self.dirty, Dirty()
        return answer

    def close(self) -> None:
        """Noted."""
        self.closed = True


def small(entry: Entry) -> tuple[object, ...]:
    """All of an entry but where its content is."""
    extra = entry.extra
    identity = (entry.directory, entry.name, entry.row, entry.file_system)
    return (*identity, extra.xattrs, extra.flags, extra.rdev)


@dataclass
class Followed:
    """A folder `tree`, its vault in memory, a follower and its log."""

    base: Path
    sizes: ChunkSizes | None = None
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], int] = now_ns
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.tree = self.base / "tree"
        self.tree.mkdir(exist_ok=True)
        (self.base / "state").mkdir(exist_ok=True)
        self.vault = MemoryVault()
        self.component = ComponentSpec(name="c", kind="files", path=str(self.tree), exclude=self.exclude)
        self.told = Told(self.tree)
        self.told.drain()
        self.mapped: set[Place] = set()
        self.log: list[LogRecord] = []
        self.roots: list[tuple[bytes, int]] = []  # of checkpoints, and where the log was
        self.trusted: set[bytes] = set()
        self.kind = FilesKind(self.limits, self.clock)
        self.follower = self.follow()

    def follow(self) -> FilesFollower:
        """Begin to follow."""
        path, state = os.fsencode(os.path.realpath(self.tree)), str(self.base / "state")
        return FilesFollower(self.component, path, state, self.told, lambda: self.mapped, self.limits, self.clock)

    def sink(self) -> MemorySink:
        """A way into the vault."""
        return MemorySink(self.vault, self.sizes)

    # --------------------------------------------------------------------------------------------------------- verbs

    def tick(self) -> list[LogRecord]:
        """One tick: what it brought."""
        if not self.follower.look():
            return []
        sink = self.sink()
        records = list(self.follower.records(sink, len(self.log), now_ns()))
        sink.flush()
        self.log += records
        self.follower.landed()
        return records

    def checkpoint(self) -> list[LogRecord]:
        """A checkpoint: the records that came before it."""
        sink = self.sink()
        context = self.context(sink, "state")
        made = self.follower.checkpoint(context, len(self.log), now_ns())
        sink.flush()
        self.log += made.records
        self.follower.landed()
        self.roots.append((made.captured.root, len(self.log)))
        self.trusted.add(context.checkpoint_id)
        self.follower.remember(context, made.captured)
        assert self.follower.standing.based
        self.captured = made.captured
        return list(made.records)

    def context(self, sink: MemorySink, state: str) -> CaptureContext:
        """What a checkpoint is given."""
        return CaptureContext(sink, str(self.base / state), frozenset(self.trusted), Progress(), new_id())

    def scan(self) -> bytes:
        """The root of a full scan, from nothing."""
        sink = self.sink()
        folder = self.base / f"scan{len(os.listdir(self.base))}"
        folder.mkdir()
        captured = self.kind.checkpoint(self.component, self.context(sink, folder.name))
        sink.flush()
        self.scanned = captured
        return captured.root

    # --------------------------------------------------------------------------------------------------------- truths

    def replayed(self, base: int = -1) -> dict[bytes, tuple[object, ...]]:
        """What replay of the log over a checkpoint comes to."""
        root, position = self.roots[base]
        replay = Replay(Name(root), MemoryPages(self.vault), MemoryScratch(), expand, position)
        replay.run(self.log[position:])
        found, source = replay.state()
        return self._all(found, source)

    def there(self) -> dict[bytes, tuple[object, ...]]:
        """What is there, as a scan sees it."""
        return self._all(self.scan(), MemoryPages(self.vault))

    @staticmethod
    def _all(root: bytes, source: PageSource) -> dict[bytes, tuple[object, ...]]:
        tree = TreeReader(Name(root), source.page)
        found: dict[bytes, tuple[object, ...]] = {}
        for entry in tree.entries():
            content = entry.inline or b"".join(bytes(source.chunk(Name(name))) for name, _ in tree.chunks(entry))
            whole = bytearray(entry.size)
            at = 0
            for offset, length in entry.extents():
                whole[offset : offset + length] = content[at : at + length]
                at += length
            found[entry.path] = (*small(entry), bytes(whole))
        return found

    def verify(self, base: int = -1) -> None:
        """Replay comes to what is there, from the last checkpoint on or an earlier one."""
        there, replayed = self.there(), self.replayed(base)
        wrong = {path for path in there.keys() | replayed.keys() if there.get(path) != replayed.get(path)}
        assert not wrong, [(path, short(replayed.get(path)), short(there.get(path))) for path in sorted(wrong)]


def short(found: tuple[object, ...] | None) -> object:
    """An entry, short enough to be shown."""
    return found and (*found[2:-1], found[-1][:20], len(found[-1]))  # type: ignore[index]


def differing(one: bytes, other: bytes, vault: MemoryVault) -> list[tuple[Entry | None, Entry | None]]:
    """What differs between two trees."""
    return list(diff(*(TreeReader(Name(root), MemoryPages(vault).page) for root in (one, other))))
