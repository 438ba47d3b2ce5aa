"""RESP2, the protocol of Redis: commands to bytes, bytes to replies (redis.io, "Redis serialization protocol")."""

from __future__ import annotations

from knowngood.core.errors import Damaged

LIMIT = 16 << 20
"""Bytes of one reply; what we ask for is far smaller. (A base and the command stream are no replies.)"""

_LINE = 64 << 10
_DEPTH = 8

Reply = bytes | int | None | list["Reply"]


class Refused(Exception):
    """An error reply: the server's own words."""


def command(*words: str | bytes | int) -> bytes:
    """A command as bytes."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class Replies:
    """Takes bytes as they come, gives whole replies."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """More bytes. Raises Damaged when a reply becomes too long."""
        self._data += data
        if len(self._data) > LIMIT:
            raise Damaged("a reply of the server is too long")

    def next(self) -> tuple[Reply | Refused] | None:
        """The next reply, in a tuple of its own; None when it is not there yet. Raises Damaged.

        Single newlines in front of it are skipped: a server sends them while it is busy with a base.
        """
        while self._data[:1] == b"\n":
            del self._data[:1]
        found = self._read(0, 0)
        if found is None:
            return None
        reply, end = found
        del self._data[:end]
        return (reply,)

    def rest(self) -> bytes:
        """What came behind the last reply, and is none."""
        data, self._data = bytes(self._data), bytearray()
        return data

    def _read(self, at: int, depth: int) -> tuple[Reply | Refused, int] | None:
        end = self._data.find(b"\r\n", at, at + _LINE)
        if end < 0:
            if len(self._data) - at > _LINE:
                raise Damaged("a line of the server is too long")
            return None
        kind, text, after = self._data[at : at + 1], bytes(self._data[at + 1 : end]), end + 2
        if kind == b"+":
            return text, after
        if kind == b"-":
            return Refused(text.decode(errors="replace")), after
        number = _number(text)
        if kind == b":":
            return number, after
        if kind == b"$":
            return self._bulk(number, after)
        if kind == b"*" and depth < _DEPTH:
            return self._list(number, after, depth)
        raise Damaged("the server does not speak the protocol of Redis")

    def _bulk(self, length: int, at: int) -> tuple[Reply, int] | None:
        if length < 0:
            return None, at
        if length > LIMIT:
            raise Damaged("a reply of the server is too long")
        if len(self._data) < at + length + 2:
            return None
        return bytes(self._data[at : at + length]), at + length + 2

    def _list(self, count: int, at: int, depth: int) -> tuple[Reply, int] | None:
        if count < 0:
            return None, at
        if count > LIMIT:
            raise Damaged("a reply of the server is too long")
        found: list[Reply] = []
        for _ in range(count):
            item = self._read(at, depth + 1)
            if item is None:
                return None
            value, at = item
            found.append(str(value).encode() if isinstance(value, Refused) else value)
        return found, at


def _number(text: bytes) -> int:
    if not text.removeprefix(b"-").isdigit() or len(text) > 20:
        raise Damaged("the server does not speak the protocol of Redis")
    return int(text)
