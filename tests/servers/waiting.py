"""Waiting until something is so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from knowngood.core.instants import now_ns

_DEADLINE = 90.0  # machines can be busy; a test that waits for this long has failed


def until(enough: Callable[[], object], seconds: float = _DEADLINE) -> None:
    """Ask again and again."""
    end, never = time.monotonic() + seconds, threading.Event()
    while not enough():
        assert time.monotonic() < end, "it does not come"
        never.wait(0.002)


def a_moment() -> int:
    """The moment now, in nanoseconds; what happens after this returns is later by more than clocks are shown with."""
    then = now_ns()
    until(lambda: now_ns() > then + 2_000_000)
    return then
