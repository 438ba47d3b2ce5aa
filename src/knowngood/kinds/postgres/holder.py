"""Holds the commits of a PostgreSQL server: while it waits for a standby that does not exist, none is acknowledged.

A commit of our own that waits proves that all do: whether there is such a standby stands in memory that all sessions
share. What is written while it waits is durable and not acknowledged, as after a crash.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress

from knowngood.core.errors import Busy, KnowngoodError, Unsupported
from knowngood.kinds.postgres.address import Address
from knowngood.kinds.postgres.link import Link
from knowngood.kinds.postgres.watchdog import Watchdog
from knowngood.wire.pglog import parse_lsn

SETTING = "synchronous_standby_names"
_NOBODY = "knowngood_hold_"
"""What the name of a standby that does not exist begins with; the rest says who holds."""

Withhold = Callable[[float, str], bool]

_SESSION = "knowngood hold"

_PROBE = "select pg_logical_emit_message(true, 'knowngood', 'hold')"
_WAITS = "select 1 from pg_stat_activity where pid = $1::int and wait_event = 'SyncRep'"
_POLL = 0.0005


class PostgresHolder:
    """Makes commits wait (port Holder)."""

    def __init__(
        self, address: Address, watchdog: Watchdog, marked: Callable[[int], None], withhold: Withhold | None = None
    ) -> None:
        """`marked` is told the place in the log at a mark. With `withhold`, commits may wait for our own word anyway:
        it is asked to keep that back for so many seconds, and says whether there is somebody to whom it is given."""
        self._withhold = withhold
        self._withheld = False
        self._address = address
        self._watchdog = watchdog
        self._marked = marked
        self._link: Link | None = None
        self._probe: Link | None = None
        self._ends = 0.0
        self._undo: list[str] = []
        self._nobody = _NOBODY + secrets.token_hex(4)

    def hold(self, lease: float) -> None:
        """Return when a commit of our own waits."""
        try:
            link, probe = self._connected()
            self._ends = time.monotonic() + lease
            self._withheld = self._withhold is not None and self._withhold(lease, link.value(f"show {SETTING}"))
            if self._withheld:
                self._wait(link, probe)
                return
            self._undo = _undo_for(link)
            self._watchdog.arm(lease, self._undo)
            self._ends = time.monotonic() + lease
            link.ask(f"alter system set {SETTING} = '{self._nobody}'")
            link.ask("select pg_reload_conf()")
            self._wait(link, probe)
        except BaseException:
            self._give_up()
            raise

    def _wait(self, link: Link, probe: Link) -> None:
        """Until the probe waits: one that comes too early to wait is followed by another."""
        busy = False
        while time.monotonic() < self._ends:
            if not busy:
                while probe.result() is not None:  # of the one before
                    pass
                probe.send(_PROBE)
            busy = probe.is_busy()
            if busy and link.ask(_WAITS, str(probe.process)) and self._is_ours(link):
                return
            time.sleep(_POLL)
        raise Busy(f"the commits of PostgreSQL at {self._address.text} could not be held in time")

    def mark(self) -> str:
        """How far the log is durable."""
        assert self._link is not None
        try:
            place = self._link.value("select pg_current_wal_flush_lsn()")
        except BaseException:
            self._give_up()
            raise
        self._marked(parse_lsn(place))
        return f"lsn {place}"

    def release(self) -> bool:
        """Take the setting back."""
        if self._link is None:
            return False
        try:
            if self._withheld and self._withhold is not None:
                in_time = time.monotonic() < self._ends
                return self._withhold(0, self._link.value(f"show {SETTING}")) and in_time
            ours = self._is_ours(self._link)
            for each in self._undo:
                self._link.ask(each)
            in_time = self._watchdog.disarm() and time.monotonic() < self._ends
            assert self._probe is not None
            while self._probe.result() is not None:
                pass
        except KnowngoodError:
            self._give_up()
            return False
        return ours and in_time

    def _is_ours(self, link: Link) -> bool:
        """Whether it is we who hold, and nobody else has begun to."""
        return self._withheld or link.value(f"show {SETTING}") == self._nobody

    def close(self) -> None:
        """Let go of the server."""
        for each in (self._link, self._probe):
            if each is not None:
                each.close()
        self._link = self._probe = None

    def _connected(self) -> tuple[Link, Link]:
        if self._link is None or self._probe is None:
            self.close()
            self._link, self._probe = Link(self._address, _SESSION), Link(self._address)
            self._probe.ask("set synchronous_commit = on")
        return self._link, self._probe

    def _give_up(self) -> None:
        """Undo what may have been done; when that fails too, the watchdog does."""
        link = self._link
        if link is not None and self._undo:
            with suppress(KnowngoodError):
                for each in self._undo:
                    link.ask(each)
        self.close()
        self._watchdog.close()


def _undo_for(link: Link) -> list[str]:
    """What brings the setting back to what it is. Raises Unsupported when there are synchronous standbys."""
    value, source = link.ask("select setting, source from pg_settings where name = $1", SETTING)[0]
    if value:
        raise Unsupported(
            f"commits cannot be held: {SETTING} is '{value}'", hint="points of it are cut by time as long as it is"
        )
    plain = f"alter system reset {SETTING}" if source == "default" else f"alter system set {SETTING} = ''"
    return [plain, "select pg_reload_conf()"]


def let_go(link: Link, name: str) -> None:
    """Take back what a process that is no more has left, by itself or as the synchronous standby of this name. Raises
    Refused without the right to."""
    living = link.value(f"select count(*) from pg_stat_activity where application_name = '{_SESSION}'")
    value = link.value(f"show {SETTING}")
    if value == name or (value.startswith(_NOBODY) and living == "0"):
        for each in (f"alter system reset {SETTING}", "select pg_reload_conf()"):
            link.ask(each)


def may_hold(link: Link) -> str:
    """What is missing for commits to be held, in words; empty when nothing is."""
    altering, reloading, user = link.ask(
        f"select has_parameter_privilege('{SETTING}', 'ALTER SYSTEM'), "
        "has_function_privilege('pg_reload_conf()', 'execute'), quote_ident(current_user)"
    )[0]
    missing = []
    if altering != "t":
        missing.append(f"GRANT ALTER SYSTEM ON PARAMETER {SETTING} TO {user}")
    if reloading != "t":
        missing.append(f"GRANT EXECUTE ON FUNCTION pg_reload_conf() TO {user}")
    return f"commits cannot be held; to allow it: {'; '.join(missing)}" if missing else ""
