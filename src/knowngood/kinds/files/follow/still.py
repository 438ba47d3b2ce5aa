"""Files cannot be held. Whether they stood still for a moment can be told, by the watcher's word (port Holder)."""

from __future__ import annotations

import time
from collections.abc import Callable

from knowngood.core.errors import Busy

_PAUSE = 0.003
"""Seconds without any change after which files count as still: those who were about to write have written."""


class Still:
    """Watches whether a component's files stay as they are."""

    def __init__(self, changes: Callable[[], int]) -> None:
        """`changes` takes in what the watcher tells, and counts how often there was anything."""
        self._changes = changes
        self._count = -1

    def prepare(self, lease: float) -> None:  # noqa: ARG002 - the port's
        """Take in what the watcher has told so far: that need not be done while others wait."""
        self._changes()

    def hold(self, lease: float) -> None:
        """Return when nothing changes any more. Raises Busy when that does not come to pass within the lease."""
        end = time.monotonic() + lease
        count = self._changes()
        while True:
            time.sleep(_PAUSE)
            before, count = count, self._changes()
            if count == before:
                self._count = count
                return
            if time.monotonic() > end:
                raise Busy("its files go on changing while the others are held")

    def mark(self) -> str:
        """There is nothing to note."""
        return "still"

    def release(self) -> bool:
        """Whether nothing has changed since."""
        return self._changes() == self._count
