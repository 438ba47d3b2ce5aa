"""Forks a process in which other threads were at work a moment ago.

A thread that was joined has ended as far as Python knows. It may still be on its way out and hold a lock of a library,
as of OpenSSL when it cleans up after a thread. In a child that is forked then, nobody ever gives that lock back.
"""

from __future__ import annotations

import os
import threading
import time
import warnings

_PATIENCE = 1.0
"""Seconds. Who is still there then has come to stay: libraries have threads of their own."""

_staying: set[int] = set()


def fork() -> int:
    """As `os.fork`, once the threads that have ended are gone. Threads that go on are not in the child."""
    _let_go()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what the other threads hold is not ours
        return os.fork()


def _let_go() -> None:
    end, never = time.monotonic() + _PATIENCE, threading.Event()
    while ending := _threads() - {each.native_id for each in threading.enumerate()} - _staying:
        if time.monotonic() > end:
            _staying.update(ending)
            return
        never.wait(0.0005)


def _threads() -> set[int]:
    return {int(each) for each in os.listdir("/proc/self/task")}
