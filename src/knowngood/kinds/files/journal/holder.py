"""Files that are journalled can be held: their server lets all writers wait (port Holder)."""

from __future__ import annotations

from knowngood.kinds.files.journal.below import Below


class JournalHolder:
    """Holds the writers of one component. Whatever becomes of us, the server ends it when the lease is over."""

    def __init__(self, below: Below) -> None:
        self._below = below

    def prepare(self, lease: float) -> None:
        """There is nothing to prepare: the server is there, and its way to us is open."""

    def hold(self, lease: float) -> None:
        """Return when no change is made any more. Raises Busy."""
        self._below.hold(lease)

    def mark(self) -> str:
        """Where the journal stands."""
        return f"entry {self._below.entry}"

    def release(self) -> bool:
        """Let them go on; whether they waited until now."""
        return self._below.release()
