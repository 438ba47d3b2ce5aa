"""The doorkeeper: a thread that answers on the control socket, also while a verb is at work.

It keeps the watchdog quiet too, for as long as the loop really moves.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from knowngood.control.up.listening import peer_uid
from knowngood.control.up.notify import Notifier
from knowngood.control.up.protocol import (
    MAX_REQUEST,
    Answer,
    Lines,
    Request,
    Told,
    TooLong,
    read_request,
    told,
    write_answer,
)

MOST_GUESTS = 16
_PATIENCE = 10.0  # seconds that a guest may be silent
_BITE = 1 << 16
_AT_ONCE = 8
_BREATH = 0.1


@dataclass(slots=True, eq=False)
class _Guest:
    """One connection."""

    connection: socket.socket
    until: float
    lines: Lines = field(default_factory=lambda: Lines(MAX_REQUEST, _AT_ONCE))
    answers: bytes = b""
    leaving: bool = False


class Doorkeeper:
    """Runs while the context is entered. `handle` answers requests in this thread; it must not wait for anybody."""

    def __init__(
        self,
        listener: socket.socket,
        handle: Callable[[Request], Answer],
        notifier: Notifier,
        moves: Callable[[float], bool],
    ) -> None:
        self._listener = listener
        self._handle = handle
        self._notifier = notifier
        self._moves = moves
        self._selector = selectors.DefaultSelector()
        self._guests: set[_Guest] = set()
        self._over, self._end = os.pipe2(os.O_CLOEXEC)
        self._ping = 0.0  # when the watchdog is to be told next
        self._thread = threading.Thread(target=self._run, name="doorkeeper", daemon=True)

    def __enter__(self) -> Doorkeeper:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._over, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._end, b"!")
        self._thread.join()
        for each in list(self._guests):
            self._goodbye(each)
        self._selector.close()
        os.close(self._over)
        os.close(self._end)

    def _run(self) -> None:
        while True:
            self._keep_alive()
            for key, what in self._selector.select(self._pause()):
                if key.fileobj == self._over:
                    return
                if key.fileobj is self._listener:
                    self._welcome()
                elif isinstance(key.data, _Guest):
                    self._serve(key.data, what)
            self._dismiss_silent()

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if self._notifier.watchdog and now >= self._ping:
            if self._moves(now):
                self._notifier.alive()
            self._ping = now + self._notifier.watchdog / 3

    def _pause(self) -> float | None:
        moments = [each.until for each in self._guests]
        if self._notifier.watchdog:
            moments.append(self._ping)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    # ------------------------------------------------------------------------------------------------------ guests

    def _welcome(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # gone again; or no more files can be open, and then there is no use in asking at once
            time.sleep(_BREATH)
            return
        if peer_uid(connection) not in (0, os.geteuid()):
            connection.close()
            return
        if len(self._guests) >= MOST_GUESTS:
            self._goodbye(min(self._guests, key=lambda each: each.until))  # silent for longest
        connection.setblocking(False)
        guest = _Guest(connection, time.monotonic() + _PATIENCE)
        self._guests.add(guest)
        self._selector.register(connection, selectors.EVENT_READ, guest)

    def _serve(self, guest: _Guest, what: int) -> None:
        try:
            if what & selectors.EVENT_READ:
                self._listen(guest)
            if guest.answers:
                guest.answers = guest.answers[guest.connection.send(guest.answers) :]
        except BlockingIOError:
            pass
        except OSError:
            guest.leaving, guest.answers = True, b""
        if guest.leaving and not guest.answers:
            self._goodbye(guest)
        else:  # who does not take answers is not asked for more
            wanted = selectors.EVENT_WRITE if guest.answers else selectors.EVENT_READ
            self._selector.modify(guest.connection, wanted, guest)

    def _listen(self, guest: _Guest) -> None:
        data = guest.connection.recv(_BITE)
        guest.until = time.monotonic() + _PATIENCE
        guest.leaving = not data
        try:
            answers = list(map(self._answer, guest.lines.feed(data)))
        except TooLong:
            bounds = f"a request has at most {MAX_REQUEST} bytes, and {_AT_ONCE} can be asked at once"
            answers, guest.leaving = [Answer(error=Told("usage", bounds))], True
        guest.answers += b"".join(map(write_answer, answers))

    def _answer(self, line: bytes) -> Answer:
        try:
            return self._handle(read_request(line))
        except Exception as wrong:  # noqa: BLE001 whatever a guest says, the next one is served
            return Answer(error=told(wrong))

    def _dismiss_silent(self) -> None:
        now = time.monotonic()
        for each in [guest for guest in self._guests if guest.until <= now]:
            self._goodbye(each)

    def _goodbye(self, guest: _Guest) -> None:
        self._guests.discard(guest)
        with contextlib.suppress(KeyError):
            self._selector.unregister(guest.connection)
        guest.connection.close()
