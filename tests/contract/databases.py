"""What the suite of database kinds plays with: one real database each. A new kind joins by a line in PLAYS."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol

from knowngood.core.log import LogRecord
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import Kind
from knowngood.kinds.files import FilesKind
from knowngood.kinds.mariadb import mariadb_kind
from knowngood.kinds.postgres import postgres_kind
from knowngood.kinds.redis import redis_kind
from knowngood.kinds.sqlite.kind import sqlite_kind
from tests.servers.mariadb import MariaServer, mariadb_server
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.redis import RedisServer, redis_server


class Play(Protocol):
    """One database with a set of numbers in it."""

    kind: Kind
    question: str
    """Asks a sandbox for the numbers, one a row."""
    resumes_after_restart: bool
    """Whether following goes on without a gap when the server is restarted."""
    has_server: bool

    @property
    def component(self) -> ComponentSpec:
        """The component that it is."""
        ...

    def write(self, number: int) -> None:
        """Add a number; it is acknowledged when this returns."""
        ...

    def has_landed(self, records: list[LogRecord]) -> bool:
        """Whether these records have all that was written: the first of them that comes need not be it."""
        ...

    def numbers(self) -> set[int]:
        """What the server itself has."""
        ...

    def restart(self) -> None:
        """The server ends, and begins again with all that it acknowledged."""
        ...

    def stop(self) -> None:
        """The server ends."""
        ...

    def start(self) -> None:
        """It begins again."""
        ...

    def forget(self) -> None:
        """What was not taken yet can never be had from the log: a new base is needed."""
        ...

    def strangers(self) -> Iterator[ComponentSpec]:
        """The component as somebody describes it who may not read it."""
        ...


class RedisPlay:
    """A Redis server that keeps an append-only file of its own."""

    question = "SMEMBERS numbers"
    has_server = True
    resumes_after_restart = False  # it saves no place in its history with an append-only file

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.kind = redis_kind(FilesKind())

    @property
    def component(self) -> ComponentSpec:
        """The server's."""
        return self.server.component

    def write(self, number: int) -> None:
        """One more member of a set."""
        self.server.ask("SADD", "numbers", number)

    def has_landed(self, records: list[LogRecord]) -> bool:
        """Whether the server was told that all it has sent is durable."""
        told = self.server.ask("INFO", "replication")
        assert isinstance(told, bytes)
        sent = re.findall(rb"master_repl_offset:(\d+)", told)
        return any(int(each) >= int(sent[0]) for each in re.findall(rb"slave\d+:.*\boffset=(\d+)", told))

    def numbers(self) -> set[int]:
        """All of it."""
        found = self.server.ask(*self.question.split())
        assert isinstance(found, list)
        return {int(each) for each in found if isinstance(each, bytes)}

    def restart(self) -> None:
        """It reads its file."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Everything it acknowledged is in its file."""
        self.server.stop()

    def start(self) -> None:
        """With its data."""
        self.server.start()

    def forget(self) -> None:
        """Another history begins."""
        self.server.ask("DEBUG", "CHANGE-REPL-ID")
        self.server.ask("CLIENT", "KILL", "TYPE", "replica")

    def strangers(self) -> Iterator[ComponentSpec]:
        """Without a password, with a wrong one, without rights."""
        name, folder = self.component.name, self.server.sockets
        self.server.ask("ACL", "SETUSER", "poor", "on", ">poor", "~*", "+ping", "+info")
        self.server.ask("ACL", "SETUSER", "default", ">right")
        secrets = {"wrong": "", "poor": "poor"}
        for secret, user in secrets.items():
            path = folder / secret
            path.write_text(secret)
            os.chmod(path, 0o600)
            options = {"url": self.server.url, "password-file": str(path), **({"user": user} if user else {})}
            yield ComponentSpec(name=name, kind="redis", options=options)
        yield ComponentSpec(name=name, kind="redis", options={"url": self.server.url})


class SqlitePlay:
    """A database file in WAL mode, and a program that has it open."""

    question = "SELECT number FROM numbers"
    has_server = False
    resumes_after_restart = True  # there is no server

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shop" / "stats.db"
        self.path.parent.mkdir()
        self.kind = sqlite_kind(FilesKind())
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self.start()
        self._do("PRAGMA journal_mode=WAL")
        self._do("CREATE TABLE numbers (number INTEGER PRIMARY KEY, filling BLOB)")

    @property
    def component(self) -> ComponentSpec:
        """The file."""
        return ComponentSpec(name="stats", kind="sqlite", path=str(self.path))

    def _do(self, sql: str, *values: object) -> None:
        with self._lock:
            assert self._database
            self._database.execute(sql, values)

    def write(self, number: int) -> None:
        """One more row, with something to fill pages."""
        self._do("INSERT INTO numbers VALUES (?, ?)", number, b"%d" % number * 700)

    def has_landed(self, records: list[LogRecord]) -> bool:
        """Nothing but what was written comes into it."""
        return True

    def numbers(self) -> set[int]:
        """All of it."""
        with closing(sqlite3.connect(self.path)) as database:
            return {row[0] for row in database.execute(self.question)}

    def restart(self) -> None:
        """The program closes it, and opens it again."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Closed."""
        assert self._database
        self._database.close()
        self._database = None

    def start(self) -> None:
        """Opened."""
        self._database = sqlite3.connect(self.path, isolation_level=None, timeout=60, check_same_thread=False)

    def forget(self) -> None:
        """Another database takes its place."""
        self.stop()
        other = self.path.with_name("other")
        with closing(sqlite3.connect(self.path)) as old, closing(sqlite3.connect(other)) as new:
            old.backup(new)
        for end in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)
        other.rename(self.path)
        self.start()
        self._do("PRAGMA journal_mode=WAL")

    def strangers(self) -> Iterator[ComponentSpec]:
        """Something else than a database."""
        (self.path.parent / "text").write_text("no database" * 100)
        for path in (self.path.parent, self.path.parent / "none", self.path.parent / "text"):
            yield ComponentSpec(name="stats", kind="sqlite", path=str(path))

    def close(self) -> None:
        """Leave nothing."""
        if self._database:
            self._database.close()


@contextmanager
def _sqlite(folder: Path) -> Iterator[Play]:
    with closing(SqlitePlay(folder)) as play:
        yield play


@contextmanager
def _redis(folder: Path) -> Iterator[Play]:
    with redis_server(folder / "server", appendonly="yes", appendfsync="always") as server:
        yield RedisPlay(server)


class MariaPlay:
    """A MariaDB server. A new base of it writes into its log as well, so a record in ours need not be what was written
    last."""

    question = "SELECT n FROM shop.numbers"
    resumes_after_restart = True
    has_server = True

    def __init__(self, server: MariaServer) -> None:
        self.server = server
        self.kind = mariadb_kind(FilesKind())
        server.ask("CREATE TABLE shop.numbers (n INT PRIMARY KEY) ENGINE=InnoDB")

    @property
    def component(self) -> ComponentSpec:
        """The server's."""
        return self.server.component

    def write(self, number: int) -> None:
        """One more row."""
        self.server.ask(f"INSERT INTO shop.numbers VALUES ({number})")

    def has_landed(self, records: list[LogRecord]) -> bool:
        """Whether the log goes as far as the server's."""
        ((file, end, *_),) = self.server.ask("SHOW MASTER STATUS")
        own = [each for each in records if each.path.endswith(str(file).encode())]
        return any(each.offset + each.length >= int(str(end)) for each in own)

    def numbers(self) -> set[int]:
        """All of it."""
        return {row[0] for row in self.server.ask(self.question)}

    def restart(self) -> None:
        """It begins another file of its binary log."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """With all that it acknowledged."""
        self.server.stop()

    def start(self) -> None:
        """With its data."""
        self.server.start()

    def forget(self) -> None:
        """The binary log begins anew."""
        self.server.ask("RESET MASTER")

    def strangers(self) -> Iterator[ComponentSpec]:
        """Nobody it knows, and one without rights."""
        self.server.ask("CREATE USER poor@localhost")
        for user in ("poor", "unknown"):
            options = {**self.component.options, "user": user}
            yield ComponentSpec(name=self.component.name, kind="mariadb", options=options)


@contextmanager
def _mariadb(folder: Path) -> Iterator[Play]:
    with mariadb_server(folder / "server") as server:
        yield MariaPlay(server)


class PostgresPlay:
    """A PostgreSQL server with a table of numbers. At rest it writes into its log as well, so a record in ours need
    not be what was written last."""

    question = "select number from numbers"
    writes_before_it_waits = True
    has_server = True
    resumes_after_restart = True

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.kind = postgres_kind(FilesKind())
        server.sql("create table numbers (number int)")

    @property
    def component(self) -> ComponentSpec:
        """The server's."""
        return ComponentSpec(name="db", kind="postgres", options={"dsn": self.server.dsn})

    def write(self, number: int) -> None:
        """One more row."""
        self.server.sql(f"insert into numbers values ({number})")

    def has_landed(self, records: list[LogRecord]) -> bool:
        """Whether the server was told that all it has written is durable."""
        place = self.server.sql("select pg_current_wal_flush_lsn()")
        told = f"select coalesce(bool_or(flush_lsn >= '{place}'), false) from pg_stat_replication"
        return self.server.sql(f"{told} where application_name ~ '^knowngood_[0-9a-f]+$'") == "t"

    def numbers(self) -> set[int]:
        """All of it."""
        return set(map(int, self.server.sql(self.question).split()))

    def restart(self) -> None:
        """As its administrator does it."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """It waits for those who follow it, until they have everything."""
        self.server.stop()

    def start(self) -> None:
        """With its data."""
        self.server.start()

    def forget(self) -> None:
        """Its log begins anew, somewhere else."""
        self.server.stop()
        self.server.run("pg_resetwal", "-f", self.server.data)
        self.server.start()

    def strangers(self) -> Iterator[ComponentSpec]:
        """Who is not known, who may not follow, who has no password."""
        self.server.sql("create role poor login")
        self.server.sql("create role locked login replication password 'right'")
        hba = self.server.data / "pg_hba.conf"
        hba.write_text("local all locked scram-sha-256\nlocal replication locked scram-sha-256\n" + hba.read_text())
        self.server.sql("select pg_reload_conf()")
        for user in ("nobody-here", "poor", "locked"):
            dsn = f"host={self.server.folder} user={user} dbname=postgres"
            yield ComponentSpec(name="db", kind="postgres", options={"dsn": dsn})


@contextmanager
def _postgres(folder: Path) -> Iterator[Play]:
    del folder
    with running_postgres() as server:
        yield PostgresPlay(server)


PLAYS: dict[str, Callable[[Path], AbstractContextManager[Play]]] = {
    "mariadb": _mariadb,
    "postgres": _postgres,
    "redis": _redis,
    "sqlite": _sqlite,
}
