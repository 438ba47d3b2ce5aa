"""The vault's recovery key, while somebody has opened the vault from the console. It lies in memory only."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from knowngood.seal.keys import recovery_text

LASTS = 900.0
"""Seconds without use after which the vault is locked again."""


class Keyhole:
    """Empty, or with a key in it."""

    def __init__(self) -> None:
        self._key: bytes | None = None
        self._until = 0.0
        self._lock = threading.Lock()

    def put(self, key: bytes) -> None:
        """The vault is open."""
        with self._lock:
            self._key, self._until = key, time.monotonic() + LASTS

    def take_out(self) -> None:
        """The vault is locked."""
        with self._lock:
            self._key = None

    def look(self) -> bool:
        """Whether the vault is open; to look is not to use."""
        with self._lock:
            return self._key is not None and time.monotonic() < self._until

    def key(self) -> bytes | None:
        """The key, used now; None when there is none."""
        with self._lock:
            now = time.monotonic()
            if now >= self._until:
                self._key = None
            self._until = now + LASTS
            return self._key


@contextmanager
def as_file(key: bytes | None) -> Iterator[int | None]:
    """The key as a file without a name, for a child that inherits its descriptor; it never lies on a disk."""
    if key is None:
        yield None
        return
    descriptor = os.memfd_create("recovery key")
    try:
        os.write(descriptor, recovery_text(key).encode())
        yield descriptor
    finally:
        os.close(descriptor)
