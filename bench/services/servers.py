"""The four databases of a service, as their own programs run them by default: durable, on private sockets."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from knowngood.core.errors import KnowngoodError
from knowngood.databases.server import Server
from knowngood.kinds.redis.address import Address
from knowngood.kinds.redis.link import Link

_SECONDS = 120.0
_VERSIONS = Path("/usr/lib/postgresql")


def postgres_programs() -> Path | None:
    """The folder of the newest PostgreSQL that is installed; None without any."""
    found = sorted(_VERSIONS.glob("*/bin/postgres"), key=lambda each: int(each.parts[-3]))
    return found[-1].parent if found else None


def missing() -> list[str]:
    """Programs that a service of all four kinds needs and that are not here."""
    programs = ("mariadbd", "mariadb-install-db", "mariabackup", "mariadb-binlog", "redis-server")
    path = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin"
    there = [each for each in programs if not shutil.which(each, path=path)]
    return there if postgres_programs() else [*there, "postgres"]


class Postgres:
    """A server of PostgreSQL, at its defaults."""

    kind = "postgres"

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        programs = postgres_programs()
        assert programs is not None
        self.programs, self.data, self.settings = programs, folder, settings
        folder.mkdir()
        self._server = Server(str(folder), "postgres")
        self.sockets = self._server.sockets
        self._server.run([str(programs / "initdb"), "-D", str(folder), "-A", "trust", "-U", "postgres"], _SECONDS)
        self.start()

    @property
    def dsn(self) -> str:
        """How to reach it."""
        return f"host={self.sockets} user=postgres dbname=postgres"

    @property
    def described(self) -> str:
        """As a component of a service file."""
        return f'{{kind: postgres, dsn: "{self.dsn}"}}'

    def start(self) -> None:
        """Start it, wait until it answers."""
        words = [word for each in ("listen_addresses=", *self.settings) for word in ("-c", each)]
        command = [str(self.programs / "postgres"), "-D", str(self.data), "-k", self.sockets, *words]
        self._server.start(command, self._answers, _SECONDS)

    def _answers(self) -> bool:
        with suppress(psycopg.Error), closing(self.connect()):
            return True
        return False

    def connect(self) -> psycopg.Connection[Any]:
        """A connection on which every statement is a transaction."""
        return psycopg.connect(self.dsn, autocommit=True)

    def run(self, program: str, *words: object) -> str:
        """What one of PostgreSQL's programs says, by the same user as the server's where that matters."""
        command = [str(self.programs / program), *map(str, words)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")
        return done.stdout

    def close(self) -> None:
        """End it; its data stay."""
        self._server.stop()


class MariaDB:
    """A server of MariaDB whose binary log is as durable as its data."""

    kind = "mariadb"

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._server = Server(str(folder), "mysql")
        self.socket = f"{self._server.sockets}/s"
        make = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}", "--skip-test-db"]
        make += [f"--tmpdir={self._server.sockets}"]  # a server that starts removes what others have in a shared one
        self._server.run([*make, "--auth-root-authentication-method=normal", "--skip-name-resolve"], _SECONDS)
        command = ["mariadbd", "--no-defaults", f"--datadir={folder}", f"--socket={self.socket}", "--skip-networking"]
        command += [f"--log-bin={folder}/bin", "--server-id=7", "--sync-binlog=1"]
        command += [f"--pid-file={self._server.sockets}/pid", f"--tmpdir={self._server.sockets}"]
        self._server.start(command, self._answers, _SECONDS)
        with closing(self.connect("")) as connection, connection.cursor() as cursor:
            cursor.execute("create database shop")

    @property
    def described(self) -> str:
        """As a component of a service file."""
        return f"{{kind: mariadb, socket: {self.socket}, user: root}}"

    def _answers(self) -> bool:
        with suppress(pymysql.Error), closing(self.connect("")):
            return True
        return False

    def connect(self, database: str = "shop") -> Any:
        """A connection on which every statement is a transaction."""
        return pymysql.connect(unix_socket=self.socket, user="root", database=database or None, autocommit=True)

    def close(self) -> None:
        """End it."""
        self._server.stop()


class Redis:
    """A server of Redis. What it keeps itself does not matter here."""

    kind = "redis"

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._server = Server(str(folder), "redis")
        self.socket = f"{self._server.sockets}/s"
        words = {"dir": str(folder), "port": "0", "unixsocket": self.socket, "save": "", "repl-backlog-size": "32mb"}
        words["repl-diskless-sync-delay"] = "0"
        command = ["redis-server", *(word for name, value in words.items() for word in (f"--{name}", value))]
        self._server.start(command, self._answers, _SECONDS)

    @property
    def described(self) -> str:
        """As a component of a service file."""
        return f'{{kind: redis, url: "unix://{self.socket}"}}'

    def _answers(self) -> bool:
        with suppress(KnowngoodError), closing(self.connect()):
            return True
        return False

    def connect(self) -> Link:
        """A connection."""
        return Link(Address(socket=self.socket), 60)

    def close(self) -> None:
        """End it."""
        self._server.stop()


class Sqlite:
    """A database of SQLite with a write-ahead log, synced at each commit."""

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = folder / "stats.db"
        with closing(self.connect()) as db:
            db.execute("pragma journal_mode=wal")

    @property
    def described(self) -> str:
        """As a component of a service file."""
        return f"{{kind: sqlite, path: {self.path}}}"

    def connect(self) -> sqlite3.Connection:
        """A connection on which every statement is a transaction."""
        return sqlite3.connect(self.path, isolation_level=None, timeout=60)

    def close(self) -> None:
        """Nothing runs."""
