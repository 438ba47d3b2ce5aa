"""PostgreSQL as a feed: a base over the replication protocol, and the log behind it as its own segment files.

Segment files have their full size from the beginning: a server that recovers reads them to the last record that came.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from io import BytesIO

from knowngood.core.errors import KnowngoodError
from knowngood.core.instants import now_ns
from knowngood.core.ports import ChunkSink, Holder
from knowngood.core.progress import Progress
from knowngood.databases.facts import FOLDER, add_facts
from knowngood.databases.feed import Away, Beyond, ChainBroken, Taken
from knowngood.databases.image import Image
from knowngood.databases.steps import Step
from knowngood.kinds.postgres import layout
from knowngood.kinds.postgres.address import Address
from knowngood.kinds.postgres.base import Base, take_base
from knowngood.kinds.postgres.holder import PostgresHolder, let_go, may_hold
from knowngood.kinds.postgres.link import Link
from knowngood.kinds.postgres.place import Position, decoded, identify
from knowngood.kinds.postgres.refusal import Refused
from knowngood.kinds.postgres.slot import Guard, Slot
from knowngood.kinds.postgres.stream import Stream, TimelineEnded, gone
from knowngood.kinds.postgres.switch import history_file, leads_on, switched
from knowngood.kinds.postgres.synchronous import Synchronous
from knowngood.kinds.postgres.watchdog import Watchdog
from knowngood.wire.pglog import PAGE, History, branches, lsn_text, parse_lsn

_MARK_SECONDS = 5.0
_PIECE_SECONDS = 60.0  # until the next piece of what is there has come


class PostgresFeed:
    """A server as a standby sees it."""

    def __init__(
        self, address: Address, name: str, slot_limit: int, *, synchronous: bool = False, is_spare: bool = False
    ) -> None:
        """`name` is that of our slot, and of our sessions. It keeps `slot_limit` bytes of log at most. A spare one has
        a name of its own: by its name the server knows whom commits wait for."""
        self._address = address
        self._name = name
        self._slot = Slot(address, name)
        self._slot_limit = slot_limit
        self._guard: Guard | None = None  # from the first committed checkpoint on
        self._stream: Stream | None = None
        self._is_temporary = False  # whether what streams has a slot of its own, which keeps the log since the base
        self._at = Position(0, 0, PAGE, 0)  # as far as it was taken
        self._durable = 0  # as far as it has landed
        self._limit: int | None = None  # a mark: the next take ends there
        self._goal = 0  # what the server had written when it was asked
        self._watchdog = Watchdog(address)
        self._holder = PostgresHolder(address, self._watchdog, self._set_limit, self._withhold)
        self._wants_synchronous = synchronous
        self._synchronous: Synchronous | None = None  # from the first committed checkpoint on
        self._is_new = True
        self._is_spare = is_spare
        self._note = ""  # why commits cannot be held
        self._switched: list[Step] = []  # what another timeline began with, and was not taken yet

    @property
    def holder(self) -> Holder | None:
        """Commits wait."""
        return None if self._note else self._holder

    # ------------------------------------------------------------------------------------------------- base and stream

    def base(self, image: Image, sink: ChunkSink, progress: Progress) -> bytes:
        """Every file of the server, and the log that makes them consistent."""
        self._end()
        self._limit, self._durable, self._switched = None, 0, []
        self._prepare()
        progress.enter(f"waiting for a base of PostgreSQL at {self._address.text}")
        link = Link(self._address, self._name, replication=True)
        try:
            history, _ = identify(link)
            temporary = f"{self._name}_{secrets.token_hex(4)}"
            link.ask(f'CREATE_REPLICATION_SLOT "{temporary}" TEMPORARY PHYSICAL (RESERVE_WAL true)')
            found = take_base(link, image, sink, progress)
            written = self._add_ours(image, sink, found)
            start = history.floor(found.start)
            self._at = Position(history.system, history.timeline, history.segment, start)
            self._stream = Stream(link, history, start, temporary)
        except BaseException:
            link.close()
            raise
        self._is_temporary = True
        progress.enter("reading the log that belongs to the base")
        self._goal = max(found.end, written)
        while self._at.lsn < self._goal:
            image.apply(self.take().steps)
        return self._at.encoded()

    def _prepare(self) -> None:
        """Take back what a process that was killed has left; see whether commits can be held."""
        if self._is_spare:
            return
        with closing(Link(self._address, self._name)) as link:
            self._note = may_hold(link)
            if not self._note:
                let_go(link, self._name if self._is_new else "")
        self._is_new = False

    def _add_ours(self, image: Image, sink: ChunkSink, base: Base) -> int:
        """What makes a folder start by itself: see layout.py. Where the log is now."""
        with closing(Link(self._address, self._name)) as link:
            told = [(name or "", value or "") for name, value in link.ask(layout.SETTINGS_QUERY)]
            settings = layout.settings_text(told, link.value("select rolname from pg_roles where oid = 10")).encode()
            written = parse_lsn(link.value("select pg_current_wal_flush_lsn()"))
            # empty for those who may not see it
            folder = link.value("select coalesce(max(setting), '') from pg_settings where name = 'data_directory'")
            readme = layout.README_TEXT.format(version=link.version).encode()
        ours = {
            layout.AUTO_CONF: base.auto_conf + layout.AUTO.encode(),
            layout.SIGNAL: b"",
            layout.SETTINGS: settings,
            layout.README: readme,
        }
        missing = {layout.CONF: settings, layout.HBA: layout.HBA_TEXT.encode(), layout.IDENT: b""}
        ours.update({path: data for path, data in missing.items() if path not in base.paths})
        for path, data in ours.items():
            image.add(sink, path, BytesIO(data).read, now_ns())
        add_facts(image, sink, {FOLDER: folder})
        return written

    def resume(self, position: bytes) -> bool:
        """Ask for the bytes behind a position."""
        self._at, self._switched = decoded(position), []
        self._durable = self._at.lsn
        return self._go_on()

    def _go_on(self) -> bool:
        """Stream from where it was taken to."""
        self._end()
        self._prepare()
        link = Link(self._address, self._name, replication=True)
        try:
            history, self._goal = identify(link)
            if history != self._at.history and not self._leads_on(link, history):
                link.close()
                return False
            self._stream = Stream(link, self._at.history, self._at.lsn)
        except TimelineEnded as ended:
            link.close()
            return self._switch(ended.timeline)
        except Refused as wrong:
            link.close()
            if gone(wrong):
                return False
            raise
        except BaseException:
            link.close()
            raise
        self._stream.landed(self._durable)
        return True

    def _leads_on(self, link: Link, history: History) -> bool:
        """Whether a server that was promoted goes on from where we are."""
        same = (history.system, history.segment) == (self._at.system, self._at.segment)
        return same and history.timeline > self._at.timeline and leads_on(link, self._at, history.timeline)

    def _switch(self, timeline: int) -> bool:
        """Go over to another timeline, at the end of the one before it. What that brings is taken next."""
        link = Link(self._address, self._name, replication=True)
        try:
            told = history_file(link, timeline)
            if branches(told[1]).get(self._at.timeline) != self._at.lsn:
                link.close()
                return False
            history = History(self._at.system, timeline, self._at.segment)
            start = history.floor(self._at.lsn)
            stream = Stream(link, history, start)
        except BaseException:
            link.close()
            raise
        if not stream.inbox.wait(self._at.lsn - start, _PIECE_SECONDS):
            stream.close()
            raise Away(f"PostgreSQL at {self._address.text} does not send the beginning of its timeline {timeline}")
        self._stream = stream
        self._switched = [*switched(self._at, self._taken(stream), told)]
        stream.landed(self._durable)
        return True

    # ------------------------------------------------------------------------------------------------------- taking

    def reach(self, position: bytes) -> Taken:
        """The bytes up to a place."""
        wanted = decoded(position)
        limit = wanted.lsn
        if self._at.lsn > limit or wanted.history != self._at.history:
            raise Beyond(f"the log was read beyond {lsn_text(limit)} already")
        self._limit = limit
        return self.take()

    def take(self) -> Taken:
        """The bytes that came."""
        stream = self._stream or self._reconnected()
        missing = None
        if self._limit is not None:
            missing, self._limit = self._limit - self._at.lsn, None
            if not stream.inbox.wait(missing, _MARK_SECONDS):
                raise Away(f"PostgreSQL at {self._address.text} does not send what it has written")
        elif self._at.lsn < self._goal:
            stream.inbox.wait(1, _PIECE_SECONDS)
        try:
            data = self._taken(stream, missing)
        except ChainBroken:
            self._end()
            raise
        except KnowngoodError:
            self._end()
            self._reconnected()
            data = b""
        steps, self._switched = [*self._switched, *self._at.advance(data)], []
        waits = self._synchronous.note if self._synchronous else ""
        note = waits or (self._guard.note if self._guard else "") or self._note
        more = self._at.lsn < self._goal
        return Taken(steps, self._at.encoded(), note=note, more=more, unsafe=self._unsafe)

    @property
    def _unsafe(self) -> str | None:
        """Why commits that are to wait for the vault do not."""
        if self._synchronous is not None:
            return self._synchronous.unsafe
        return (self._note or None) if self._wants_synchronous else None

    @staticmethod
    def _taken(stream: Stream, most: int | None = None) -> bytes:
        data = stream.inbox.take(most)
        stream.wake()
        return data

    def _reconnected(self) -> Stream:
        if not self._go_on():
            raise ChainBroken(
                f"PostgreSQL at {self._address.text} does not go on at {lsn_text(self._at.lsn)}: it has removed that "
                "part of its log, or another server is in its place"
            )
        assert self._stream is not None
        return self._stream

    def _withhold(self, seconds: float, standby: str) -> bool:
        """Whether commits wait for us, who say nothing for so long."""
        stream = self._stream
        if stream is None or standby != self._name:
            return False
        stream.withhold(seconds)
        return True

    def _set_limit(self, lsn: int) -> None:
        self._limit = lsn

    def landed(self, position: bytes) -> None:
        """What synchronous commits wait for."""
        self._durable = decoded(position).lsn
        if self._stream is not None:
            self._stream.landed(self._durable)

    def kept(self, position: bytes) -> None:
        """The slot moves on."""
        if self._guard is None:
            self._guard = Guard(self._slot, self._slot_limit)
        self._slot.keep(decoded(position).lsn)
        self._guard.note = ""
        if self._is_temporary:  # nobody would guard that one
            self._reconnected()
        if self._wants_synchronous and self._synchronous is None and not self._note:
            self._synchronous = Synchronous(self._address, self._name, lambda: self._stream)

    def fileno(self) -> int:
        """Can be read when bytes came."""
        return self._stream.inbox.fileno() if self._stream else -1

    def close(self) -> None:
        """The server sees a standby go. The slot stays."""
        if self._synchronous is not None:
            self._synchronous.close()
        self._end()
        if self._guard is not None:
            self._guard.close()
        self._holder.close()
        self._watchdog.close()

    def _end(self) -> None:
        stream, self._stream, self._is_temporary = self._stream, None, False
        if stream is not None:
            stream.close()
