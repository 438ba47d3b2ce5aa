"""A stay: one session in the vault for several ticks that follow each other, so that each costs its commit and no more.

To announce a session and to take that back costs four syncs and a look at all commits, which is as much again as what a
tick has to make durable. But a session holds back who keeps the vault in order (decision 0025): so a stay is short, and
whoever wants the vault for himself in this process ends it first.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from knowngood.vault.log_writer import LogWriter
from knowngood.vault.session import FOLLOWING
from knowngood.vault.vault import Vault

SECONDS = 1.0
"""How long a stay lasts; it ends with the first tick after that. A collector waits a little longer for others'."""


class Stay:
    """One session for a timeline, and where its log is written on."""

    def __init__(self, vault: Vault, timeline: bytes) -> None:
        """Announce it. Raises Busy when somebody else writes this log, and what the store raises."""
        self.writer: LogWriter | None = None  # as soon as the end of the log was found
        self._ends = time.monotonic() + SECONDS
        self._stack = ExitStack()
        self.session = self._stack.enter_context(vault.session(FOLLOWING, timelines=(timeline,)))

    @property
    def over(self) -> bool:
        """Whether it has lasted long enough: others may be waiting for its end."""
        return time.monotonic() >= self._ends

    def close(self) -> None:
        """Take the announcement back."""
        self._stack.close()
