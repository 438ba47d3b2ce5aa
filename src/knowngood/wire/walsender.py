"""What a PostgreSQL server and those who follow it say to each other inside a copy ("Streaming Replication Protocol",
"Base backup" in the documentation of PostgreSQL 15)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from knowngood.core.errors import Damaged

_DATA = struct.Struct(">cQQq")
_ALIVE = struct.Struct(">cQqB")
_STATUS = struct.Struct(">cQQQqB")
_EPOCH_NS = 946_684_800 * 1_000_000_000  # PostgreSQL counts from 2000-01-01


@dataclass(frozen=True, slots=True)
class LogData:
    """A piece of the log: where it begins."""

    start: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Alive:
    """The server is there; `end` is where its log is. It may want an answer."""

    end: int
    answer: bool


def parse(message: bytes) -> LogData | Alive:
    """What the server says while it streams. Raises Damaged."""
    kind = message[:1]
    if kind == b"w" and len(message) >= _DATA.size:
        _, start, _, _ = _DATA.unpack_from(message)
        return LogData(start, message[_DATA.size :])
    if kind == b"k" and len(message) == _ALIVE.size:
        _, end, _, answer = _ALIVE.unpack(message)
        return Alive(end, bool(answer))
    raise Damaged("the server does not speak the replication protocol of PostgreSQL")


def status(received: int, durable: int, time_ns: int, *, answer: bool = False) -> bytes:
    """How far we are, for the server. With `answer` it is to say at once that it is there."""
    return _STATUS.pack(b"r", received, durable, durable, (time_ns - _EPOCH_NS) // 1000, answer)


@dataclass(frozen=True, slots=True)
class Archive:
    """A tar archive begins in a base backup. `location` is empty for the data folder, else that of a tablespace."""

    name: str
    location: str


def parse_archive(message: bytes) -> Archive:
    """The message that an archive begins. Raises Damaged."""
    parts = message[1:].split(b"\0")
    if len(parts) != 3 or parts[2]:
        raise Damaged("the server does not begin an archive of its base as PostgreSQL does")
    return Archive(parts[0].decode(errors="surrogateescape"), parts[1].decode(errors="surrogateescape"))
