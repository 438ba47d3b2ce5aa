"""MariaDB servers of tests: private sockets, an unprivileged user, ended for sure."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from knowngood.core.errors import KnowngoodError
from knowngood.core.model import ComponentSpec
from knowngood.databases.server import Server
from knowngood.kinds.mariadb.access import Access, value

_START_SECONDS = 120.0
_PROGRAMS = ("mariadbd", "mariadb-install-db", "mariabackup", "mariadb-binlog", "mariadb")


class MariaServer:
    """One server with a database `shop`. `folder` is for its data; as root, it and what is above it can be entered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sockets = Path(tempfile.mkdtemp(prefix="kg-maria-"))
        self.sockets.chmod(0o755)
        self.socket = self.sockets / "s"
        self.user = "root"
        self._server: Server | None = None

    @property
    def access(self) -> Access:
        """As its administrator."""
        return Access(socket=str(self.socket), user="root")

    @property
    def component(self) -> ComponentSpec:
        """The component that it is."""
        return ComponentSpec(name="db", kind="mariadb", options={"socket": str(self.socket), "user": self.user})

    def create(self) -> None:
        """Its data folder, and the database."""
        self.folder.mkdir(parents=True)
        command = ["mariadb-install-db", "--no-defaults", f"--datadir={self.folder}", "--skip-test-db"]
        command += ["--auth-root-authentication-method=normal", "--skip-name-resolve", f"--tmpdir={self.sockets}"]
        done = subprocess.run(command, check=False, capture_output=True)
        assert not done.returncode, done.stdout + done.stderr
        self.start()
        self.ask("CREATE DATABASE shop")

    def start(self) -> None:
        """Start it, wait until it answers."""
        server = self._server = Server(str(self.folder), "mysql")
        own = Path(server.sockets) / "s"
        command = ["mariadbd", "--no-defaults", f"--datadir={self.folder}", f"--socket={own}", "--skip-networking"]
        command += [f"--log-bin={self.folder}/bin", "--server-id=7", f"--pid-file={server.sockets}/pid"]
        command += [f"--tmpdir={server.sockets}"]  # a server that starts removes what others have in a shared one
        command += ["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--sync-binlog=1"]
        self.socket.unlink(missing_ok=True)
        self.socket.symlink_to(own)
        server.start(command, self._answers, _START_SECONDS)
        os.chmod(server.sockets, 0o755)

    def _answers(self) -> bool:
        with suppress(KnowngoodError), closing(self.access.connect(10)) as connection:
            return value(connection, "SELECT 1") == 1
        return False

    def stop(self) -> None:
        """End it."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def ask(self, *statements: str) -> list[tuple[Any, ...]]:
        """The rows of the last statement."""
        rows: list[tuple[Any, ...]] = []
        with closing(self.access.connect(60)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = list(cursor.fetchall())
        return rows

    def close(self) -> None:
        """End it, leave nothing."""
        self.stop()
        shutil.rmtree(self.sockets, ignore_errors=True)


@contextmanager
def mariadb_server(folder: Path) -> Iterator[MariaServer]:
    """A server that runs while the block does."""
    for program in _PROGRAMS:
        if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
            pytest.skip(f"needs the command {program} (tools/system-packages)")
    above = folder.parent
    while os.geteuid() == 0 and above != above.parent:  # another user runs it
        with suppress(OSError):
            above.chmod(above.stat().st_mode | 0o011)
        above = above.parent
    server = MariaServer(folder)
    try:
        server.create()
        yield server
    finally:
        server.close()
