"""What the feed and the warden of a database say to each other: requests, answers, refusals."""

from __future__ import annotations

import socket
import struct

import msgspec

_LENGTH = struct.Struct("<I")
_LIMIT = 512 << 20
_AT_ONCE = 1 << 20

BROKEN, GONE, BUSY, UNFIT, FAILED = "broken", "gone", "busy", "unfit", "failed"
"""Kinds of refusals: the chain is broken, there is no such file, it is locked, it cannot be followed, anything else."""


class Place(msgspec.Struct, array_like=True):
    """A place in the history of a database: which file, how far in which log."""

    inode: tuple[int, int]
    salts: bytes
    frame: int
    sums: tuple[int, int]
    page_size: int
    pages: int


class Transaction(msgspec.Struct, array_like=True):
    """What one commit wrote: pages by number, and the length of the database in pages after it."""

    pages: dict[int, bytes]
    size: int


class Request(msgspec.Struct, array_like=True):
    """A verb of the warden, and what it needs."""

    verb: str
    place: Place | None = None
    offset: int = 0
    length: int = 0
    lease: float = 0


class Answer(msgspec.Struct, array_like=True):
    """What it came to; `refused` is one of the kinds of refusals, with the reason in `text`."""

    refused: str = ""
    text: str = ""
    place: Place | None = None
    transactions: list[Transaction] = []
    data: bytes = b""
    done: bool = False


class Refusal(Exception):
    """The warden cannot: one of the kinds of refusals, and why."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


def send(to: socket.socket, words: Request | Answer) -> None:
    """Send one. Raises OSError."""
    data = msgspec.msgpack.encode(words)
    to.sendall(_LENGTH.pack(len(data)))
    to.sendall(data)


def receive(of: socket.socket) -> bytes:
    """The next one's bytes. Raises EOFError when nobody is there any more, OSError."""
    (length,) = _LENGTH.unpack(_exactly(of, _LENGTH.size))
    if length > _LIMIT:
        raise EOFError
    return _exactly(of, length)


def _exactly(of: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = of.recv(min(count - len(data), _AT_ONCE))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
