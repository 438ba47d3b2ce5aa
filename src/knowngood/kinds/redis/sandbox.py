"""A throw-away Redis server on a recovered folder. It takes no part in any replication."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import closing

from knowngood.core.errors import KnowngoodError, UsageError
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import Sandbox
from knowngood.databases.server import Server
from knowngood.kinds.redis.address import Address
from knowngood.kinds.redis.link import Link
from knowngood.wire.resp import Refused, Reply

_START_SECONDS = 600.0  # it loads everything into memory


class RedisSandbox:
    """A running server (port Sandbox)."""

    def __init__(self, server: Server, socket: str) -> None:
        self._server = server
        self._socket = socket

    @property
    def address(self) -> Mapping[str, str]:
        """Its socket."""
        return {"url": f"unix://{self._socket}", "path": self._server.folder}

    def ask(self, question: str, timeout: float) -> list[tuple[str, ...]]:
        """A command, as it would be typed: `HGET cart:7 total`."""
        words = shlex.split(question)
        if not words:
            raise UsageError("the question is empty")
        with closing(Link(Address(socket=self._socket), timeout)) as link:
            try:
                return [tuple(_texts(reply)) for reply in _rows(link.ask(*words))]
            except Refused as wrong:
                raise KnowngoodError(f"the recovered server refuses '{words[0]}': {wrong}") from None

    def stop(self) -> None:
        """End it."""
        self._server.stop()

    def save(self, seconds: float) -> None:
        """Write all of it as one file. Raises KnowngoodError."""
        self.ask("SAVE", seconds)

    def end(self, seconds: float) -> None:
        """End it with all that it has written down. Raises KnowngoodError."""
        self._server.end(seconds)


def start_sandbox(component: ComponentSpec, folder: str) -> Sandbox:  # noqa: ARG001 - all that matters is in the folder
    """Start a server; return when it has loaded everything."""
    return start_server(folder, "redis")


def start_server(folder: str, user: str) -> RedisSandbox:
    """The same, as this user when we are root."""
    server = Server(folder, user)
    socket = os.path.join(server.sockets, "redis.sock")
    options = {
        "dir": folder,
        "port": "0",
        "unixsocket": socket,
        "unixsocketperm": "700",
        "appendonly": "yes",
        "appendfsync": "no",
        "auto-aof-rewrite-percentage": "0",
        "save": "",
        "daemonize": "no",
        "enable-debug-command": "local",
    }
    command = ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]
    server.start(command, lambda: _answers(socket), _START_SECONDS)
    return RedisSandbox(server, socket)


def _answers(socket: str) -> bool:
    try:
        with closing(Link(Address(socket=socket))):
            return True
    except KnowngoodError:
        return False


def _rows(reply: Reply) -> Iterable[Reply]:
    return reply if isinstance(reply, list) else [reply]


def _texts(reply: Reply) -> Iterable[str]:
    parts = reply if isinstance(reply, list) else [reply]
    return [
        "" if each is None else each.decode(errors="replace") if isinstance(each, bytes) else str(each)
        for each in parts
    ]
