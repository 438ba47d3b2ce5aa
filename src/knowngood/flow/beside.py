"""Beside: the base of a component that is followed is read in a thread of its own, in a session of its own.

Logs go on meanwhile, and points are made. What was read lands as it comes, and is visible to nobody; the session stays
open until a checkpoint of it is committed, so that no collector takes it away (INV-6).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from knowngood.core.beside import Beside
from knowngood.core.errors import KnowngoodError
from knowngood.core.ids import new_id
from knowngood.core.ports import CaptureContext
from knowngood.core.progress import Progress
from knowngood.flow.follow import Following
from knowngood.flow.parts import Parts
from knowngood.vault.ingest import Ingest

_ENDING = 5.0


class BaseReading:
    """One base on its way. All but the reading itself is done by the thread that made it."""

    def __init__(
        self,
        following: Following,
        beside: Beside,
        parts: Callable[[], AbstractContextManager[Parts]],
        told: Callable[[], None],
    ) -> None:
        """Begin. `parts` opens the vault for the thread; `told` is called by it when the base is there, or failed."""
        self.progress = Progress()
        self.failure: Exception | None = None
        self.is_ready = False
        self._timeline = following.timeline
        self._beside = beside
        self._parts = parts
        self._told = told
        self._sink: Ingest | None = None
        self._cancelled = False
        self._released = threading.Event()
        self._afterwards: Callable[[], None] = lambda: None
        self._lock = threading.Lock()  # over who does what is to be done afterwards
        self._over = False
        beside.begin()
        self._thread = threading.Thread(target=self._run, name="base", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._parts() as parts:
                self._read(parts)
        except Exception as wrong:  # noqa: BLE001 - told by whoever waits for it
            self.failure = wrong
            self._told()
        finally:
            with self._lock:
                self._over = True
            self._afterwards()

    def _read(self, parts: Parts) -> None:
        with parts.vault.session("base") as session:
            with parts.vault.ingest(session, self.progress) as sink:
                self._sink = sink
                if self._cancelled:
                    return
                state, trusted = parts.state_dir(self._timeline), parts.catalog.trusted_checkpoints()
                context = CaptureContext(sink, state, trusted, self.progress, new_id())
                self._beside.prepare(context, session.require_announced)
            self.is_ready = True
            self._told()
            self._released.wait()

    def release(self) -> None:
        """A checkpoint of it is committed, or it is not wanted: its session may end."""
        self._released.set()

    def stop(self, afterwards: Callable[[], None]) -> None:
        """End it; then do what is given. A server that says nothing is not waited for long: the thread does it then."""
        self._cancelled = True
        if self._sink is not None:
            self._sink.cancel(KnowngoodError("nobody wants this base any more"))
        self.release()
        self._thread.join(_ENDING)
        with self._lock:
            if not self._over:
                self._afterwards = afterwards
                return
        self._thread.join()
        afterwards()
