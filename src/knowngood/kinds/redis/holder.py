"""Holds the writes of a Redis server: it pauses its clients itself, and ends that by its own clock (CLIENT PAUSE)."""

from __future__ import annotations

import time
from collections.abc import Callable

from knowngood.core.errors import KnowngoodError
from knowngood.kinds.redis.address import Address
from knowngood.kinds.redis.link import Link, fields

_SECONDS = 2.0


class RedisHolder:
    """Pauses writes (port Holder)."""

    def __init__(self, address: Address, marked: Callable[[int], None]) -> None:
        """`marked` is told the offset of the command stream at a mark."""
        self._address = address
        self._marked = marked
        self._link: Link | None = None
        self._ends = 0.0

    def prepare(self, lease: float) -> None:  # noqa: ARG002 - the port's
        """Connect."""
        link = self._link = self._link or Link(self._address, _SECONDS)
        try:
            link.ask_text("PING")
        except BaseException:
            self.close()
            raise

    def hold(self, lease: float) -> None:
        """Pause all that writes."""
        link = self._link = self._link or Link(self._address, _SECONDS)
        self._ends = time.monotonic() + lease  # before it is asked: the server's lease ends later
        try:
            link.ask_text("CLIENT", "PAUSE", int(lease * 1000), "WRITE")
        except BaseException:
            self.close()
            raise

    def mark(self) -> str:
        """The offset of the command stream."""
        assert self._link is not None
        try:
            offset = int(fields(self._link.ask_text("INFO", "replication"))["master_repl_offset"])
        except BaseException:
            self.close()
            raise
        self._marked(offset)
        return f"offset {offset}"

    def release(self) -> bool:
        """Let them go on."""
        if self._link is None:
            return False
        try:
            self._link.ask_text("CLIENT", "UNPAUSE")
        except KnowngoodError:
            self.close()
            return False
        return time.monotonic() < self._ends

    def close(self) -> None:
        """Hang up; what is held ends by its lease."""
        if self._link is not None:
            self._link.close()
            self._link = None
