"""The warden of a database, from outside: it is started, asked, and ends when its socket is closed."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys

import msgspec

from knowngood.core.errors import Busy, KnowngoodError, NotFound, StoreFailed, Unsupported
from knowngood.databases.feed import ChainBroken
from knowngood.kinds.sqlite.words import BROKEN, BUSY, GONE, UNFIT, Answer, Request, receive, send

_SECONDS = 120.0  # for one answer; what it waits for itself is shorter
_COPY_SECONDS = 4 * 3600.0
_END_SECONDS = 10.0
_WAL_HINT = "let its program use a write-ahead log: PRAGMA journal_mode=WAL"


class Warden:
    """One warden. For one thread at a time."""

    def __init__(self, path: str, copy: str = "") -> None:
        """`copy` is a file for the verb `copy`. Raises StoreFailed when it cannot be started."""
        self._path = path
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "knowngood.kinds.sqlite.warden", path, copy],
                    cwd="/",
                    stdin=theirs.fileno(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for us
                )
            except OSError as wrong:
                ours.close()
                raise StoreFailed(f"no process can be started: {wrong.strerror}") from None
        self._socket = ours
        assert self._process.stdout
        self._told = self._process.stdout.fileno()
        os.set_blocking(self._told, False)

    def ask(self, request: Request) -> Answer:
        """Its answer. Raises ChainBroken, NotFound, Busy, Unsupported, StoreFailed."""
        self._socket.settimeout(_COPY_SECONDS if request.verb == "copy" else _SECONDS)
        try:
            send(self._socket, request)
            answer = msgspec.msgpack.decode(receive(self._socket), type=Answer)
        except (EOFError, OSError, msgspec.MsgspecError):
            raise StoreFailed(f"the process that reads {self._path} has ended, or hangs") from None
        if answer.refused:
            raise _error(answer.refused, self._path, answer.text)
        return answer

    def hear(self) -> None:
        """Take in that something was committed."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._told, 512)

    def fileno(self) -> int:
        """Can be read when something was committed."""
        return self._told

    def close(self) -> None:
        """It ends, and its locks with it."""
        self._socket.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


def _error(kind: str, path: str, text: str) -> KnowngoodError:
    if kind == BROKEN:
        return ChainBroken(text)
    if kind == GONE:
        return NotFound(text, hint=f"look: ls -l {path}*")
    if kind == BUSY:
        return Busy(f"{path} is busy: {text}")
    if kind == UNFIT:
        return Unsupported(f"{path} cannot be followed: {text}", hint=_WAL_HINT)
    return StoreFailed(f"{path} cannot be read: {text}")
