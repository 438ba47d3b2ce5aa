"""Asking the running `knowngood up`."""

from __future__ import annotations

import contextlib
import socket
import time

import msgspec

from knowngood.control.home import Home
from knowngood.control.up.listening import address
from knowngood.control.up.protocol import (
    MAX_ANSWER,
    Answer,
    Lines,
    Request,
    Running,
    ServiceNow,
    TooLong,
    read_answer,
    write_request,
)
from knowngood.core.errors import Busy, KnowngoodError

_PATIENCE = 5.0
_POLL = 0.1


def ask(home: Home, request: Request) -> Answer | None:
    """What it answers; None when none is running. Raises Busy when there is one that does not answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as to, address(home.socket) as where:
            to.settimeout(_PATIENCE)
            to.connect(where)
            to.sendall(write_request(request))
            return read_answer(_line(to))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return None
    except (OSError, EOFError, TooLong, msgspec.MsgspecError) as wrong:
        raise Busy(
            f"knowngood up does not answer at {home.socket}: {str(wrong) or 'it said nothing'}",
            hint="look at its log: journalctl -u knowngood",
        ) from None


def _line(to: socket.socket) -> bytes:
    lines, until = Lines(MAX_ANSWER, 1), time.monotonic() + _PATIENCE
    while True:
        to.settimeout(max(0.001, until - time.monotonic()))
        data = to.recv(1 << 16)
        if not data:
            raise EOFError
        if found := lines.feed(data):
            return found[0]


def running(home: Home) -> Running | None:
    """The state of the running process; None when there is none. Raises Busy."""
    answer = ask(home, Request("status"))
    if answer is None:
        return None
    if answer.running is None:
        raise Busy(answer.error.message if answer.error else "knowngood up gave no answer", hint="knowngood doctor")
    return answer.running


def keeper_holds(home: Home, service: str) -> bool:
    """Whether it follows a component of a service, so that only it can make points of it."""
    with contextlib.suppress(Busy):
        state = running(home)
        return state is not None and any(
            each.holds for row in state.services if row.name == service for each in row.followers
        )
    return False


def point_by_keeper(home: Home, service: str, name: str, level: str = "") -> str:
    """Have it make a point, and wait for that; the point's id. Raises what kept it from being made."""
    before = _row(home, service)
    answer = ask(home, Request("protect", service, name, level))
    if answer is None:
        raise _gone()
    if answer.error:
        raise KnowngoodError(answer.error.message, hint=answer.error.hint)
    while True:
        time.sleep(_POLL)
        row = _row(home, service)
        if row.newest != before.newest:
            return row.newest
        if row.failure is not None and (before.failure is None or row.failure.at_ns != before.failure.at_ns):
            raise KnowngoodError(row.failure.message, hint=row.failure.hint)


def _row(home: Home, service: str) -> ServiceNow:
    state = running(home)
    row = next((each for each in state.services if each.name == service), None) if state else None
    if row is None:
        raise _gone()
    return row


def _gone() -> Busy:
    return Busy("knowngood up has ended, or knows the service no longer", hint="run the command again")


def nudge(home: Home) -> None:
    """Have it look at the services again, if it runs. It would see by itself, a little later."""
    with contextlib.suppress(KnowngoodError):
        ask(home, Request("reload"))
