"""A connection to a Redis server. Errors of sockets and of the server become ours here."""

from __future__ import annotations

import socket
from contextlib import suppress

from knowngood.core.errors import Busy, Damaged, KnowngoodError, UsageError
from knowngood.databases.feed import Away
from knowngood.kinds.redis.address import Address
from knowngood.wire.resp import Refused, Replies, Reply, command

_SECONDS = 10.0
_AT_ONCE = 256 << 10


class Link:
    """One connection, logged in."""

    def __init__(self, address: Address, seconds: float = _SECONDS) -> None:
        """Raises Away, UsageError when it does not let us in."""
        self._address = address
        self._replies = Replies()
        self._socket = socket.socket(socket.AF_UNIX if address.socket else socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._connect(seconds)
            self._log_in()
        except BaseException:
            self.close()
            raise

    def _connect(self, seconds: float) -> None:
        try:
            if self._address.socket:
                self._socket.settimeout(seconds)
                self._socket.connect(self._address.socket)
            else:
                self._socket.close()
                self._socket = socket.create_connection((self._address.host, self._address.port), seconds)
        except OSError as wrong:
            raise self._away(wrong) from None

    def _log_in(self) -> None:
        password = self._address.password()
        try:
            if password is not None:
                self.ask("AUTH", *([self._address.user] if self._address.user else []), password)
            self.ask("PING")
        except Refused as wrong:
            hint = "name the file with its password: password-file: /etc/knowngood/redis.secret"
            raise UsageError(f"Redis at {self._address.text} does not let us in: {wrong}", hint=hint) from None

    def send(self, *words: str | bytes | int) -> None:
        """Send a command without waiting for its reply. Raises Away."""
        try:
            self._socket.sendall(command(*words))
        except OSError as wrong:
            raise self._away(wrong) from None

    def ask(self, *words: str | bytes | int) -> Reply:
        """Send a command; its reply. Raises Refused with the server's words, Away."""
        self.send(*words)
        return self.reply()

    def ask_text(self, *words: str | bytes | int) -> str:
        """Its reply as text. Raises UsageError when the server refuses, Away."""
        try:
            reply = self.ask(*words)
        except Refused as wrong:
            raise self.refused(words[0], wrong) from None
        return reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)

    def refused(self, word: str | bytes | int, wrong: Refused) -> KnowngoodError:
        """What to tell of a command that the server refused."""
        shown = word.decode() if isinstance(word, bytes) else str(word)
        if str(wrong).startswith("NOPERM"):
            who = self._address.user or "default"
            hint = f"allow it: ACL SETUSER {who} +psync +replconf +ping +info +config|get +client|pause +client|unpause"
            return UsageError(f"Redis at {self._address.text} does not allow {shown}: {wrong}", hint=hint)
        if str(wrong).startswith(("LOADING", "BUSY", "MASTERDOWN", "NOMASTERLINK")):
            return Busy(f"Redis at {self._address.text} cannot do {shown} now: {wrong}")
        return UsageError(f"Redis at {self._address.text} refuses {shown}: {wrong}")

    def reply(self) -> Reply:
        """The next reply. Raises Refused, Away, Damaged."""
        while (found := self._replies.next()) is None:
            self._replies.feed(self.receive())
        if isinstance(found[0], Refused):
            raise found[0]
        return found[0]

    def receive(self) -> bytes:
        """What comes, at least one byte. Raises Away."""
        try:
            data = self._socket.recv(_AT_ONCE)
        except OSError as wrong:
            raise self._away(wrong) from None
        if not data:
            raise Away(f"Redis at {self._address.text} has closed the connection")
        return data

    def rest(self) -> bytes:
        """What came behind the last reply."""
        return self._replies.rest()

    def close(self) -> None:
        """Close it; whoever waits in it is let go."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _away(self, wrong: OSError) -> KnowngoodError:
        reason = "it does not answer" if isinstance(wrong, TimeoutError) else (wrong.strerror or str(wrong)).lower()
        return Away(f"Redis at {self._address.text} cannot be reached: {reason}")


def fields(info: str) -> dict[str, str]:
    """What INFO says, by name."""
    lines = (line.partition(":") for line in info.splitlines() if ":" in line)
    return {name: value.strip() for name, _, value in lines}


def expect_bytes(reply: Reply) -> bytes:
    """A reply that has to be a text. Raises Damaged."""
    if not isinstance(reply, bytes):
        raise Damaged("the server does not speak the protocol of Redis")
    return reply
