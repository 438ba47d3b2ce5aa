"""Synchronous commits: the server acknowledges none before it is durable in the vault, as long as the vault keeps up.

Whoever is late is taken out, so that commits go on, and taken in again when all is well; both are said. A server waits
for ever for a standby that is gone: the watchdog takes us out when we cannot.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from knowngood.core.errors import KnowngoodError
from knowngood.core.instants import now_ns, when_text
from knowngood.kinds.postgres.address import Address
from knowngood.kinds.postgres.holder import SETTING
from knowngood.kinds.postgres.link import Link
from knowngood.kinds.postgres.stream import Stream
from knowngood.kinds.postgres.watchdog import Watchdog

_LOOK_SECONDS = 0.25
_LATE_SECONDS = 2.0  # a commit waits so long at most
_WELL_SECONDS = 2.0
_WATCH_SECONDS = 3.0


class Synchronous:
    """Sees to it that commits wait for us, or not, in a thread."""

    def __init__(self, address: Address, name: str, stream: Callable[[], Stream | None]) -> None:
        """`name` is what our stream calls itself."""
        self.note = "commits do not wait for the vault yet"
        self.unsafe: str | None = None  # why they do not, though they did or could; empty while they do
        self._address = address
        self._name = name
        self._stream = stream
        self._watchdog = Watchdog(address)
        self._joined = False
        self._well_since = math.inf
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="postgres-sync", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            with suppress(KnowngoodError):  # the server is away: nobody commits; again in a moment
                self._look()
        with suppress(KnowngoodError):
            self._leave("")
        self._watchdog.close()

    def _look(self) -> None:
        stream, now = self._stream(), time.monotonic()
        late = stream.late if stream is not None else math.inf
        if self._joined and late > _LATE_SECONDS:
            why = "the stream has ended" if late == math.inf else f"the vault was {late:.1f} s late"
            self._leave(f"commits have not waited for the vault since {when_text(now_ns())}: {why}")
        elif self._joined:
            self._watchdog.arm(_WATCH_SECONDS, self._undo())
        elif late > _LATE_SECONDS / 2:
            self._well_since = math.inf
        else:
            self._well_since = min(self._well_since, now)
            if now - self._well_since >= _WELL_SECONDS:
                self._join()

    def _join(self) -> None:
        link = Link(self._address)
        try:
            names = link.value(f"show {SETTING}")
            if names not in ("", self._name):
                self.note = self.unsafe = f"commits do not wait for the vault: {SETTING} is '{names}'"
                return
            self._watchdog.arm(_WATCH_SECONDS, self._undo(), link.process)
            self._joined = True
            link.ask(f"alter system set {SETTING} = '{self._name}'")
            link.ask("select pg_reload_conf()")
            self.note = self.unsafe = ""
        finally:
            link.close()

    def _leave(self, why: str) -> None:
        if not self._joined:
            return
        link = Link(self._address)
        try:
            for each in self._undo():
                link.ask(each)
        finally:
            link.close()
        self._joined, self._well_since, self.note, self.unsafe = False, math.inf, why, why or None
        self._watchdog.disarm()

    @staticmethod
    def _undo() -> list[str]:
        return [f"alter system reset {SETTING}", "select pg_reload_conf()"]

    def close(self) -> None:
        """Commits wait no longer."""
        self._over.set()
        self._thread.join()
