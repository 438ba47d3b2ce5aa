"""Redis servers of tests: private sockets, an unprivileged user, ended for sure."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from knowngood.core.errors import KnowngoodError
from knowngood.core.model import ComponentSpec
from knowngood.databases.server import Server
from knowngood.kinds.redis.address import Address
from knowngood.kinds.redis.link import Link
from knowngood.wire.resp import Reply

_START_SECONDS = 60.0


@dataclass
class RedisServer:
    """One server. `options` go to its command line; `folder` is its data folder."""

    folder: Path
    options: dict[str, str] = field(default_factory=dict)
    password_file: str = ""

    def __post_init__(self) -> None:
        self.sockets = Path(tempfile.mkdtemp(prefix="kg-redis-"))
        self.sockets.chmod(0o755)
        self.folder.mkdir(exist_ok=True)
        self.socket = self.sockets / "redis.sock"
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """As a service file says it."""
        return f"unix://{self.socket}"

    @property
    def component(self) -> ComponentSpec:
        """The component that it is."""
        more = {"password-file": self.password_file} if self.password_file else {}
        return ComponentSpec(name="cache", kind="redis", options={"url": self.url, **more})

    def start(self) -> None:
        """Start it, wait until it answers."""
        server = self._server = Server(str(self.folder), "redis")
        own = Path(server.sockets) / "redis.sock"
        words = {
            "dir": str(self.folder), "port": "0", "unixsocket": str(own), "unixsocketperm": "777", "save": "",
            "repl-diskless-sync-delay": "0", "repl-backlog-size": "8mb", "enable-debug-command": "local",
            **self.options,
        }  # fmt: skip
        command = ["redis-server", *(word for name, value in words.items() for word in (f"--{name}", value))]
        server.start(command, lambda: self._answers(own), _START_SECONDS)
        self.socket.unlink(missing_ok=True)
        self.socket.symlink_to(own)

    def _answers(self, socket: Path) -> bool:
        try:
            with closing(Link(Address(socket=str(socket), password_file=self.password_file))):
                return True
        except KnowngoodError:
            return False

    def stop(self) -> None:
        """End it at once; what is in memory is gone unless it was saved."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def ask(self, *words: str | bytes | int) -> Reply:
        """The reply to one command."""
        with closing(Link(Address(socket=str(self.socket), password_file=self.password_file))) as link:
            return link.ask(*words)

    def link(self) -> Link:
        """A connection of one's own."""
        return Link(Address(socket=str(self.socket), password_file=self.password_file), 60)

    def digest(self) -> Reply:
        """What all its data comes to."""
        return self.ask("DEBUG", "DIGEST")

    def close(self) -> None:
        """End it, leave nothing."""
        self.stop()
        shutil.rmtree(self.sockets, ignore_errors=True)


@contextmanager
def redis_server(folder: Path, **options: str) -> Iterator[RedisServer]:
    """A server that runs while the block does."""
    if not shutil.which("redis-server"):
        pytest.skip("needs the command redis-server (tools/system-packages)")
    server = RedisServer(folder, {name.replace("_", "-"): value for name, value in options.items()})
    try:
        server.start()
        yield server
    finally:
        server.close()
