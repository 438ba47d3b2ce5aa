"""Writes the log of one timeline: records become frames, frames segments, and a commit makes segments visible.

What a commit costs: one segment and one commit object. No private key takes part, and none of what was written can be
read back here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from knowngood.core.errors import Busy, Damaged, NotFound, Unsupported
from knowngood.core.ids import Name
from knowngood.core.log import NO_FRAME, Form, LogRecord
from knowngood.core.model import Position
from knowngood.core.sizes import MIB
from knowngood.vault.catalog import Catalog
from knowngood.vault.log_frames import LogFramer
from knowngood.vault.record import PlainSegment
from knowngood.vault.segment import LogSealer
from knowngood.vault.session import Session
from knowngood.vault.vault import Vault

SEGMENT_BYTES = 8 * MIB


class LogWriter:
    """Continues one timeline's log within a session that was opened for it, in the thread of its catalog.

    Memory: the records of one segment (8 MiB, and one record more), twice while it is landed. After any error it
    refuses to go on: a new writer, in a new session, knows from the vault what has become durable.
    """

    def __init__(
        self,
        vault: Vault,
        session: Session,
        catalog: Catalog,
        timeline: bytes,
        *,
        anew: bool = False,
        first: int = 0,
        sealer: LogSealer | None = None,
    ) -> None:
        """Read where the log ends. With `anew`, a new chain begins there, or at number `first` if that is later.

        Whoever writes often hands over the same `sealer` each time: then one content key serves many commits.

        Raises Unsupported for a vault that was made before there were logs; Damaged, unless `anew`, when the end of
        the log cannot be told.
        """
        vault.require_logs()
        if timeline not in session.timelines:
            raise Unsupported("a log is continued in a session that was opened for its timeline only")
        self._vault, self._session, self._catalog, self._timeline = vault, session, catalog, timeline
        catalog.follow(vault.store, None, vault.id, settled=True)
        if catalog.damaged() and not anew:
            raise Damaged(
                "a commit is damaged, so nobody knows where this log ends",
                hint="see: knowngood vault check; then begin a new chain, with a new checkpoint",
            )
        newest = catalog.log.newest(timeline)
        end, last = (newest.end, newest.last) if newest else (0, NO_FRAME)
        self._expected = last  # the last frame that is visible
        if anew:
            end, last = max(end, first), NO_FRAME
        self._sealer = sealer or LogSealer(vault.writer.public, vault.id, vault.writer.namer)
        self._sealer.drop()  # what an earlier writer may have left
        self._framer = LogFramer(self._sealer, timeline, Position(end, last))
        self._landed: list[PlainSegment] = []
        self._failed = False

    @property
    def next_sequence(self) -> int:
        """The number that the next record has to have."""
        return self._framer.end

    @property
    def position(self) -> Position:
        """Where the next frame begins."""
        return Position(self._framer.end, self._framer.last)

    def append(self, records: Iterable[LogRecord]) -> None:
        """Take the next records; they are not durable yet. Chunks that they refer to must be (`ChunkSink.flush`).

        Raises Unsupported for a record that is none or is out of order, NotFound for a chunk that is not in the vault:
        that record and those after it are then not taken.
        """
        self._ensure_sound()
        for record in records:
            if record.form == Form.CHUNK and not self._session.index.known(Name(record.data)):
                raise NotFound("a log record refers to a chunk that is not durable in the vault yet")
            self._framer.add(record)
            if self._framer.full:
                self._guarded(self._end_frame)

    def commit(self) -> Position:
        """Make all that was appended durable and visible, at once; return the position after it.

        Raises Fenced when this session was ended, Busy when another writer has continued the log; what the store
        raises. Whatever was raised, the records may have become visible after all, all of them or none.
        """
        self._ensure_sound()
        self._guarded(self._commit)
        return self.position

    def _ensure_sound(self) -> None:
        if self._failed:
            raise Unsupported("this writer has failed before", hint="go on in a new session, from the end of the log")

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except BaseException:
            self._failed = True
            raise

    def _end_frame(self) -> None:
        self._framer.end_frame()
        if self._framer.bytes >= SEGMENT_BYTES:
            self._land()

    def _land(self) -> None:
        part = self._framer.take()
        if part is None:
            return
        pack = self._sealer.segment()
        self._session.land(pack)
        self._landed.append(replace(part, pack=pack.name))

    def _commit(self) -> None:
        self._end_frame()
        self._land()
        if not self._landed:
            return
        self._session.require_announced()
        newest = self._catalog.log.newest(self._timeline)
        if (newest.last if newest else NO_FRAME) != self._expected:
            raise Busy("another writer has continued this log", hint="end one of the two")
        self._vault.commit_records(self._session, self._catalog, tuple(self._landed))
        self._expected = self._landed[-1].last
        self._landed.clear()
