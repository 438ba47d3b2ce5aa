"""One writing verb at a time in a home: a lock that says who holds it, and that ends with its process."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import pwd
import time
from collections.abc import Iterator, Mapping
from typing import Any

from knowngood.control.files import mapped
from knowngood.core.errors import Busy
from knowngood.core.instants import now_ns, when_text

_NOTE_BYTES = 4096
_LOOK_AGAIN = 0.05
_WRITING = 0.2
_WAIT = "wait until it has ended, then run the command again"


@contextlib.contextmanager
def hold(path: str, command: str, *, passing: bool = False, patience: float = 0.0, hint: str = _WAIT) -> Iterator[None]:
    """Hold the lock file exclusively, or raise Busy, naming the holder.

    A holder that is `passing` holds it often and for short whiles: for such a one, and for no other, we wait for
    `patience` seconds. The kernel lets go when the process ends, however it ends. The file itself stays: removing it
    would let two processes hold two files of the same name.
    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as wrong:
        raise mapped(wrong, path, "lock") from wrong
    try:
        _take(lock, patience, hint)
        note = {
            "pid": os.getpid(),
            "since_ns": now_ns(),
            "command": command[: _NOTE_BYTES // 8],
            "by": started_by(),
            "passing": passing,
        }
        _write_note(lock, json.dumps(note).encode())
        try:
            yield
        finally:
            _write_note(lock, b"")
    finally:
        os.close(lock)


def started_by(environment: Mapping[str, str] = os.environ) -> str:
    """Who started this process: `systemd`, or a user, also behind sudo."""
    if environment.get("SYSTEMD_EXEC_PID") == str(os.getpid()):  # systemd.exec(5)
        return "systemd"
    if behind := environment.get("SUDO_USER"):
        return behind
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def _take(lock: int, patience: float, hint: str) -> None:
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            note = _read_note(lock)
            if time.monotonic() - began >= min(patience, _waits_for(note)):
                raise _busy(note, hint) from None
            time.sleep(_LOOK_AGAIN)


def _waits_for(note: dict[str, Any]) -> float:
    """How long a holder is worth waiting for; one without a note is between taking the lock and writing it."""
    if not note:
        return _WRITING
    return math.inf if note.get("passing") is True else 0.0


def _write_note(lock: int, note: bytes) -> None:
    """Notes help people; a full disk must not stop a verb."""
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, note, 0)


def _read_note(lock: int) -> dict[str, Any]:
    try:
        note = json.loads(os.pread(lock, _NOTE_BYTES, 0))
    except (ValueError, OSError):
        return {}
    return note if isinstance(note, dict) else {}


def _busy(note: dict[str, Any], hint: str) -> Busy:
    holder = "another command"
    with contextlib.suppress(KeyError, TypeError, ValueError, OSError, OverflowError):
        by = f", started by {note['by']}" if "by" in note else ""
        holder = f"'{note['command']}' (process {note['pid']}, since {when_text(note['since_ns'])}{by})"
        hint += f"; to see it: ps -fp {note['pid']}"
    return Busy(f"{holder} is at work here", hint=hint)
