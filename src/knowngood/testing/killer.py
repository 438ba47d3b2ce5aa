"""Kills a process at any of its changes to the file system, one after the other: a crash test without chance.

An action runs in a forked child. In that child alone, the functions of `os` that change anything count their calls,
over all threads, and the k-th one kills the process. For k = 1, 2, … until the action finishes, every state that a
`kill -9` can leave behind comes up exactly once.

A write that is the k-th call still writes half of its bytes. What was written before the kill stays: this is the end of
a process, not of the machine.
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from knowngood.testing.forking import fork

_SECONDS = 120  # after which a child that hangs is ended
_CHANGES = (
    "open",
    "write",
    "writev",
    "pwrite",
    "pwritev",
    "sendfile",
    "copy_file_range",
    "fsync",
    "fdatasync",
    "link",
    "symlink",
    "unlink",
    "remove",
    "rename",
    "replace",
    "mkdir",
    "rmdir",
    "ftruncate",
    "truncate",
    "posix_fallocate",
    "utime",
    "chmod",
    "fchmod",
    "chown",
    "fchown",
    "lchown",
    "mknod",
    "mkfifo",
    "setxattr",
    "removexattr",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended: it `finished`, or was killed at its `calls`-th change, which was this `function`."""

    finished: bool
    calls: int
    function: str = ""


class ChildFailed(Exception):
    """The action raised, or its process ended in a way that nobody ordered; the text is its traceback."""


class _Counter:
    """Counts the calls of one process, and ends it at the k-th."""

    def __init__(self, kill_at: int, report: int) -> None:
        self._kill_at = kill_at
        self._report = report
        self._lock = threading.Lock()
        self._real_write = os.write
        self.calls = 0

    def wrap(self, name: str) -> None:
        """Put a counting function in the place of `os.name`."""
        real = getattr(os, name, None)
        if real is None:
            return

        def counting(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not args[1] & os.O_CREAT:
                return real(*args, **kwargs)
            with self._lock:
                self.calls += 1
                if self.calls == self._kill_at:
                    self._die(name, real, args)
            return real(*args, **kwargs)

        setattr(os, name, counting)

    def _die(self, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.tell("killed", name)
        with suppress(OSError):
            if name == "write":
                real(args[0], memoryview(args[1])[: len(args[1]) // 2])
            elif name == "pwrite":
                real(args[0], memoryview(args[1])[: len(args[1]) // 2], args[2])
            elif name == "writev":
                joined = b"".join(args[1])
                self._real_write(args[0], joined[: len(joined) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    def tell(self, what: str, more: str) -> None:
        """A word to the parent."""
        self._real_write(self._report, f"{what}\n{self.calls}\n{more}".encode("utf-8", "backslashreplace")[:32768])


def run_and_kill(action: Callable[[], object], kill_at: int) -> Outcome:
    """Run an action in a child of this process that is killed at its `kill_at`-th change; 0 kills it never.

    Raises ChildFailed when the action raises.
    """
    reading, writing = os.pipe()
    child = fork()
    if not child:
        _child(action, kill_at, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        what, _, rest = pipe.read().decode().partition("\n")
    _, status = os.waitpid(child, 0)
    calls, _, more = rest.partition("\n")
    if what == "finished" and os.waitstatus_to_exitcode(status) == 0:
        return Outcome(True, int(calls))
    if what == "killed" and os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
        return Outcome(False, int(calls), more)
    raise ChildFailed(more or f"the child ended with {os.waitstatus_to_exitcode(status)}")


def _child(action: Callable[[], object], kill_at: int, report: int) -> None:
    counter = _Counter(kill_at, report)
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_SECONDS)
        for name in _CHANGES:
            counter.wrap(name)
        action()
        counter.tell("finished", "")
    except BaseException:  # noqa: BLE001 - all that is left to do is to tell
        counter.tell("raised", traceback.format_exc())
    finally:
        os._exit(0)  # nothing of the parent's runs here: no handlers, no buffers, no fixtures


def every_kill(prepare: Callable[[], Callable[[], object]], *, start: int = 1, step: int = 1) -> Iterator[Outcome]:
    """Kill an action at each of its changes in turn; the caller looks at what is left after each.

    `prepare` makes the same state again and returns the action. The last outcome is that of the action unharmed.
    """
    kill_at = start
    while True:
        outcome = run_and_kill(prepare(), kill_at)
        yield outcome
        if outcome.finished:
            return
        kill_at += step
