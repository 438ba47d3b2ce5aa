"""Tables of any size in bounded memory: a dictionary at first, then a nameless SQLite file that vanishes by itself."""

from __future__ import annotations

import sqlite3

from knowngood.core.errors import NoSpace

LIMIT = 100_000


class Table:
    """Bytes → bytes. What does not fit into memory goes to a temporary file. Used by one thread."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._near: dict[bytes, bytes] = {}
        self._far: sqlite3.Connection | None = None

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None when it has none. Raises NoSpace."""
        found = self._near.get(key)
        if found is None and self._far is not None:
            row = self._run("SELECT value FROM pair WHERE key = ?", key)
            return row[0] if row else None
        return found

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key. Raises NoSpace."""
        if key in self._near or (len(self._near) < self._limit and self._far is None):
            self._near[key] = value
            return
        if self._far is None:
            self._far = sqlite3.connect("", isolation_level=None)  # no name: a file of our own that is deleted
            self._run("PRAGMA journal_mode = OFF")
            self._run("PRAGMA synchronous = OFF")
            self._run("CREATE TABLE pair (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
            self._run("BEGIN")
        self._run("INSERT OR REPLACE INTO pair VALUES (?, ?)", key, value)

    def drop(self, key: bytes) -> None:
        """Forget a key."""
        if self._near.pop(key, None) is None and self._far is not None:
            self._run("DELETE FROM pair WHERE key = ?", key)

    def close(self) -> None:
        """Forget everything."""
        self._near.clear()
        if self._far is not None:
            self._far.close()
            self._far = None

    def _run(self, statement: str, *values: bytes) -> tuple[bytes, ...] | None:
        assert self._far is not None
        try:
            return self._far.execute(statement, values).fetchone()
        except sqlite3.OperationalError as wrong:
            raise NoSpace(
                f"no room for a temporary table: {wrong}", hint="let SQLITE_TMPDIR name a folder on a larger disk"
            ) from None


class NameSet:
    """The names of one directory."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._near: set[bytes] = set()
        self._far: Table | None = None

    def __contains__(self, name: bytes) -> bool:
        return name in self._near or (self._far is not None and self._far.get(name) is not None)

    def add(self, name: bytes) -> None:
        """Add a name. Raises NoSpace."""
        if len(self._near) < self._limit:
            self._near.add(name)
            return
        if self._far is None:
            self._far = Table(0)
        self._far.put(name, b"1")

    def close(self) -> None:
        """Forget everything."""
        self._near.clear()
        if self._far is not None:
            self._far.close()
