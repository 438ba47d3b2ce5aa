"""The base of a replica: an RDB as the server sends it, of known length or up to a marker (Redis, "Replication")."""

from __future__ import annotations

from collections.abc import Callable

from knowngood.core.errors import Damaged

_LINE = 256
_MARKER = 40


class BaseStream:
    """Reads the RDB; what comes behind it begins the command stream."""

    def __init__(self, receive: Callable[[], bytes], first: bytes) -> None:
        """`receive` gives the next bytes, at least one; `first` came already."""
        self._receive = receive
        self._data = bytearray(first)
        self._left, self._marker = self._header()

    def _header(self) -> tuple[int, bytes]:
        """`$LENGTH` or `$EOF:MARKER`, after empty lines that keep the connection alive."""
        while True:
            while self._data[:1] == b"\n":
                del self._data[:1]
            end = self._data.find(b"\r\n", 0, _LINE)
            if end >= 0:
                break
            if len(self._data) > _LINE:
                raise Damaged("the server does not begin its base as Redis does")
            self._data += self._receive()
        line = bytes(self._data[:end])
        del self._data[: end + 2]
        if line.startswith(b"$EOF:") and len(line) == 5 + _MARKER:
            return -1, line[5:]
        if line[:1] != b"$" or not line[1:].isdigit() or len(line) > 20:
            raise Damaged(f"the server does not give a base: {line.decode(errors='replace')}")
        return int(line[1:]), b""

    def read(self, most: int) -> bytes:
        """The next bytes of the RDB; b"" at its end."""
        if self._marker:
            return self._read_marked(most)
        if not self._left:
            return b""
        if not self._data:
            self._data += self._receive()
        part = bytes(self._data[: min(most, self._left)])
        del self._data[: len(part)]
        self._left -= len(part)
        return part

    def _read_marked(self, most: int) -> bytes:
        while self._left:
            at = self._data.find(self._marker)
            if at == 0:
                del self._data[:_MARKER]
                self._left = 0
                break
            ready = at if at > 0 else len(self._data) - _MARKER + 1
            if ready > 0:
                part = bytes(self._data[: min(most, ready)])
                del self._data[: len(part)]
                return part
            self._data += self._receive()
        return b""

    def rest(self) -> bytes:
        """What came behind it."""
        return bytes(self._data)
