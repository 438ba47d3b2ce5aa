"""What tests of SQLite do with a database, and with who follows it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from knowngood.core.ids import Name
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import PageSource
from knowngood.kinds.files import FilesKind
from knowngood.kinds.sqlite.kind import sqlite_kind
from tests.servers.following import Following

KIND = sqlite_kind(FilesKind())
State = tuple[Name, PageSource]


def spec(path: Path) -> ComponentSpec:
    return ComponentSpec(name="stats", kind="sqlite", path=str(path))


def opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=60)


def insert(database: sqlite3.Connection, *numbers: int, size: int = 100) -> None:
    rows = [(number, b"%d" % number * size) for number in numbers]
    if len(rows) < 10 or database.in_transaction:
        database.executemany("INSERT INTO t VALUES (?, ?)", rows)
        return
    database.execute("BEGIN")
    database.executemany("INSERT INTO t VALUES (?, ?)", rows)
    database.execute("COMMIT")


def found_in(followed: Following, state: State | None = None, sql: str = "SELECT n FROM t") -> list[str]:
    with followed.sandbox(state or followed.newest()) as sandbox:
        return [row[0] for row in sandbox.ask(sql, 30)]


def now(followed: Following) -> State:
    """The end of the log."""
    return followed.at(len(followed.records))


def drain(followed: Following) -> None:
    while followed.tick():
        pass
