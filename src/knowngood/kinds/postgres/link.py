"""A connection to a PostgreSQL server, on libpq. Its errors become ours here; nothing waits without an end."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from contextlib import suppress

from psycopg import pq
from psycopg.errors import Error

from knowngood.core.errors import Busy, Damaged, KnowngoodError
from knowngood.databases.feed import Away
from knowngood.kinds.postgres.address import Address
from knowngood.kinds.postgres.refusal import Refused, no_connection

SECONDS = 10.0
"""How long an answer may take."""

Row = tuple[str | None, ...]


class Link:
    """One connection, for one thread at a time. `name` is what the server's list of sessions shows."""

    def __init__(self, address: Address, name: str = "knowngood", *, replication: bool = False) -> None:
        """Raises Away, Busy; UsageError when the server does not let us in."""
        self.address = address
        words = {
            "application_name": name,
            "client_encoding": "UTF8",
            "connect_timeout": str(int(SECONDS)),
            "tcp_user_timeout": "30000",
        }
        if replication:
            words["replication"] = "true"
        elif not address.names_database:
            words["dbname"] = "postgres"
        try:
            self._conn = pq.PGconn.connect(address.connection(**words))
        except Error as wrong:  # no memory
            raise Away(str(wrong)) from None
        if self._conn.status != pq.ConnStatus.OK:
            reason = self._conn.get_error_message()
            self._conn.finish()
            raise no_connection(address, reason, replication=replication)
        self._conn.nonblocking = 1

    @property
    def conn(self) -> pq.abc.PGconn:
        """What libpq has of it, for whoever streams."""
        return self._conn

    @property
    def version(self) -> int:
        """The server's major version."""
        return self._conn.server_version // 10000

    @property
    def process(self) -> int:
        """The server's process for this session."""
        return self._conn.backend_pid

    # ---------------------------------------------------------------------------------------------------- questions

    def ask(self, text: str, *values: str, seconds: float = SECONDS) -> list[Row]:
        """The rows that a statement gives. Raises Refused with the server's words, Away, Busy when it takes longer."""
        self.send(text, *values)
        rows: list[Row] = []
        try:
            while (result := self.result(seconds)) is not None:
                if result.status == pq.ExecStatus.COPY_IN:
                    self._conn.put_copy_end(b"nothing is copied in here")
                rows = self._lines(seconds) if result.status == pq.ExecStatus.COPY_OUT else rows_of(result) or rows
        except Refused:
            self._rest()
            raise
        return rows

    def _lines(self, seconds: float) -> list[Row]:
        """What COPY … TO STDOUT gives: a row of one text for each line."""
        rows: list[Row] = []
        while (line := self.copied(seconds)) is not None:
            rows.append((line.decode(errors="replace").removesuffix("\n"),))
        return rows

    def value(self, text: str, *values: str) -> str:
        """The one value that a statement gives; empty for null."""
        return self.ask(text, *values)[0][0] or ""

    def send(self, text: str, *values: str) -> None:
        """Send a statement, whose results are taken by `result`."""
        try:
            if values:
                self._conn.send_query_params(text.encode(), [each.encode() for each in values])
            else:
                self._conn.send_query(text.encode())
            self._flush(time.monotonic() + SECONDS)
        except Error as wrong:
            raise self._away(wrong) from None

    def result(self, seconds: float = SECONDS) -> pq.abc.PGresult | None:
        """The next result; None after the last one. Raises as `ask`."""
        end = time.monotonic() + seconds
        try:
            while self._conn.is_busy():
                if not self.readable(end - time.monotonic()):
                    raise Busy(f"PostgreSQL at {self.address.text} does not answer within {seconds:.0f} s")
                self._conn.consume_input()
            found = self._conn.get_result()
        except Error as wrong:
            raise self._away(wrong) from None
        if found is not None and found.status in (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE):
            raise self._failed(found)
        return found

    def is_busy(self) -> bool:
        """Whether the result of what was sent is still to come, as far as anything arrived. Raises Away."""
        try:
            self._conn.consume_input()
            return bool(self._conn.is_busy())
        except Error as wrong:
            raise self._away(wrong) from None

    def _rest(self) -> None:
        """Results after a refusal mean nothing."""
        with suppress(KnowngoodError):
            while True:
                try:
                    if self.result() is None:
                        return
                except Refused:
                    continue

    # ------------------------------------------------------------------------------------------------------- a copy

    def copied(self, seconds: float) -> bytes | None:
        """The next message of a copy; None at its end. Raises as `ask`."""
        end = time.monotonic() + seconds
        try:
            while True:
                count, data = self._conn.get_copy_data(1)
                if count > 0:
                    return bytes(data)
                if count < 0:
                    return None
                if not self.readable(end - time.monotonic()):
                    raise Away(f"PostgreSQL at {self.address.text} sends nothing for {seconds:.0f} s")
                self._conn.consume_input()
        except Error as wrong:
            raise self._away(wrong) from None

    def readable(self, seconds: float) -> bool:
        """Wait until something arrives; False when the time is over."""
        with suppress(ValueError):  # it was closed
            return bool(select.select([self._conn.socket], [], [], max(0.0, seconds))[0])
        raise Away(f"PostgreSQL at {self.address.text} has closed the connection")

    def _flush(self, end: float) -> None:
        while self._conn.flush() > 0:
            if not select.select([], [self._conn.socket], [], max(0.0, end - time.monotonic()))[1]:
                raise Busy(f"PostgreSQL at {self.address.text} takes nothing in")

    def close(self) -> None:
        """Close it."""
        self._conn.finish()

    def _failed(self, result: pq.abc.PGresult) -> KnowngoodError:
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        said = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
        if not state or state.startswith(("57P", "08")):
            return Away(
                f"PostgreSQL at {self.address.text} goes away: {said or self._conn.get_error_message().strip()}"
            )
        return Refused(self.address, state, said)

    def _away(self, wrong: Error) -> KnowngoodError:
        lines = str(wrong).strip().splitlines()
        return Away(f"PostgreSQL at {self.address.text} has gone: {lines[0] if lines else 'no reason was given'}")


def rows_of(result: pq.abc.PGresult) -> list[Row]:
    """What a result has."""
    return [
        tuple(_text(result.get_value(row, column)) for column in range(result.nfields)) for row in range(result.ntuples)
    ]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def one_row(rows: Sequence[Row], columns: int) -> tuple[str, ...]:
    """The one row that has to be there; empty for null. Raises Damaged."""
    if len(rows) != 1 or len(rows[0]) < columns:
        raise Damaged("the server does not speak the replication protocol of PostgreSQL")
    return tuple(each or "" for each in rows[0])
