"""What a thread receives for another: bytes in order, bounded, with a descriptor that tells when there are some."""

from __future__ import annotations

import contextlib
import os
import threading

from knowngood.core.errors import KnowngoodError

BYTES = 32 << 20
"""So much waits here; what comes then waits at the server."""


class Inbox:
    """Filled by one thread, emptied by another."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0
        self._room = BYTES
        self._failure: KnowngoodError | None = None
        self._closed = False
        self._change = threading.Condition()
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def put(self, data: bytes) -> bool:
        """Take bytes in; wait while there is no room. False when nobody wants them any more."""
        with self._change:
            self._change.wait_for(lambda: self._bytes < self._room or self._closed)
            if self._closed:
                return False
            self._parts.append(data)
            self._bytes += len(data)
            self._wake()
        return True

    def fail(self, why: KnowngoodError) -> None:
        """Nothing more comes, and why."""
        with self._change:
            if not self._closed:
                self._failure = why
                self._wake()

    def take(self, most: int | None = None) -> bytes:
        """What is there, at most so many bytes. Raises the failure once everything before it was taken."""
        with self._change:
            data = b"".join(self._parts)
            if not data and self._failure is not None:
                raise self._failure
            rest = data[most:] if most is not None else b""
            self._parts, self._bytes = [rest] if rest else [], len(rest)
            if not rest and self._failure is None:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._event)
            self._change.notify_all()
        return data[:most]

    def wait(self, count: int, seconds: float) -> bool:
        """Wait until so many bytes are there; False when none came for so long, or none comes any more."""
        with self._change:
            self._room = max(BYTES, count)
            self._change.notify_all()
            came = True
            while came and self._bytes < count and self._failure is None:
                came = self._change.wait_for(lambda had=self._bytes: self._bytes > had or self._failure, seconds)
            self._room = BYTES
            return self._bytes >= count

    def closes(self, seconds: float) -> bool:
        """Wait until it is closed; False when the time was over."""
        with self._change:
            return self._change.wait_for(lambda: self._closed, seconds)

    @property
    def is_full(self) -> bool:
        """Whether there is no room: `put` would wait."""
        return self._bytes >= self._room

    def fileno(self) -> int:
        """Can be read when there is something to take."""
        return self._event

    def close(self) -> None:
        """Let the filling thread go."""
        with self._change:
            if not self._closed:
                self._closed = True
                self._parts, self._bytes = [], 0
                os.close(self._event)
                self._change.notify_all()

    def _wake(self) -> None:
        os.eventfd_write(self._event, 1)
        self._change.notify_all()
