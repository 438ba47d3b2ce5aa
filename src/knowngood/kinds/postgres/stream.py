"""The stream: a thread takes in the log as the server writes it, sees that it is whole, and tells how far we are."""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
import time

from psycopg import pq
from psycopg.errors import Error

from knowngood.core.errors import Damaged, KnowngoodError
from knowngood.core.instants import now_ns
from knowngood.databases.feed import Away, ChainBroken
from knowngood.databases.inbox import Inbox
from knowngood.kinds.postgres.link import SECONDS, Link, one_row, rows_of
from knowngood.kinds.postgres.refusal import Refused
from knowngood.wire.pglog import Chain, History, lsn_text
from knowngood.wire.walsender import LogData, parse, status

_STATUS_SECONDS = 5.0  # the server gives up who is silent for a minute (wal_sender_timeout)
_HELD_SECONDS = 0.05
_FULL_SECONDS = 0.05
_SILENT_SECONDS = 75.0  # it says that it is there after half a minute


class TimelineEnded(KnowngoodError):
    """All of a timeline has come; the server goes on with another one."""

    code = "timeline-ended"

    def __init__(self, timeline: int) -> None:
        super().__init__(f"the server goes on with timeline {timeline}")
        self.timeline = timeline


class Stream:
    """The log from some place on. Everything that libpq does on the connection is done by one thread at a time."""

    def __init__(self, link: Link, history: History, at: int, slot: str = "") -> None:
        """Begin. Raises Refused when the server does not have that place any more, Away, TimelineEnded."""
        self.inbox = Inbox()
        self._link = link
        self._chain = Chain(history, at)
        self._durable = 0
        self._told = 0
        self._behind_since: float | None = None  # when something came that is not durable yet
        self._withheld: tuple[int, float] | None = None  # what is told as durable, and until when
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._over = False
        try:
            of_slot = f'SLOT "{slot}" ' if slot else ""
            link.send(f"START_REPLICATION {of_slot}PHYSICAL {lsn_text(at)} TIMELINE {history.timeline}")
            self._begin()
        except BaseException:
            self.inbox.close()
            os.close(self._wake)
            raise
        self._thread = threading.Thread(target=self._run, name="postgres", daemon=True)
        self._thread.start()

    def _begin(self) -> None:
        """Ask for a sign of life: it comes after the first bytes, or instead of them the news that they are gone."""
        result = self._link.result(SECONDS)
        if result is not None and result.nfields and result.status == pq.ExecStatus.TUPLES_OK:
            raise _next_of(result)
        if result is None or result.status != pq.ExecStatus.COPY_BOTH:
            raise Away("PostgreSQL does not begin to stream")
        self._tell(answer=True)
        message = self._link.copied(SECONDS)
        if message is None:
            self._ended()
        else:
            self._take_in(message)

    def landed(self, lsn: int) -> None:
        """All up to here is durable; the server is told at once."""
        self._durable = lsn
        self._behind_since = None if lsn >= self._chain.at else time.monotonic()
        self.wake()

    @property
    def late(self) -> float:
        """For how many seconds something has waited to become durable; infinite when the stream has ended."""
        if not self._thread.is_alive():
            return math.inf
        since = self._behind_since
        return 0.0 if since is None else time.monotonic() - since

    def withhold(self, seconds: float) -> None:
        """Tell nothing more of what is durable, for so long at most; 0: tell it again."""
        self._withheld = (self._told, time.monotonic() + seconds) if seconds else None
        self.wake()

    def wake(self) -> None:
        """There may be room in the inbox, or something to tell."""
        with contextlib.suppress(OSError):  # it has ended
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """End it."""
        self._over = True
        self.wake()
        self.inbox.close()
        self._thread.join()
        os.close(self._wake)
        self._link.close()

    # ---------------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        try:
            self._follow()
        except KnowngoodError as wrong:
            self.inbox.fail(wrong)
        except Error as wrong:
            self.inbox.fail(Away(f"PostgreSQL has gone: {str(wrong).strip()}"))

    def _follow(self) -> None:
        conn, due, heard = self._link.conn, 0.0, time.monotonic()
        while not self._over:
            now = time.monotonic()
            if now >= due or self._tellable() != self._told:
                self._tell()
                due = now + (_HELD_SECONDS if self._withheld else _STATUS_SECONDS)
            room = not self.inbox.is_full
            files = [self._wake, conn.socket] if room else [self._wake]
            ready = select.select(files, [], [], max(0.0, due - now) if room else _FULL_SECONDS)[0]
            if self._wake in ready:
                os.eventfd_read(self._wake)
            if conn.socket in ready:
                conn.consume_input()
                heard = time.monotonic()
            if room:
                self._take()
            if time.monotonic() - heard > _SILENT_SECONDS and room:
                raise Away("PostgreSQL says nothing any more")

    def _take(self) -> None:
        """Take in whole messages, as far as there is room."""
        while not self.inbox.is_full:
            count, data = self._link.conn.get_copy_data(1)
            if count == 0:
                return
            if count < 0:
                self._ended()
            self._take_in(bytes(data))

    def _take_in(self, message: bytes) -> None:
        said = parse(message)
        if isinstance(said, LogData):
            if said.start != self._chain.at:
                raise ChainBroken(f"the log does not go on at {lsn_text(self._chain.at)}: {lsn_text(said.start)} came")
            try:
                self._chain.feed(said.data)
            except Damaged as wrong:
                raise ChainBroken(wrong.message) from None
            self.inbox.put(said.data)
            self._behind_since = self._behind_since or time.monotonic()
        elif said.answer:
            self._tell_received()

    def _ended(self) -> None:
        """The server ends the stream: it goes away, or has said why."""
        with contextlib.suppress(Error):  # the way back of the copy has to be ended as well
            self._link.conn.put_copy_end()
            self._link.conn.flush()
        result = self._link.result(SECONDS)
        while result is not None and not result.nfields:  # what only says that the copy is done
            result = self._link.result(SECONDS)
        if result is not None:
            raise _next_of(result)
        raise Away("PostgreSQL has ended the stream")

    def _tell(self, *, answer: bool = False) -> None:
        """Only what is durable counts as written, too: a commit may wait for either."""
        self._told = self._tellable()
        self._say(status(self._told, self._told, now_ns(), answer=answer))

    def _tellable(self) -> int:
        held = self._withheld
        return self._durable if held is None or time.monotonic() >= held[1] else min(held[0], self._durable)

    def _tell_received(self) -> None:
        """A server that asks is about to end: it waits until everything has been received. With no word of what is
        durable it does not wait for that, and acknowledges no commit because of it."""
        self._say(status(self._chain.at, 0, now_ns()))

    def _say(self, message: bytes) -> None:
        self._link.conn.put_copy_data(message)
        self._link.conn.flush()


def _next_of(result: pq.abc.PGresult) -> TimelineEnded:
    """What is told at the end of a timeline: the next one, and where it begins."""
    following, _ = one_row(rows_of(result), 2)
    if not following.isdigit():
        raise Damaged("the server does not say which timeline comes next")
    return TimelineEnded(int(following))


def gone(wrong: Refused) -> bool:
    """Whether a refusal means that what was asked for is not there any more."""
    return wrong.state in ("58P01", "XX000", "55000", "22023")
