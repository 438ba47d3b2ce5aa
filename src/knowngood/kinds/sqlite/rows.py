"""Rows of a table of SQLite: read from a recovered file, laid beside the table in production, merged in one
transaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from knowngood.core.errors import Busy, Damaged, KnowngoodError, NotFound, UsageError
from knowngood.core.model import ComponentSpec
from knowngood.core.rows import Column, Row, Rows, RowsRequest, Tally, Value, Which
from knowngood.databases.merging import Dialect, Merging, batched, common, no_table

_BUSY_SECONDS = 30.0
_GENERATED = (1, 2, 3)  # of the column `hidden` of table_xinfo
_STAGE = "temp.knowngood_rows"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _differs(one: str, other: str) -> str:
    return f"({one} COLLATE BINARY IS NOT {other} COLLATE BINARY OR typeof({one}) <> typeof({other}))"


_DIALECT = Dialect(_quoted, _differs)


class SqliteRows:
    """Rows of a recovered table (port RowSource). The file is opened as one that nobody changes."""

    def __init__(self, path: str, request: RowsRequest) -> None:
        """Raises NotFound when there is no such table."""
        self._where = request.where
        with _told("the recovered database"):
            where = f"file:{quote(path)}?mode=ro&immutable=1"
            self._database = sqlite3.connect(where, uri=True, isolation_level=None, check_same_thread=False)
        try:
            with _told("the recovered database"):
                self._database.execute("PRAGMA query_only=1")
                self._database.execute("PRAGMA trusted_schema=0")
                self.name = _find(self._database, request.table, "the recovered database")
                self.columns: Sequence[Column] = [Column(each) for each, _ in _columns(self._database, self.name)]
        except BaseException:
            self._database.close()
            raise

    def batches(self) -> Iterator[list[Row]]:
        """The rows, one after the other."""
        names = ", ".join(_quoted(each.name) for each in self.columns)
        where = f" WHERE (\n{self._where}\n)" if self._where else ""
        try:
            yield from batched(self._database.execute(f"SELECT {names} FROM main.{_quoted(self.name)}{where}"))
        except sqlite3.DatabaseError as wrong:
            if self._where and not _is_damage(wrong):
                hint = "write it as behind WHERE"
                raise UsageError(f"the recovered database refuses --where: {wrong}", hint=hint) from None
            raise Damaged(f"the recovered database cannot read {self.name}: {wrong}") from None

    def statement(self, row: Row) -> str:
        """An INSERT."""
        names = ", ".join(_quoted(each.name) for each in self.columns)
        return f"INSERT INTO {_quoted(self.name)} ({names}) VALUES ({', '.join(map(_literal, row))});"

    def close(self) -> None:
        """Close it."""
        self._database.close()


class SqliteMerge:
    """The table in production (port RowTarget). Writers wait while it is at work, as for any other of them."""

    def __init__(self, path: str, source: SqliteRows) -> None:
        """Raises NotFound when production has no such table, UsageError when it has no key."""
        self._path = path
        with _told(path):
            where = f"file:{quote(os.path.realpath(path))}?mode=rw"  # never made anew
            self._database = sqlite3.connect(
                where, uri=True, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False
            )
        try:
            with _told(path):
                self._prepare(source)
        except BaseException:
            self._database.close()
            raise

    def _prepare(self, source: SqliteRows) -> None:
        self._database.execute("PRAGMA foreign_keys=1")
        self._database.execute("PRAGMA temp_store=1")  # a file: a batch may be large
        name = _find(self._database, source.name, self._path)
        found = _columns(self._database, name)
        self._key = tuple(column for column, place in sorted(found, key=lambda each: each[1]) if place)
        then = [each.name for each in source.columns]
        self._places = common(then, [column for column, _ in found], self._key, name)
        self.left_out = [each for place, each in enumerate(then) if place not in self._places]
        columns = [then[place] for place in self._places]
        self._keys = [columns.index(each) for each in self._key]
        self._merging = Merging(_DIALECT, f"main.{_quoted(name)}", _STAGE, columns, self._key)
        listed = ", ".join(map(_quoted, columns))
        self._database.execute("CREATE TEMP TABLE knowngood_rows (" + listed + ")")
        self._insert = f"INSERT INTO {_STAGE} VALUES ({', '.join('?' * len(columns))})"
        self._is_writing = False

    def merge(self, rows: list[Row], which: Which | None) -> Tally:
        """Count them by the primary key, and write some."""
        chosen = [tuple(row[place] for place in self._places) for row in rows]
        if any(row[place] is None for row in chosen for place in self._keys):
            raise UsageError(
                "the primary key of a row is NULL, so nobody can tell which row of now it is",
                hint="leave such rows out with --where, or write them to a file: --to FILE.sql",
            )
        with _told(self._path):
            if not self._is_writing and which is not None:
                self._database.execute("BEGIN IMMEDIATE")
                self._is_writing = True
            self._database.execute(f"DELETE FROM {_STAGE}")
            self._database.executemany(self._insert, chosen)
            count, missing, different = self._database.execute(self._merging.count).fetchone()
            tally = Tally(count, missing, different, count - missing - different)
            if which in (Which.CHANGED, Which.ALL) and different and self._merging.update:
                tally.updated = self._database.execute(self._merging.update).rowcount
            if which in (Which.MISSING, Which.ALL) and missing:
                tally.inserted = self._database.execute(self._merging.insert).rowcount
        return tally

    def commit(self) -> None:
        """Commit."""
        if self._is_writing:
            with _told(self._path):
                self._database.execute("COMMIT")

    def close(self) -> None:
        """Roll back what was not committed."""
        self._database.close()


def _find(database: sqlite3.Connection, table: str, where: str) -> str:
    """The name of a table as it was made; capitals do not count."""
    found = database.execute(
        "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE "
        "AND sql NOT LIKE 'CREATE VIRTUAL%'",
        (table.removeprefix("main."),),
    ).fetchone()
    if found is None:
        rows = database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table' ORDER BY name LIMIT 20")
        raise no_table(table, where, [row[0] for row in rows])
    return str(found[0])


def _columns(database: sqlite3.Connection, table: str) -> list[tuple[str, int]]:
    """Columns that are not computed, and their places in the primary key; 0 for none."""
    rows = database.execute(f"PRAGMA main.table_xinfo({_quoted(table)})").fetchall()
    return [(row[1], row[5]) for row in rows if row[6] not in _GENERATED]


def _literal(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, str):
        if "\0" in value:
            return f"CAST(X'{value.encode().hex()}' AS TEXT)"
        return "'" + value.replace("'", "''") + "'"
    return repr(value).replace("inf", "9e999").replace("nan", "NULL")


def _is_damage(wrong: sqlite3.Error) -> bool:
    return _code(wrong) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)


def _code(wrong: sqlite3.Error) -> int:
    """Of the library; 0 for what is an error of Python's own."""
    return getattr(wrong, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def _told(where: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as wrong:
        hint = "bring the rows that it refers to first, with another --table" if "FOREIGN" in str(wrong) else ""
        raise KnowngoodError(f"{where}: {wrong}; nothing was written", hint=hint) from None
    except sqlite3.Error as wrong:
        if (code := _code(wrong)) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Busy(f"{where} is in use by another program: {wrong}", hint="try again") from None
        if code == sqlite3.SQLITE_CANTOPEN:
            raise NotFound(f"there is no database {where} that can be opened") from None
        raise KnowngoodError(f"{where}: {wrong}; nothing was written") from None


def open_rows(component: ComponentSpec, found: Mapping[str, str], request: RowsRequest) -> Rows:
    """Rows of a recovered file."""
    if not request.table or request.key:
        raise UsageError("SQLite has tables, and no keys", hint="name one: --table orders")
    source = SqliteRows(found["path"], request)
    return Rows(source, lambda: SqliteMerge(component.path, source))
