"""Rows of a table of MariaDB: read from a recovered server, laid beside the table in production, merged.

Everything is in one transaction, with one batch of rows at a time in a temporary table. Values stay as the server
writes them; only those of `float` are read as `double`, since it writes six digits of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.converters import conversions
from pymysql.cursors import SSCursor

from knowngood.core.errors import Busy, KnowngoodError, UsageError
from knowngood.core.model import ComponentSpec
from knowngood.core.rows import Column, Form, Row, Rows, RowsRequest, Tally, Which
from knowngood.databases.merging import Dialect, Merging, batched, common, names_in, no_table
from knowngood.kinds.mariadb.access import Access, access_of, sever, told

_SECONDS = 3600.0  # between two pieces of what it sends
_LOCK_SECONDS = 30
_SETTINGS = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+00:00', "
    f"innodb_lock_wait_timeout = {_LOCK_SECONDS}, lock_wait_timeout = {_LOCK_SECONDS}, max_statement_time = 0"
)
"""Strict, so that nothing is cut to fit; and zero dates and numbers stay what they are."""

_OURS = ("information_schema", "performance_schema", "mysql", "sys")
_NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year"})

_COLUMNS = """
SELECT column_name, data_type, column_key = 'PRI' FROM information_schema.columns
WHERE table_schema = %s AND table_name = %s AND (generation_expression IS NULL OR generation_expression = '')
AND extra NOT LIKE '%%GENERATED%%' ORDER BY ordinal_position
"""
_STAGE = "knowngood_rows"
_WRITTEN = {kind: how for kind, how in conversions.items() if isinstance(kind, type)}  # what is read stays text
_REFERS, _TWICE, _WAITED, _DEADLOCK = 1452, 1062, 1205, 1213
_NOT_ALLOWED = frozenset({1044, 1142, 1143})


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _differs(one: str, other: str) -> str:
    # as bytes, since capitals may not count; and as they are, since a float has more digits than it is written with
    return f"NOT ({one} <=> {other} AND BINARY {one} <=> BINARY {other})"


_DIALECT = Dialect(_quoted, _differs, update_from=False)


@dataclass(frozen=True, slots=True)
class _Table:
    schema: str
    table: str
    kinds: dict[str, str]  # of columns that are not generated
    key: tuple[str, ...]

    @property
    def quoted(self) -> str:
        return f"{_quoted(self.schema)}.{_quoted(self.table)}"


class MariaRows:
    """Rows of a recovered table (port RowSource)."""

    def __init__(self, access: Access, request: RowsRequest) -> None:
        """Raises NotFound when there is no such table."""
        self._connection = _connect(access)
        self._where = request.where
        try:
            self._table = _find(self._connection, request.table, "the recovered server")
        except BaseException:
            sever(self._connection)
            raise

    @property
    def name(self) -> str:
        """Database and table."""
        return f"{self._table.schema}.{self._table.table}"

    @property
    def columns(self) -> Sequence[Column]:
        """All that are not generated."""
        return [
            Column(name, Form.NUMBER if kind in _NUMBERS else Form.TEXT) for name, kind in self._table.kinds.items()
        ]

    def batches(self) -> Iterator[list[Row]]:
        """The rows, one after the other."""
        kinds = self._table.kinds.items()
        names = ", ".join(f"{_quoted(name)} + 0e0" if kind == "float" else _quoted(name) for name, kind in kinds)
        where = f" WHERE (\n{self._where}\n)" if self._where else ""
        try:
            with self._connection.cursor(SSCursor) as cursor:
                cursor.execute("START TRANSACTION READ ONLY")
                cursor.execute(f"USE {_quoted(self._table.schema)}")
                cursor.execute(f"SELECT {names} FROM {self._table.quoted}{where}")
                yield from batched(iter(cursor.fetchone, None))
        except pymysql.err.Error as wrong:
            said = str(wrong.args[-1]) if wrong.args else str(wrong)
            if self._where:
                hint = "write it as behind WHERE"
                raise UsageError(f"the recovered server refuses --where: {said}", hint=hint) from None
            raise KnowngoodError(f"the recovered server cannot read {self.name}: {said}") from None

    def statement(self, row: Row) -> str:
        """An INSERT."""
        names = ", ".join(map(_quoted, self._table.kinds))
        values = ", ".join(self._connection.escape(value) for value in row)
        return f"INSERT INTO {self._table.quoted} ({names}) VALUES ({values});"

    def close(self) -> None:
        """Let go of the connection."""
        sever(self._connection)


class MariaMerge:
    """The table in production (port RowTarget)."""

    def __init__(self, access: Access, source: MariaRows) -> None:
        """Raises NotFound when production has no such table, UsageError when it has no key."""
        self._access = access
        self._connection = _connect(access)
        try:
            table = _find(self._connection, source.name, f"MariaDB at {access.text}")
            then = [each.name for each in source.columns]
            self._places = common(then, list(table.kinds), table.key, source.name)
            self.left_out = [name for place, name in enumerate(then) if place not in self._places]
            columns = [then[place] for place in self._places]
            stage = f"{_quoted(table.schema)}.{_quoted(_STAGE)}"
            self._merging = Merging(_DIALECT, table.quoted, stage, columns, table.key)
            listed = ", ".join(map(_quoted, columns))
            self._insert = f"INSERT INTO {stage} ({listed}) VALUES ({', '.join(['%s'] * len(columns))})"
            self._run(f"CREATE TEMPORARY TABLE {stage} SELECT {listed} FROM {table.quoted} LIMIT 0")
            self._clear = f"DELETE FROM {stage}"
            self._run("START TRANSACTION")
        except BaseException:
            sever(self._connection)
            raise

    def merge(self, rows: list[Row], which: Which | None) -> Tally:
        """Count them by the primary key, and write some."""
        self._run(self._clear)
        with _told(self._access), self._connection.cursor() as cursor:
            cursor.executemany(self._insert, [tuple(row[place] for place in self._places) for row in rows])
        count, missing, different = map(int, self._run(self._merging.count)[0])
        tally = Tally(count, missing, different, count - missing - different)
        if which in (Which.CHANGED, Which.ALL) and different and self._merging.update:
            self._run(self._merging.update)
            tally.updated = self._affected
        if which in (Which.MISSING, Which.ALL) and missing:
            self._run(self._merging.insert)
            tally.inserted = self._affected
        return tally

    def commit(self) -> None:
        """Commit."""
        with _told(self._access):
            self._connection.commit()

    def close(self) -> None:
        """Roll back what was not committed."""
        sever(self._connection)

    def _run(self, statement: str) -> Sequence[tuple[Any, ...]]:
        with _told(self._access), self._connection.cursor() as cursor:
            self._affected = cursor.execute(statement)
            return cursor.fetchall()


def _connect(access: Access) -> Connection[Any]:
    connection = access.connect(_SECONDS, conv=_WRITTEN)
    try:
        with told(access), connection.cursor() as cursor:
            cursor.execute(_SETTINGS)
    except BaseException:
        sever(connection)
        raise
    return connection


def _find(connection: Connection[Any], text: str, where: str) -> _Table:
    """The table that is meant. Without its database, it has to be the only one of that name."""
    question = (
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND "
        f"table_name = %s AND table_schema NOT IN ({', '.join(['%s'] * len(_OURS))})"
    )
    known: list[str] = []
    with connection.cursor() as cursor:
        for schema, name in names_in(text):
            cursor.execute(question, (name, *_OURS))
            found = [row for row in cursor.fetchall() if schema in ("", row[0])]
            if len(found) == 1:
                cursor.execute(_COLUMNS, found[0])
                columns = cursor.fetchall()
                key = _key(cursor, found[0])
                return _Table(found[0][0], found[0][1], {column: kind for column, kind, _ in columns}, key)
            known += [".".join(row) for row in found]
    raise no_table(text, where, known)


def _key(cursor: Any, table: tuple[str, str]) -> tuple[str, ...]:
    cursor.execute(
        "SELECT column_name FROM information_schema.statistics WHERE table_schema = %s AND table_name = %s "
        "AND index_name = 'PRIMARY' ORDER BY seq_in_index",
        table,
    )
    return tuple(row[0] for row in cursor.fetchall())


@contextmanager
def _told(access: Access) -> Iterator[None]:
    """Errors of writing, in our words."""
    with told(access):
        try:
            yield
        except pymysql.err.Error as wrong:
            number, said = (*wrong.args, 0, "")[:2]
            what = f"MariaDB at {access.text}"
            if number in _NOT_ALLOWED:
                hint = "allow it: GRANT SELECT, INSERT, UPDATE, CREATE TEMPORARY TABLES ON … TO that account"
                raise UsageError(f"{what} does not allow it: {said}", hint=hint) from None
            if number in (_TWICE, _WAITED, _DEADLOCK):
                hint = "somebody else writes it: try again"
                raise Busy(f"{what}: {said}; nothing was written", hint=hint) from None
            if number == _REFERS:
                hint = "bring the rows that it refers to first, with another --table"
                raise KnowngoodError(f"{what}: {said}; nothing was written", hint=hint) from None
            if isinstance(wrong, pymysql.err.DataError | pymysql.err.IntegrityError):
                raise KnowngoodError(f"{what} refuses the rows: {said}; nothing was written") from None
            raise


def open_rows(component: ComponentSpec, found: Mapping[str, str], request: RowsRequest) -> Rows:
    """Rows of a recovered server."""
    if not request.table or request.key:
        raise UsageError("MariaDB has tables, and no keys", hint="name one: --table shop.orders")
    access = access_of(component)
    source = MariaRows(Access(socket=found["socket"], options=found["option-file"]), request)
    return Rows(source, lambda: MariaMerge(access, source))
