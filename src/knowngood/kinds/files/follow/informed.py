"""A follower that is told of every write in time, as by a journal: it can read ahead, and go on from a base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from msgspec import structs

from knowngood.core.ids import Name
from knowngood.core.ports import ChunkSink
from knowngood.kinds.files.follow.advance import Base, not_there
from knowngood.kinds.files.follow.dirtied import Parts
from knowngood.kinds.files.follow.feed import Place
from knowngood.kinds.files.follow.follower import FilesFollower
from knowngood.kinds.files.follow.known import Known, State
from knowngood.kinds.files.watch import Dirty
from knowngood.tree.block import NO_EXTRA, ROW, Entry


class InformedFollower(FilesFollower):
    """Used by who knows of every change."""

    @property
    def state(self) -> State | None:
        """What is known: the state at the end of the log, once there is a base."""
        return self._state if self._base is not None else None

    @property
    def base(self) -> Base | None:
        """The checkpoint on which the log goes on."""
        return self._base

    def resume(self, base: Base, root: Name, dirty: Dirty) -> None:
        """Go on from a base that was remembered; this is all that may have changed since. Raises BasisDamaged."""
        self._state = State(root, self._basis.pages.get, base.started_ns)
        self._base, self._dirty = base, dirty

    @property
    def complete(self) -> bool:
        """Whether everything that had changed is in what was given last, or was landed."""
        left = self._dirty or self._seen or self._failed
        return not left and (self._batch is None or not (self._batch.haul.retry or self._batch.haul.failed))

    @property
    def updates(self) -> Mapping[Place, Known | None]:
        """What will be known when that is landed which was given last."""
        return self._batch.updates if self._batch is not None else {}

    @property
    def parts(self) -> Parts:
        """To be told of every write. From the first call on, large files are read where they were written to."""
        if self._tools.parts is None:
            self._tools.parts = Parts()
        return self._tools.parts

    def prepare(self, sink: ChunkSink) -> None:
        """Read now what the next checkpoint would have to read, though it may change: who tells every write makes
        known afterwards what did."""
        state = self._state
        if self._base is None or state is None:
            return
        self.parts.begin()
        with self._tools.folders() as folders:
            rows = dict(not_there(state, sink))
            taken = self._tools.take(folders, state, self._basis, sink, self._putting(sink), rows, whole=True)
        read: list[int] = []
        for place, fresh in taken.after.items():
            known = state.find(place)
            if fresh and known and fresh.entry.is_file and fresh.entry.inode == known.entry.inode:
                state.set(place, _with_content(known, fresh.entry))
                read.append(fresh.entry.inode)
        self.parts.done(read)

    def few(self, names: int, size: int) -> bool:
        """Whether at most so many names wait to be read, of so many bytes in all."""
        waiting = len(self._dirty) + len(self._seen)
        return waiting <= names and sum(ROW.unpack(row)[4] for row in self._seen.values() if row) <= size


def _with_content(known: Known, read: Entry) -> Known:
    """What is known of a file, with the content that was read of it."""
    extra = structs.replace(known.entry.extra, lengths=read.extra.lengths, extents=read.extra.extents)
    extra = NO_EXTRA if extra == NO_EXTRA else extra
    entry = replace(known.entry, content=read.content, refs=read.refs, inline=read.inline, extra=extra)
    return Known(entry, known.read_ns, exact=read.size == entry.size)
