"""Holds the writes of a database: its warden takes the write lock, and a timer of the warden's own ends that."""

from __future__ import annotations

from collections.abc import Callable

from knowngood.core.errors import Busy, KnowngoodError
from knowngood.kinds.sqlite.words import Answer, Request


class SqliteHolder:
    """Takes the write lock (port Holder). When the warden ends, however it ends, the kernel lets go of it."""

    def __init__(self, ask: Callable[[Request], Answer], marked: Callable[[], None]) -> None:
        self._ask = ask
        self._marked = marked

    def prepare(self, lease: float) -> None:
        """The warden is there."""

    def hold(self, lease: float) -> None:
        """Wait for whoever writes, then nobody does. Raises Busy when they write for longer than the lease."""
        self._ask(Request("hold", lease=lease))

    def mark(self) -> str:
        """The frame of the log. Raises Busy when the lease is over."""
        answer = self._ask(Request("mark"))
        if not answer.done:
            raise Busy("the hold was over before the mark")
        self._marked()
        return answer.text

    def release(self) -> bool:
        """Let them go on."""
        try:
            return self._ask(Request("release")).done
        except KnowngoodError:
            return False
