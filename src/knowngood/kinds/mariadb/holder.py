"""Holds the writes of a MariaDB server: FLUSH TABLES WITH READ LOCK, which ends with its connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

from knowngood.core.errors import KnowngoodError
from knowngood.kinds.mariadb.access import Access, sever, told
from knowngood.wire.binlog import Place

_WAIT_SECONDS = 1  # for statements that are running: longer ones cannot be held


class MariaHolder:
    """A global read lock (port Holder)."""

    def __init__(self, access: Access, marked: Callable[[Place], None]) -> None:
        """`marked` is told the end of the binary log at a mark."""
        self._access = access
        self._marked = marked
        self._connection: Any = None
        self._prepared = False
        self._ends = 0.0
        self._timer: threading.Timer | None = None

    def prepare(self, lease: float) -> None:
        """Connect."""
        self._connected(lease)
        self._prepared = True

    def hold(self, lease: float) -> None:
        """Lock. The lease ends by our own timer; if we die, the server sees the connection close."""
        connection = self._connection if self._prepared else None
        self._prepared, connection = False, connection or self._connected(lease)
        self._ends = time.monotonic() + lease  # from here on: nothing is held while we connect
        self._timer = threading.Timer(lease, self._drop)
        self._timer.daemon = True
        self._timer.start()
        try:
            with told(self._access), connection.cursor() as cursor:
                cursor.execute("FLUSH TABLES WITH READ LOCK")
        except BaseException:
            self._drop()
            raise

    def _connected(self, lease: float) -> Any:
        """The connection of the hold before, which costs the others no time; or a new one."""
        self._stop_timer()
        if self._connection is not None:
            with suppress(KnowngoodError), told(self._access):
                self._connection.ping(reconnect=False)
                return self._connection
            self._drop()
        connection = self._connection = self._access.connect(max(2.0, 2 * lease))
        try:
            with told(self._access), connection.cursor() as cursor:
                cursor.execute(f"SET lock_wait_timeout = {_WAIT_SECONDS}")
        except BaseException:
            self._drop()
            raise
        return connection

    def mark(self) -> str:
        """The end of the binary log."""
        connection = self._connection
        if connection is None:
            raise KnowngoodError("the writes are not held any more")
        with told(self._access):
            place = _end(connection)
        self._marked(place)
        return f"{place.file}:{place.offset}"

    def release(self) -> bool:
        """Unlock."""
        connection, held = self._connection, time.monotonic() < self._ends
        if connection is None:
            return False
        with suppress(KnowngoodError), told(self._access), connection.cursor() as cursor:
            cursor.execute("UNLOCK TABLES")
            self._stop_timer()
            return held and time.monotonic() < self._ends
        self._drop()
        return False

    def close(self) -> None:
        """Hang up: what is held is let go."""
        self._drop()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _drop(self) -> None:
        self._stop_timer()
        connection, self._connection = self._connection, None
        if connection is not None:
            sever(connection)


def end_of_log(access: Access) -> Place:
    """Where the binary log ends now. Raises Away, UsageError."""
    with closing(access.connect()) as connection, told(access):
        return _end(connection)


def _end(connection: Any) -> Place:
    with connection.cursor() as cursor:
        cursor.execute("SHOW MASTER STATUS")
        file, offset, *_ = cursor.fetchone() or ("", 0)
    return Place(str(file), int(offset))
