"""The slot: it makes the server keep its log from the last committed checkpoint on, and no longer than is good for it.

It is moved by SQL when a checkpoint is committed, and never used to stream: what streams tells the server what is
durable, which is more than a resumption could do without.
"""

from __future__ import annotations

import threading
from contextlib import closing, suppress

from knowngood.core.errors import KnowngoodError
from knowngood.core.sizes import bytes_text
from knowngood.kinds.postgres.address import Address
from knowngood.kinds.postgres.link import Link
from knowngood.kinds.postgres.refusal import NO_OBJECT, Refused
from knowngood.wire.pglog import lsn_text, parse_lsn

_ABOUT = """
select wal_status, restart_lsn, active_pid,
       pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
                       restart_lsn)
from pg_replication_slots where slot_name = $1
"""


class Slot:
    """One slot of a server, by its name."""

    def __init__(self, address: Address, name: str) -> None:
        self._address = address
        self._lock = threading.Lock()  # a fresh one keeps much, until it is moved
        self.name = name

    def keep(self, lsn: int) -> None:
        """What comes after a place is to be kept. Raises KnowngoodError; then the server keeps what it kept before."""
        with self._lock, closing(Link(self._address)) as link:
            about = link.ask(_ABOUT, self.name)
            if about and about[0][0] in ("lost", None):
                self._drop(link)
                about = []
            if not about:
                link.ask("select pg_create_physical_replication_slot($1, true)", self.name)
                about = link.ask(_ABOUT, self.name)
            if about and parse_lsn(about[0][1] or "0/0") < lsn:
                link.ask("select pg_replication_slot_advance($1, $2)", self.name, lsn_text(lsn))

    def look(self, most: int) -> str:
        """What is wrong with it, in words; empty when nothing is. It is dropped when the server keeps more than `most`
        bytes of log for it. Raises KnowngoodError."""
        with self._lock, closing(Link(self._address)) as link:
            about = link.ask(_ABOUT, self.name)
            if not about:
                return "the server has no slot for us, and keeps no log: a restart takes a new base"
            status, place, _, kept = about[0]
            if status == "lost" or place is None:
                return "the server keeps no log for us any more (max_slot_wal_keep_size): a restart takes a new base"
            if int(kept or "0") <= most:
                return ""
            self._drop(link)
        limit = f"{bytes_text(int(kept or 0))} of log waited at the server, more than slot-limit: {bytes_text(most)}"
        return f"{limit}; it keeps none any more, and a restart takes a new base"

    def _drop(self, link: Link) -> None:
        try:
            link.ask("select pg_drop_replication_slot($1)", self.name)
        except Refused as wrong:
            if wrong.state != NO_OBJECT:  # it is gone already
                raise


class Guard:
    """Looks after a slot, in a thread: nobody else would while the vault is away, and then it matters most."""

    def __init__(self, slot: Slot, most: int, seconds: float = 10.0) -> None:
        self.note = ""
        self._slot = slot
        self._most = most
        self._seconds = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="postgres-slot", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            with suppress(KnowngoodError):  # the server is away: it keeps nothing that it does not write
                self.note = self.note or self._slot.look(self._most)

    def close(self) -> None:
        """Look after it no longer."""
        self._over.set()
        self._thread.join()
