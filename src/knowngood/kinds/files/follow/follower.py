"""Follows a folder (port Follower): what a watcher tells becomes records, and checkpoints on the one before."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from knowngood.core.ids import Name
from knowngood.core.log import Gap, LogRecord, Operation
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import CaptureContext, Captured, ChunkSink, Durable, Followed, Standing
from knowngood.kinds.files.capture.basis import Basis
from knowngood.kinds.files.capture.remembered import BasisDamaged
from knowngood.kinds.files.capture.scan import Scan
from knowngood.kinds.files.follow.advance import Base, advance
from knowngood.kinds.files.follow.clones import Clones
from knowngood.kinds.files.follow.feed import Place, Watch
from knowngood.kinds.files.follow.holding import Beginning, keep_clones, resting
from knowngood.kinds.files.follow.known import Known, State, inode_of
from knowngood.kinds.files.follow.quiet import Rows, not_as_taken
from knowngood.kinds.files.follow.snapshot import SNAPSHOT, Snapshots
from knowngood.kinds.files.follow.still import Still
from knowngood.kinds.files.follow.taking import Haul
from knowngood.kinds.files.follow.tools import Taken, Tools
from knowngood.kinds.files.limits import FILES_PER_RECORD, Limits
from knowngood.kinds.files.problems import CHANGED
from knowngood.kinds.files.watch import SCAN, Dirty
from knowngood.tree.build import PutPage
from knowngood.tree.namespace import place_of
from knowngood.tree.read import TreeReader, key_of

PENDING = 1_000_000
"""So many names may wait while a vault is away, about 200 MB; a scan is then as good."""

_MAPPED_SECONDS = 10.0  # how often it is asked which files are changed through memory


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is known once the records that were given last are in the log: `count` of them. `rows` is what was looked at
    for them."""

    count: int
    haul: Haul
    updates: Mapping[Place, Known | None]
    rows: Mapping[Place, bytes | None]


@dataclass(frozen=True, slots=True)
class _Instant:
    """A snapshot that stands in for the component. `anew`: nothing of it was known. `looked` is what was looked at."""

    root: int
    device: int
    devices: dict[int, int]
    anew: bool
    looked: Dirty = field(default_factory=Dirty)


class FilesFollower:
    """One component that is followed. Holds its basis: nobody else captures it meanwhile."""

    def __init__(
        self,
        component: ComponentSpec,
        path: bytes,
        state_dir: str,
        watch: Watch,
        mapped: Callable[[], set[Place]],
        limits: Limits,
        clock: Callable[[], int],
        clones: Clones | None = None,
        reason: str = "",
        through: bytes = b"",
    ) -> None:
        """`reason` is why there are no clones; `through` a path by which the component is read, where that is not its
        own. Raises Busy when it is followed or captured already."""
        self._component = component
        self._clock = clock
        self._snapshots = Snapshots(path, state_dir)
        self._instant: _Instant | None = None
        self._state_dir = state_dir
        self._limits = limits
        self._basis = Basis(state_dir)
        self._tools = Tools(component, path, state_dir, limits, clock, clones, through)
        self._clones, self._reason = clones, reason
        self._beginning = Beginning(clones, self._tools.hashes, limits.hash_bytes)
        self._watch = watch
        if clones is not None:
            self._snapshots.sweep()
        self._ask_mapped, self._mapped, self._mapped_at = mapped, set[Place](), -_MAPPED_SECONDS
        self._gap = Gap.NOT_RUNNING
        self._base: Base | None = None
        self._next: Base | None = None  # the base when the checkpoint is committed that was made last
        self._state: State | None = None
        self._dirty = Dirty()
        self._seen: dict[Place, bytes | None] = {}
        self._failed: dict[Place, bytes] = {}
        self._batch: _Batch | None = None
        self._late = False  # whether there was a look since it was given
        self._length = 0  # of the log since the base, in records
        self._unread = 0.0  # seconds for which nobody has read what changed and rests
        self._told = 0  # how often the watcher told of something
        self._still = Still(self._changes)

    @property
    def standing(self) -> Standing:
        """How well it follows."""
        traits = self._watch.traits
        reasons = (traits.reason, self._reason, self._clones.reason if self._clones is not None else "")
        reason = "; ".join(each for each in reasons if each)
        based, file = self._base is not None, self._watch.fileno()
        holder = None if self._mapped or traits.feed == SCAN else self._still
        return Standing(
            self._level, reason, based, file, due=self._is_long, holder=holder, unheld=True, unread=self._unread
        )

    @property
    def _is_long(self) -> bool:
        """Whether the log takes so long to replay that a new base is worth its price."""
        base = self._base
        return base is not None and self._length > self._limits.records + base.totals.files // FILES_PER_RECORD

    @property
    def _level(self) -> str:
        if self._watch.traits.feed == SCAN:
            return "scan"
        return "watch" if self._clones is None or self._clones.none else "clone"

    def _putting(self, sink: ChunkSink) -> PutPage:
        def put(refs: bytes, body: bytes) -> Name:
            name = sink.page(refs, body)
            self._tools.pages[name] = (refs, body)
            return name

        return put

    # ------------------------------------------------------------------------------------------------------- a tick

    def look(self) -> bool:
        """Take in what may have changed; whether anything did. Raises NotFound when the component is gone."""
        self._unread = 0.0
        if not self._look():
            return False
        if self._clones is not None and self._state is not None:
            rest = resting(self._clones, self._state, self._seen)
            self._unread = max(rest.values(), default=0.0)
            for place in rest:
                del self._seen[place]
                self._dirty.entries.add(place)
        return bool(self._seen)

    def _look(self) -> bool:
        if self._base is not None or self._instant is None:
            self._drain()
        if self._base is None or self._state is None:
            if self._instant is None:
                self._dirty = Dirty()  # all is going to be read anew
            return False
        dirty = self._dirty
        dirty.entries |= self._seen.keys() | self._mapped
        self._late = self._batch is not None
        if self._batch is not None:
            dirty.entries |= self._batch.rows.keys()
        if dirty.inodes:
            dirty.entries |= self._state.named(dirty.inodes, set(self._base.devices.values()))
        if not dirty.entries and not dirty.subtrees:
            return False
        devices = self._base.devices
        if self._instant:
            self._instant.looked.merge(dirty)
            devices = self._instant.devices
        with self._tools.folders() as folders:
            sight = self._tools.look(folders, self._state, devices, self._failed, dirty.entries, dirty.subtrees)
        self._seen, self._dirty = sight.rows, Dirty(sight.rest, sight.rest_below)
        if sight.foreign:
            self._lost(Gap.OTHER)
            return False
        return bool(self._seen)

    def _changes(self) -> int:
        """Take in what was told; how often there was anything so far."""
        self._taken_in()
        return self._told

    def _taken_in(self) -> Dirty:
        told = self._watch.drain()
        self._told += bool(told)
        self._dirty.merge(told)
        return told

    def _drain(self) -> None:
        if self._clones is not None:
            self._clones.mind_room()
        self._changes()
        if self._dirty.lost or len(self._dirty) + len(self._seen) > PENDING:
            self._dirty = Dirty()
            self._lost(Gap.OVERFLOW)
        now = time.monotonic()
        if now - self._mapped_at >= _MAPPED_SECONDS:
            self._mapped, self._mapped_at = self._ask_mapped(), now

    def _lost(self, gap: Gap) -> None:
        if self._base is not None:
            self._base, self._gap = None, gap
        if self._clones is not None:
            self._clones.clear()
        self._seen, self._batch = {}, None

    def lose(self) -> None:
        """The log does not end where it should: begin with a new base."""
        self._lost(Gap.OTHER)

    def records(self, sink: ChunkSink, first: int, time_ns: int) -> Sequence[LogRecord]:
        """What changed, in records numbered from `first`; the chunks they refer to are in the sink."""
        state = self._state
        if self._base is None or state is None or not self._seen:
            return ()

        put = self._putting(sink)
        try:
            with self._tools.folders() as folders:
                taken = self._tools.take(folders, state, self._basis, sink, put, self._seen, whole=False)
            found = taken.order.records(first, time_ns)
        except BasisDamaged:
            self._lost(Gap.OTHER)
            return ()
        self._late = False
        self._batch, self._seen = _Batch(len(found), taken.haul, taken.order.updates(), self._seen), {}
        return found

    def landed(self, where: Durable = Durable.LOG) -> None:
        """The records that were given last are durable."""
        if where == Durable.MOVED:
            return
        batch, self._batch = self._batch, None
        if batch is None or self._state is None:
            return
        self._length += batch.count
        if self._late:  # what was seen meanwhile was held against what was known before
            self._dirty.entries |= batch.rows.keys()
        if self._clones is not None:
            keep_clones(self._clones, self._state, batch.haul.after)
        for place, known in batch.updates.items():
            self._state.set(place, known)
        for fresh in batch.haul.after.values():
            if fresh is None or not fresh.entry.is_file:
                continue
            if hashed := fresh.got.hashed:
                entry, changes = fresh.entry, fresh.got.changes
                self._tools.hashes.learn(inode_of(entry), entry.row, entry.size, hashed, changes)
            else:
                self._tools.hashes.drop(inode_of(fresh.entry))
        for place in batch.rows:
            self._failed.pop(place, None)
        self._failed.update(batch.haul.failed)
        self._dirty.entries |= batch.haul.retry

    # -------------------------------------------------------------------------------------------------- a checkpoint

    def checkpoint(self, context: CaptureContext, first: int, time_ns: int) -> Followed:
        """The component's state now; see the port."""
        self._dirty.entries |= self._failed.keys()
        self._failed = {}
        self._drain()
        if self._base is not None and self._base.checkpoint not in context.trusted:
            self._lost(Gap.OTHER)  # it may be on its way out, and what it needs with it
        with self._snapshot():
            self._look()
            self._batch = None
            return self._tried(context, first, time_ns)

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Let a snapshot stand in for the component, if there can be one. All that came before was drained."""
        began_ns, anew = self._clock(), self._base is None
        with self._snapshots.taken() if self._clones is not None else nullcontext() as root:
            if root is None:
                yield
                return
            device = os.stat(self._tools.path).st_dev
            with self._tools.standing_in(root, device, began_ns) as devices:
                self._instant = _Instant(root, device, devices, anew)
                try:
                    yield
                finally:
                    self._instant = None

    def _tried(self, context: CaptureContext, first: int, time_ns: int) -> Followed:
        try:
            return self._made(context, first, time_ns)
        except BasisDamaged:
            self._lost(Gap.OTHER)
            self._basis.discard()
            self._basis.close()
            self._basis = Basis(self._state_dir)
            return self._made(context, first, time_ns)

    def _made(self, context: CaptureContext, first: int, time_ns: int) -> Followed:
        try:
            if self._base is None or self._state is None:
                return self._scanned(context, first, time_ns)
            return self._advanced(self._base, self._state, context, first, time_ns)
        except BaseException:
            self._basis.abandon()
            raise

    def _advanced(self, base: Base, state: State, context: CaptureContext, first: int, time_ns: int) -> Followed:
        instant = self._instant

        def moved(taken: Taken) -> Rows | None:
            return {} if instant else self._moved(base, state, taken)

        made = advance(self._tools, moved, state, self._basis, base, context, self._seen, first, time_ns, self._level)
        self._late = False
        self._batch, self._seen = _Batch(len(made.records), made.taken.haul, made.updates, made.rows), {}
        self._next = made.base
        if instant:
            made.captured.instant = SNAPSHOT
            self._dirty.merge(instant.looked)  # it may have changed after the snapshot
        return Followed(made.captured, made.records)

    def _moved(self, base: Base, state: State, taken: Taken) -> Rows | None:
        """What changed since it was taken; None when nobody can say. All of it is looked at again afterwards."""
        told = self._taken_in()
        if told.lost:
            return None
        entries = told.entries | taken.haul.retry
        if told.inodes:
            entries |= state.named(told.inodes, set(base.devices.values()))
        if not entries and not told.subtrees:
            return {}
        with self._tools.folders() as folders:
            sight = self._tools.look(folders, state, base.devices, taken.haul.failed, entries, told.subtrees)
        return not_as_taken(state, taken, entries, sight)

    def _scanned(self, context: CaptureContext, first: int, time_ns: int) -> Followed:
        """All is read anew. What changes meanwhile is told by the watcher afterwards."""
        instant = self._instant if self._instant and self._instant.anew else None
        if instant is None:
            self._watch.drain()
        clock, root = (self._tools.clock, instant.root) if instant else (self._clock, None)
        self._dirty, self._seen, started_ns = Dirty(), {}, clock()
        through = self._tools.through
        scan = Scan(self._component, context, self._basis, self._limits, clock, self._beginning, root, through)
        captured = scan.run()
        devices = {instant.device: 0} if instant else scan.file_systems
        captured.instant = SNAPSHOT if instant else ""
        self._next = Base(context.checkpoint_id, started_ns, captured.totals, devices)
        changed = (problem.path for problem in captured.problems if problem.reason == CHANGED)
        self._dirty.entries |= {place_of(key_of(path)) for path in changed}
        captured.capture = self._level
        gap = LogRecord(sequence=first, time_ns=time_ns, operation=Operation.GAP, value=self._gap)
        return Followed(captured, [gap])

    def remember(self, context: CaptureContext, captured: Captured) -> None:
        """The checkpoint is committed, at the end of the log: what follows begins there."""
        if self._next is None or self._next.checkpoint != context.checkpoint_id:
            return
        base, self._next = self._next, None
        try:
            self._basis.promote(context.checkpoint_id, captured.root)
            if self._state is None or self._base is None:
                self._state = State(captured.root, self._basis.pages.get, base.started_ns)
                with self._tools.folders() as folders:
                    self._beginning.keep(folders, TreeReader(captured.root, self._basis.pages.get), base.started_ns)
            else:
                self._state.rebase(captured.root, self._basis.pages.get, base.started_ns)
        except BasisDamaged:
            self._lost(Gap.OTHER)
            return
        self._base, self._length = base, 0
        self._tools.pages.clear()

    def close(self) -> None:
        """Follow no longer."""
        self._watch.close()
        if self._clones is not None:
            self._clones.clear()
        self._beginning.close()
        self._tools.hashes.close()
        self._basis.close()
