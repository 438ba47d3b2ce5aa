"""Follows a folder by its journal (port Follower): every change becomes a record, in the order in which it was made.

Records need a log that says exactly what the tree was when the first of them was made. Until there is one, and whenever
something happens that records cannot tell, the folder is followed as by a watcher whom the journal tells the names: at
last with all writers held for a moment, so that the log says exactly what is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from knowngood.core.log import Gap, LogRecord, Operation
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import CaptureContext, Captured, ChunkSink, Durable, Followed, Standing
from knowngood.core.sizes import MIB
from knowngood.kinds.files.capture.remembered import BasisDamaged
from knowngood.kinds.files.follow.informed import InformedFollower
from knowngood.kinds.files.journal.backlog import Backlog
from knowngood.kinds.files.journal.belonging import Belonging
from knowngood.kinds.files.journal.below import Below
from knowngood.kinds.files.journal.bypass import past_the_mount
from knowngood.kinds.files.journal.holder import JournalHolder
from knowngood.kinds.files.journal.kept import Cursor, Kept
from knowngood.kinds.files.journal.line import ServerGone
from knowngood.kinds.files.journal.reading import JournalReader
from knowngood.kinds.files.journal.tracking import Tracker
from knowngood.kinds.files.journal.writing import FOLDER, file_numbers
from knowngood.kinds.files.limits import Limits
from knowngood.kinds.files.watch.dirty import Dirty
from knowngood.kinds.files.watch.feed import WatchTraits

_FEW_BYTES = 256 * MIB  # so much can be read meanwhile
_FEW = 5000  # and so many names


@dataclass(slots=True)
class _Given:
    """What was given last, and waits to be landed."""

    entry: int  # how far the journal was read for it
    log: int  # the number of the record after it
    count: int = 0  # of the entries among it
    exact: bool = False  # the log says then exactly what the tree was at that entry
    loose: bool = False  # and what comes then does not follow from it


class _JournalWatch:
    """The journal as a watcher (port Watch)."""

    def __init__(self) -> None:
        self.backlog: Backlog | None = None

    @property
    def traits(self) -> WatchTraits:
        """Everything that comes through the mount."""
        return WatchTraits("journal", other_names=True)

    def fileno(self) -> int:
        """None: it is asked in time."""
        return -1

    def drain(self) -> Dirty:
        """The names of what changed and does not follow from the log."""
        assert self.backlog is not None
        found, self.backlog.dirty = self.backlog.dirty, Dirty()
        return found

    def close(self) -> None:
        """Nothing is to be done."""


class JournalFollower:
    """One component that is journalled. Holds its basis: nobody else captures it meanwhile."""

    def __init__(
        self, component: ComponentSpec, path: bytes, state_dir: str, limits: Limits, clock: Callable[[], int]
    ) -> None:
        """Finds the server, or starts one. Raises Unsupported, Busy, KnowngoodError."""
        self._component, self._path = component, path
        self._folder = os.path.join(state_dir, "journal")
        self._below = below = Below(component, path, state_dir)
        self._holder = JournalHolder(below)
        self._watch = _JournalWatch()
        try:
            self._inner = InformedFollower(
                component, path, state_dir, self._watch, set, limits, clock, through=below.through
            )
        except BaseException:
            below.close()
            raise
        self._kept = Kept(self._folder)
        self._entry, self._log = -1, -1  # the log ends here, and says exactly what the tree was at that entry
        self._checked = False  # whether the log ends where it did when that was kept
        self._taking_over = False  # whether what an earlier keeper knew is to be known again
        self._given: _Given | None = None
        self._past = past_the_mount(path, self._below.root)
        self._open_backlog(None)

    @property
    def standing(self) -> Standing:
        """How well it follows."""
        inner = self._inner.standing
        if self._backlog.follows and inner.based:
            holder = None if self._taking_over else self._holder
            past = self._past if self._below.mounted else "it was unmounted: what is written now is not journalled"
            return Standing("journal", past, based=True, holder=holder, unheld=True, ahead=self._ahead)
        reason = self._backlog.reason or "it begins to follow"
        return Standing("watch", f"not every write yet: {reason}", inner.based and not self._backlog.dirty.lost)

    # ------------------------------------------------------------------------------------------------------- a tick

    def look(self) -> bool:
        """Take in what changed; whether anything did. Raises NotFound when the component is gone."""
        self._call()
        self._backlog.pull()
        if self._backlog.waiting or not self._checked:
            return True
        if self._backlog.follows:
            return self._taking_over or self._backlog.next != self._entry
        self._discard(self._backlog.next)  # names are all that is wanted of them
        self._inner.look()
        return self._inner.standing.based  # until the log says exactly what is there

    def records(self, sink: ChunkSink, first: int, time_ns: int) -> Sequence[LogRecord]:
        """What changed, in records numbered from `first`; the chunks they refer to are in the sink."""
        self._check(first)
        backlog = self._backlog
        if self._taking_over:
            self._take_over(sink)
        if backlog.waiting or backlog.follows:
            self._kept.touch(backlog.places())
            found = backlog.records(first)
            entry = backlog.next if backlog.follows else backlog.waiting[-1][0]
            self._promise(_Given(entry, first + len(found), len(found), exact=True))
            return found
        if not self._inner.standing.based:
            return ()
        if not self._inner.few(_FEW, _FEW_BYTES):
            self._inner.parts.begin()
            found = self._inner.records(sink, first, time_ns)
            self._promise(_Given(backlog.next, first + len(found)))
            return found
        return self._catch_up(sink, first, time_ns)

    def _catch_up(self, sink: ChunkSink, first: int, time_ns: int) -> Sequence[LogRecord]:
        """What is there is read with all writers held: the log says then exactly what is there."""
        with self._below.held(self._backlog.pull_to) as hold:
            self._inner.look()
            self._inner.parts.begin()
            found = self._inner.records(sink, first, time_ns)
            exact = self._inner.standing.based and self._inner.complete
        self._promise(_Given(hold.entry, first + len(found), exact=exact and hold.kept))
        return found

    def landed(self, where: Durable = Durable.LOG) -> None:
        """The records that were given last are durable, in the log or waiting for it: then the journal may forget."""
        if where == Durable.MOVED:
            return
        given, self._given = self._given, None
        backlog = self._backlog
        read = [known.entry.inode for known in self._inner.updates.values() if known]
        self._inner.landed()
        if given is None:
            return
        if backlog.next == given.entry or not backlog.follows:
            self._inner.parts.done(read)
        elif read:  # it was said late: what was read is not what is known by now
            self._inner.lose()
            backlog.stop("nobody knew for a while whether a point had been made")
        backlog.landed(given.count)
        state = self._inner.state
        if given.loose:
            backlog.stop(backlog.reason)
        elif given.exact and not backlog.follows and not backlog.waiting and backlog.next == given.entry and state:
            backlog.begin(Tracker(state))
        self._entry, self._log = (given.entry, given.log) if given.exact else (-1, -1)
        self._discard(given.entry)

    def _discard(self, entry: int) -> None:
        """Entries before this one are not needed any more."""
        with suppress(ServerGone, OSError):
            if self._reader.discard(entry):
                self._below.ask("landed")

    # -------------------------------------------------------------------------------------------------- a checkpoint

    def checkpoint(self, context: CaptureContext, first: int, time_ns: int) -> Followed:
        """The component's state now; see the port."""
        self._call()
        if not self._below.is_held:
            self._past = past_the_mount(self._path, self._below.root)
        self._check(first)
        backlog, inner = self._backlog, self._inner
        if self._taking_over:
            self._take_over(context.sink)
        self._pull()
        if inner.base is None or inner.base.checkpoint not in context.trusted:
            return self._loosely(context, first, time_ns)
        if backlog.follows:
            if not self._below.is_held:
                self._ahead(context.sink)
        else:
            inner.look()
            if not inner.few(_FEW, _FEW_BYTES):
                return self._loosely(context, first, time_ns)
        with self._below.held(self._backlog.pull_to) as hold:
            followed = self._loosely(context, first, time_ns)
            exact = self._is_exact(followed)
        given = self._given
        assert given is not None
        self._kept.touch(backlog.places())
        exact = exact and hold.kept
        records = list(followed.records)
        if backlog.follows and exact:
            del records[given.count :]  # they say again what the journal has said
            self._promise(_Given(hold.entry, first + len(records), given.count, exact=True))
        elif backlog.follows:
            del records[given.count :]
            records.append(_gap(first + len(records), time_ns))
            self._promise(_Given(hold.entry, first + len(records), given.count, loose=True))
        else:
            self._promise(_Given(hold.entry, first + len(records), given.count, exact=exact))
        captured = replace(followed.captured, capture="journal") if exact else followed.captured
        return Followed(captured, records)

    def _pull(self) -> None:
        """Read what the journal has now; who writes faster than it is read would be followed for ever."""
        try:
            self._backlog.pull_to(int(str(self._below.ask("state")["next"])))
        except ServerGone:  # then nothing is added
            while self._backlog.pull():
                pass

    def _ahead(self, sink: ChunkSink) -> None:
        """Read what the journal has told so far, and then what came meanwhile: little is left for who holds writers."""
        for _ in range(2):
            self._pull()
            self._inner.prepare(sink)

    def _loosely(self, context: CaptureContext, first: int, time_ns: int) -> Followed:
        """All that the journal tells, then what is read beyond it."""
        found = self._backlog.records(first)
        self._inner.parts.begin()
        followed = self._inner.checkpoint(context, first + len(found), time_ns)
        records = [*found, *followed.records]
        self._promise(_Given(self._backlog.next, first + len(records), len(found), loose=True))
        return Followed(followed.captured, records)

    def _is_exact(self, followed: Followed) -> bool:
        """Whether what was read is what the journal told, if it told everything."""
        inner, state = self._inner, self._inner.state
        if not inner.complete or state is None or followed.captured.problem_count:
            return False
        if not self._backlog.follows:
            return True
        if any(each.operation == Operation.GAP for each in followed.records):
            return False
        for place, known in inner.updates.items():
            told = state.row(place)
            if (known.entry.row if known else None) != (told[0] if told else None):
                self._backlog.reason = "something was changed underneath the mount"
                return False
        return True

    def remember(self, context: CaptureContext, captured: Captured) -> None:
        """The checkpoint is committed, at the end of the log: what follows begins there."""
        scanned = self._inner.base is None
        self._inner.remember(context, captured)
        if scanned:
            self._inner.parts.done_all()
        base, state = self._inner.base, self._inner.state
        if base is not None and state is not None and base.checkpoint == context.checkpoint_id:
            self._kept.rebase(base, state.root)

    def lose(self) -> None:
        """The log does not end where it should: begin with a new base."""
        self._inner.lose()
        self._backlog.waiting.clear()
        self._backlog.stop("the log does not end where it should")
        self._checked, self._taking_over = True, False
        self._given = None

    def close(self) -> None:
        """Follow no longer: it is unmounted, unless somebody is using it. Then the server goes on by itself, and who
        follows next takes over from it."""
        self._below.end()
        self._inner.close()
        self._reader.close()
        self._kept.close()
        self._below.close()

    # ------------------------------------------------------------------------------------------- how far the log came

    def _check(self, first: int) -> None:
        """Another keeper may have been at work before: where the log ends says how far it came."""
        if self._checked:
            return
        self._checked = True
        entry = self._kept.cursor.at(first)
        if entry is None:
            return
        self._reader.close()
        self._open_backlog(entry)
        self._entry, self._log = entry, first
        self._backlog.begin(None)
        self._backlog.pull()
        kept = self._kept.base()
        if kept is not None and self._backlog.follows:
            with suppress(BasisDamaged):
                self._inner.parts.forget()
                self._inner.resume(*kept, Dirty(self._kept.touched()))
                self._taking_over = True

    def _take_over(self, sink: ChunkSink) -> None:
        """Know what the keeper before this one knew: what was changed since the base is read with all writers held,
        once all that they did waits for the log. Where that cannot be, there is a gap."""
        self._taking_over = False
        backlog, inner = self._backlog, self._inner
        with self._below.held(self._backlog.pull_to) as hold:
            backlog.dirty.entries |= backlog.places()
            inner.look()
            done = backlog.follows and inner.few(_FEW, _FEW_BYTES)
            if done:
                inner.records(sink, 0, 0)
                done = inner.complete
        if not (done and hold.kept):
            inner.lose()
            return
        inner.landed()
        state = inner.state
        if state is not None:
            backlog.begin(Tracker(state))

    def _promise(self, given: _Given) -> None:
        """What will be so when the records are in the log; kept before they are."""
        self._given = given
        if given.exact and not self._backlog.follows:
            state = self._inner.state
            self._kept.touch(place for place, _ in (state.changed() if state else ()))
            self._kept.touch(self._inner.updates)
        if given.exact:
            kept = Cursor(exact=True, entry=self._entry, log=self._log, giving=given.entry, giving_log=given.log)
            self._kept.promise(kept)
        else:
            self._kept.promise(Cursor())

    def _open_backlog(self, entry: int | None) -> None:
        entries = os.path.join(self._folder, FOLDER)
        first = min(file_numbers(entries), default=0) if entry is None else entry
        self._reader = JournalReader(entries, first)
        self._backlog = self._watch.backlog = Backlog(
            self._reader, Belonging(self._component.exclude), self._inner.parts
        )

    def _call(self) -> None:
        """See that the server is there, and journals."""
        if self._below.is_lost() and not self._backlog.waiting:
            with suppress(ServerGone):
                self._below.ask("resume")


def _gap(sequence: int, time_ns: int) -> LogRecord:
    return LogRecord(sequence=sequence, time_ns=time_ns, operation=Operation.GAP, value=Gap.OTHER)
