"""Holds the commits of a PostgreSQL server: while it waits for a standby that does not exist, none is acknowledged.

A commit of our own that waits proves that all do: whether there is such a standby stands in memory that all sessions
share. What is written while it waits is durable and not acknowledged, as after a crash.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from knowngood.core.errors import Busy, KnowngoodError, Unsupported
from knowngood.kinds.postgres.address import Address
from knowngood.kinds.postgres.link import Link, Row
from knowngood.kinds.postgres.watchdog import Watchdog
from knowngood.wire.pglog import parse_lsn

SETTING = "synchronous_standby_names"
_NOBODY = "knowngood_hold_"
"""What the name of a standby that does not exist begins with; the rest says who holds."""

Withhold = Callable[[float, str], bool]

_SESSION = "knowngood hold"

_PROBE = "select pg_logical_emit_message(true, 'knowngood', 'hold')"
_WAITS = f"select current_setting('{SETTING}') from pg_stat_get_activity($1::int) where wait_event = 'SyncRep'"
_GO_ON = f"select current_setting('{SETTING}'), wait_event, pg_reload_conf() from pg_stat_get_activity($1::int)"
_RELOAD = "select pg_reload_conf()"
_POLL = 0.0005
_LOAD_SECONDS = 5.0


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
        self._prepared = False
        self._standby = ""  # for whom commits wait
        self._ours = False  # whether that is we
        self._written = False  # whether the setting stands in the server's configuration
        self._undo: list[str] = []
        self._nobody = _NOBODY + secrets.token_hex(4)

    def prepare(self, lease: float) -> None:
        """Write the setting down, which counts from the next time on that the server reads its configuration."""
        try:
            link, _ = self._connected()
            self._standby = link.value(f"show {SETTING}")
            self._ours = self._withhold is not None and self._withhold(0, self._standby)
            self._undo, self._written = [], False
            if not self._ours:
                undo = _undo_for(link)
                self._watchdog.arm(lease, undo, link.process)
                self._undo, self._written = undo, True
                link.ask(f"alter system set {SETTING} = '{self._nobody}'")
        except BaseException:
            self._give_up()
            raise
        self._prepared = True

    def hold(self, lease: float) -> None:
        """Return when a commit of our own waits."""
        if not self._prepared:
            self.prepare(lease)
        self._prepared = False
        try:
            link, probe = self._connected()
            self._ends = time.monotonic() + lease
            if self._ours and self._withhold is not None:
                self._withheld = self._withhold(lease, self._standby)
            else:
                self._begin(link, lease)
            self._wait(link, probe)
        except BaseException:
            self._give_up()
            raise

    def _begin(self, link: Link, lease: float) -> None:
        """Have the setting come in force, under a lease of its own."""
        if not self._watchdog.arm(lease, self._undo, link.process):
            raise Busy(f"the hold of PostgreSQL at {self._address.text} was not begun in time")
        self._ends = time.monotonic() + lease
        link.ask(_RELOAD)

    def _wait(self, link: Link, probe: Link) -> None:
        """Until the probe waits: one that comes too early to wait is followed by another."""
        busy = False
        while time.monotonic() < self._ends:
            if not busy:
                while probe.result() is not None:  # of the one before
                    pass
                probe.send(_PROBE)
            busy = probe.is_busy()
            if busy and self._is_ours(link.ask(_WAITS, str(probe.process))):
                return
            time.sleep(_POLL)
        raise Busy(f"the commits of PostgreSQL at {self._address.text} could not be held in time")

    def _is_ours(self, rows: Sequence[Row]) -> bool:
        """Whether our commit waits, and for nobody else's sake."""
        return bool(rows) and (self._withheld or rows[0][0] == self._nobody)

    def mark(self) -> str:
        """How far the log is durable. What has to be synced for the release is done here: others are read meanwhile."""
        assert self._link is not None
        try:
            place = self._link.value("select pg_current_wal_flush_lsn()")
            self._unwrite(self._link)
        except BaseException:
            self._give_up()
            raise
        self._marked(parse_lsn(place))
        return f"lsn {place}"

    def _unwrite(self, link: Link) -> None:
        """Take the setting back as it is written. It stays in force until the server reads its configuration; should
        anybody else have it do so, our own commit waits no longer, and that is seen at the release."""
        if self._written:
            link.ask(self._undo[0])
            self._written = False

    def release(self) -> bool:
        """Take the setting back. Our commit, which has to wait until just then, says that it lasted; its end says that
        all others go on."""
        link, probe, self._prepared = self._link, self._probe, False
        if link is None or probe is None:
            return False
        try:
            self._unwrite(link)
            in_time = time.monotonic() < self._ends
            if self._withheld and self._withhold is not None:
                ours = self._is_ours(link.ask(_WAITS, str(probe.process)))
                return self._withhold(0, self._standby) and ours and in_time
            rows = link.ask(_GO_ON, str(probe.process))
            ours = self._is_ours(rows) and rows[0][1] == "SyncRep"
            while probe.result() is not None:
                pass
            in_time = in_time and bool(self._undo) and self._watchdog.disarm()
        except KnowngoodError:
            self._give_up()
            return False
        finally:
            self._withheld = False
        return ours and in_time

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
        link, self._prepared, self._written = self._link, False, False
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
    return [plain, _RELOAD]


def let_go(link: Link, name: str) -> None:
    """Take back what a process that is no more has left, by itself or as the synchronous standby of this name. Raises
    Refused without the right to."""
    living = link.value(f"select count(*) from pg_stat_activity where application_name = '{_SESSION}'")
    if name and living == "0":
        _load(link)  # it may have been written down and not have come in force yet
    value = link.value(f"show {SETTING}")
    if value == name or (value.startswith(_NOBODY) and living == "0"):
        for each in (f"alter system reset {SETTING}", "select pg_reload_conf()"):
            link.ask(each)


def _load(link: Link) -> None:
    """Have the server read its configuration, and wait until our session has."""
    loaded, end = "select pg_conf_load_time()", time.monotonic() + _LOAD_SECONDS
    before = link.value(loaded)
    link.ask(_RELOAD)
    while link.value(loaded) == before and time.monotonic() < end:
        time.sleep(_POLL)


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
