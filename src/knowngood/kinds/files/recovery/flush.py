"""Puts what was written on stable storage while more is being written, so that the end has little left to wait for."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from knowngood.core.sizes import MIB
from knowngood.kinds.files.syscalls import sync_file_system

_EVERY = 64 * MIB


class Flusher:
    """A thread that syncs a file system whenever enough has been written to it. It promises nothing: an error shows
    again in the sync at the end, which goes through another descriptor.
    """

    def __init__(self, folder: int) -> None:
        self._fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        self._since = 0
        self._due = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="recover-flush")
        self._thread.start()

    def wrote(self, count: int) -> None:
        """So many bytes more have been written. Not to be called by two threads at once."""
        self._since += count
        if self._since >= _EVERY:
            self._since = 0
            self._due.set()

    def close(self) -> None:
        """End it; waits for a sync that has begun."""
        self._ended = True
        self._due.set()
        self._thread.join()
        os.close(self._fd)

    def _work(self) -> None:
        while self._due.wait() and not self._ended:
            self._due.clear()
            with suppress(OSError):
                sync_file_system(self._fd)
