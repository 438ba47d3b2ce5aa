"""The watchdog: a process beside ours that lets commits go on when ours is killed, hangs, or takes too long.

PostgreSQL has no lease for what makes commits wait: the setting stays until somebody takes it back. So somebody else is
told beforehand what to take back and by when, and sees by the end of a pipe that we are no more.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

import msgspec

from knowngood.core.errors import Busy, KnowngoodError
from knowngood.kinds.postgres.address import Address
from knowngood.kinds.postgres.link import Link

_ANSWER_SECONDS = 10.0
_AGAIN_SECONDS = 0.1
_LOOK_SECONDS = 0.02
_GIVE_UP_SECONDS = 24 * 3600.0
_LINE_BYTES = 64 << 10
_THERE = "select count(*) from pg_stat_activity where pid = $1::int"


class Order(msgspec.Struct):
    """`undo` are statements to be carried out in `seconds`, or when we are gone; none: there is nothing to undo.
    `session` is the server's process that does what is to be undone, 0 for none."""

    undo: list[str]
    seconds: float = 0
    session: int = 0


class Watchdog:
    """The process, seen from ours. It is started when it is first needed. For one thread at a time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._process: subprocess.Popen[bytes] | None = None

    def arm(self, seconds: float, undo: list[str], session: int = 0) -> bool:
        """Return when it will undo; whether it has not undone what it was armed for before. Raises Busy when it does
        not answer."""
        return self._tell(Order(undo, seconds, session)) == b"ok"

    def disarm(self) -> bool:
        """There is nothing to undo any more. Whether it has not begun to."""
        return self._tell(Order([])) == b"ok"

    def close(self) -> None:
        """It ends; what it was armed for is undone first."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.stdout.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ANSWER_SECONDS)
            process.kill()
            process.wait()

    def _tell(self, order: Order) -> bytes:
        process = self._process = self._process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            process.stdin.flush()
            if select.select([process.stdout], [], [], _ANSWER_SECONDS)[0]:
                answer = os.read(process.stdout.fileno(), 16).strip()
                if answer in (b"ok", b"late"):
                    return answer
        except OSError:
            pass
        self.close()
        raise Busy("the process that would let commits go on does not answer", hint="they are not held")

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", __name__]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode((self._address.words, self._address.password_file)) + b"\n")
        return process


# ------------------------------------------------------------------------------------------------- in that process


class _Keeper:
    """Waits for orders, for the end of time, and for the end of whoever gives the orders."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._link: Link | None = None
        self._undo: list[str] = []
        self._session = 0
        self._due = 0.0
        self._undone = False

    def run(self) -> None:
        lines = b""
        while True:
            pause = max(0.0, self._due - time.monotonic()) if self._undo else None
            if not select.select([0], [], [], pause)[0]:
                self._carry_out()
                continue
            data = os.read(0, _LINE_BYTES)
            if not data:
                break
            lines += data
            *whole, lines = lines.split(b"\n")
            for line in whole:
                os.write(1, self._take(msgspec.json.decode(line, type=Order)) + b"\n")
        undo = self._undo
        self._carry_out()
        if undo and self._session and self._has_ended(self._session):
            self._undo = undo  # once more: it may have carried out only then what it was asked before we were gone
            self._carry_out()

    def _has_ended(self, session: int) -> bool:
        """Wait until that process of the server, whose client is gone, has ended as well."""
        end = time.monotonic() + _GIVE_UP_SECONDS
        while time.monotonic() < end:
            try:
                if self._connected().value(_THERE, str(session)) == "0":
                    return True
            except KnowngoodError:
                self._drop()
            time.sleep(_LOOK_SECONDS)
        return False

    def _take(self, order: Order) -> bytes:
        undone, self._undone = self._undone, False
        if order.undo:
            self._connected()
        self._undo, self._due = order.undo, time.monotonic() + order.seconds
        self._session = order.session
        return b"late" if undone else b"ok"

    def _carry_out(self) -> None:
        end = time.monotonic() + _GIVE_UP_SECONDS
        while self._undo and time.monotonic() < end:
            try:
                for each in self._undo:
                    self._connected().ask(each)
                self._undo, self._undone = [], True
            except KnowngoodError:
                self._drop()
                time.sleep(_AGAIN_SECONDS)

    def _connected(self) -> Link:
        if self._link is None:
            self._link = Link(self._address, "knowngood watchdog")
        return self._link

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


def main() -> None:
    """Serve one process, until it ends."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # it ends when there is nothing to undo, and nobody who could ask for it
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1)
        if not part:
            return
        line += part
    words, password_file = msgspec.json.decode(line, type=tuple[tuple[tuple[str, str], ...], str])
    with suppress(KnowngoodError, BrokenPipeError):
        _Keeper(Address(words, password_file)).run()


if __name__ == "__main__":
    main()
