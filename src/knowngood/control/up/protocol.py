"""What is said on the control socket: a line of JSON asks, a line of JSON answers. Bytes in, requests out; no I/O."""

from __future__ import annotations

from typing import Literal

import msgspec

from knowngood.core.errors import KnowngoodError, UsageError
from knowngood.core.malformed import MALFORMED

MAX_REQUEST = 4096
MAX_ANSWER = 1 << 20


class Request(msgspec.Struct, frozen=True):
    """`status`, `protect` (make a point of `service` now), or `reload` (look at the services again)."""

    ask: Literal["status", "protect", "reload"]
    service: str = ""
    name: str = ""  # of the point
    level: str = ""  # that is asked for; empty for what the policy says


class Told(msgspec.Struct, frozen=True):
    """What went wrong, in words, and what to do next."""

    code: str
    message: str
    hint: str = ""


def told(wrong: Exception) -> Told:
    """An error of ours in words; any other is a mistake of ours, and says so."""
    if isinstance(wrong, KnowngoodError):
        return Told(wrong.code, plain(wrong.message), plain(wrong.hint))
    return Told("unexpected", plain(f"unexpected {type(wrong).__name__}: {wrong}"[:300]), "please report this")


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The failure of one obligation: what went wrong, when it was last tried, and how often in a row."""

    code: str
    message: str
    hint: str
    at_ns: int
    attempts: int


class Doing(msgspec.Struct, frozen=True, kw_only=True):
    """A verb at work, and its counters (`core/progress.py`)."""

    verb: str
    service: str
    since_ns: int
    phase: str
    files: int
    total_files: int
    bytes: int
    total_bytes: int
    landed_bytes: int
    current: str


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What waits in a spool: since when (ns), how many records and bytes, and how many bytes may. When it is `full`,
    what changes is told as one change later. `room` is for how many seconds there is some left, if it goes on like
    this; None for unknown."""

    since_ns: int
    records: int
    bytes: int
    limit: int
    full: bool
    room: float | None


class BaseNow(msgspec.Struct, frozen=True, kw_only=True):
    """A base that is being read beside, for so many seconds; of `total_bytes`, 0 for unknown. When it is the `first`,
    there is no other one to make points of."""

    seconds: float
    bytes: int
    total_bytes: int
    first: bool


class FollowerState(msgspec.Struct, frozen=True, kw_only=True):
    """What a follower says of itself. `behind` is how many seconds of changes are not yet safe; None for unknown.
    While it `holds` the component, nobody else can make checkpoints of it. `unsafe` is as in Standing."""

    component: str
    capture: str
    holds: bool = False
    behind: float | None = None
    note: str = ""
    failure: Told | None = None
    waiting: Waiting | None = None
    base: BaseNow | None = None
    unsafe: str | None = None


class ServiceNow(msgspec.Struct, frozen=True, kw_only=True):
    """How a service stands. Seconds, measured on a clock that nobody can set; None for unknown or never."""

    name: str
    age: float | None  # since the newest complete point was begun
    point: str  # its id; empty for none
    newest: str = ""  # the id of the newest point of any status; empty for none
    due_in: float | None
    failure: Failure | None
    followers: tuple[FollowerState, ...] = ()


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """The process and all it keeps."""

    process: int
    since_ns: int
    started_by: str
    stopping: bool
    waiting_for: str  # who is at work in the home while something is due; empty for nobody
    doing: Doing | None
    services: tuple[ServiceNow, ...]
    tidy_due_in: float | None
    tidy_failure: Failure | None


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Exactly one of the three."""

    running: Running | None = None
    done: bool = False
    error: Told | None = None


class TooLong(Exception):
    """More came without a line's end than is read here."""


class Lines:
    """Cuts a stream into lines of bounded length, and takes only so many at once."""

    def __init__(self, limit: int, most: int) -> None:
        self._limit = limit
        self._most = most
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole now, without their ends. Raises TooLong."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(lines) > self._most or max(map(len, (*lines, self._rest))) > self._limit:
            raise TooLong
        return lines


_request = msgspec.json.Decoder(Request)
_answer = msgspec.json.Decoder(Answer)


def read_request(line: bytes) -> Request:
    """A line as a request. Raises UsageError."""
    try:
        return _request.decode(line)
    except (msgspec.MsgspecError, *MALFORMED) as wrong:
        raise UsageError(f"this is no request: {str(wrong)[:200]}", hint='ask as {"ask": "status"}') from None


def write_request(request: Request) -> bytes:
    """A request as a line."""
    return msgspec.json.encode(request) + b"\n"


def read_answer(line: bytes) -> Answer:
    """A line as an answer. Raises msgspec.MsgspecError."""
    return _answer.decode(line)


def write_answer(answer: Answer) -> bytes:
    """An answer as a line of bounded length."""
    line = msgspec.json.encode(answer) + b"\n"
    if len(line) > MAX_ANSWER:
        return write_answer(Answer(error=Told("failed", "the answer is too long", "knowngood service list")))
    return line


def plain(text: str) -> str:
    """Text that JSON can hold: a byte of a name that is not UTF-8 is shown as one that cannot be."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
