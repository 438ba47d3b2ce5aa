"""Rows of a table of PostgreSQL: copied out of a recovered server as text, laid beside the table in production, merged.

Everything is in one transaction, with one batch of rows at a time in a temporary table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from knowngood.core.errors import Busy, KnowngoodError, UsageError
from knowngood.core.model import ComponentSpec
from knowngood.core.rows import Column, Form, Row, Rows, RowsRequest, Tally, Which
from knowngood.databases.feed import Away
from knowngood.databases.merging import Dialect, Merging, batched, common, names_in, no_table
from knowngood.kinds.postgres.address import Address, address_of
from knowngood.kinds.postgres.refusal import NO_RIGHT, literal, no_connection, quoted

_NUMBERS = frozenset({"int2", "int4", "int8", "oid", "numeric", "float4", "float8"})
_FORMS = {**dict.fromkeys(_NUMBERS, Form.NUMBER), "bool": Form.BOOLEAN, "json": Form.JSON, "jsonb": Form.JSON}
_LOCKED, _UNIQUE, _FOREIGN = "55P03", "23505", "23503"
_LOCK_SECONDS = 30
_SETTINGS = (
    "client_encoding=UTF8", "datestyle=ISO", "intervalstyle=postgres", "extra_float_digits=1", "timezone=UTC",
    "bytea_output=hex", "row_security=off", "standard_conforming_strings=on", f"lock_timeout={_LOCK_SECONDS}s",
)  # fmt: skip
"""The same text on both sides. Rows that a policy hides are an error, and not left out."""

_TABLES = """
select c.oid::text, n.nspname, c.relname, c.relkind, pg_table_is_visible(c.oid)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and c.relname = %s and n.nspname !~ '^pg_(toast|temp)'
"""
_COLUMNS = """
select a.attname, t.typname, coalesce(array_position(i.indkey::int2[], a.attnum)::text, '')
from pg_attribute a join pg_type t on t.oid = a.atttypid
left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
where a.attrelid = %s::oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
order by a.attnum
"""
_STAGE = "pg_temp.knowngood_rows"
_DIALECT = Dialect(
    quoted,
    lambda one, other: f'{one}::text COLLATE "C" IS DISTINCT FROM {other}::text COLLATE "C"',
    overriding="OVERRIDING SYSTEM VALUE",
)


@dataclass(frozen=True, slots=True)
class _Table:
    schema: str
    table: str
    only: bool  # its own rows, without those of tables that inherit from it
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table}"

    @property
    def quoted(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.table)}"

    @property
    def reading(self) -> str:
        return f"ONLY {self.quoted}" if self.only else self.quoted


class PostgresRows:
    """Rows of a recovered table (port RowSource)."""

    def __init__(self, address: Address, request: RowsRequest) -> None:
        """Raises NotFound when there is no such table."""
        self._connection = _connect(address)
        self._where = request.where
        self._address = address
        try:
            with _told(address), self._connection.transaction():
                self._connection.execute("set transaction read only")
                self.table = _find(self._connection, request.table, "the recovered server")
        except BaseException:
            self._connection.close()
            raise

    @property
    def name(self) -> str:
        """Schema and table."""
        return self.table.name

    @property
    def columns(self) -> Sequence[Column]:
        """All that are not generated."""
        return self.table.columns

    def batches(self) -> Iterator[list[Row]]:
        """The rows, as COPY gives them."""
        names = ", ".join(quoted(each.name) for each in self.table.columns)
        where = f"\nWHERE (\n{self._where}\n)" if self._where else ""
        query = f"COPY (SELECT {names} FROM {self.table.reading}{where}\n) TO STDOUT"
        with _told(self._address, self._where), self._connection.transaction():
            self._connection.execute("set transaction read only")
            with self._connection.cursor() as cursor, cursor.copy(query.encode()) as copy:
                yield from batched(copy.rows())

    def statement(self, row: Row) -> str:
        """An INSERT."""
        names = ", ".join(quoted(each.name) for each in self.table.columns)
        values = ", ".join("NULL" if value is None else literal(str(value)) for value in row)
        return f"INSERT INTO {self.table.quoted} ({names}) OVERRIDING SYSTEM VALUE VALUES ({values});"

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


class PostgresMerge:
    """The table in production (port RowTarget)."""

    def __init__(self, address: Address, source: PostgresRows) -> None:
        """Raises NotFound when production has no such table, UsageError when it has no key."""
        self._address = address
        self._connection = _connect(address)
        try:
            with _told(address):
                table = _find(self._connection, source.name, f"PostgreSQL at {address.text}")
                then = [each.name for each in source.columns]
                self._places = common(then, [each.name for each in table.columns], table.key, table.name)
                self.left_out = [name for place, name in enumerate(then) if place not in self._places]
                columns = [then[place] for place in self._places]
                self._merging = Merging(_DIALECT, table.quoted, _STAGE, columns, table.key, table.reading)
                listed = ", ".join(map(quoted, columns))
                self._run(
                    f"CREATE TEMP TABLE knowngood_rows ON COMMIT DROP AS SELECT {listed} FROM {table.quoted} LIMIT 0"
                )
                keys = ", ".join(map(quoted, table.key))
                self._run(f"CREATE UNIQUE INDEX ON {_STAGE} ({keys})")
                self._copy = f"COPY {_STAGE} ({listed}) FROM STDIN"
        except BaseException:
            self._connection.close()
            raise

    def merge(self, rows: list[Row], which: Which | None) -> Tally:
        """Count them by the primary key, and write some."""
        with _told(self._address):
            self._run(f"TRUNCATE {_STAGE}")
            with self._connection.cursor() as cursor, cursor.copy(self._copy.encode()) as copy:
                for row in rows:
                    copy.write_row([row[place] for place in self._places])
            self._run(f"ANALYZE {_STAGE}")
            count, missing, different = self._run(self._merging.count).fetchone() or (0, 0, 0)
            tally = Tally(int(count), int(missing), int(different), int(count - missing - different))
            if which in (Which.CHANGED, Which.ALL) and different and self._merging.update:
                tally.updated = self._run(self._merging.update).rowcount
            if which in (Which.MISSING, Which.ALL) and missing:
                tally.inserted = self._run(self._merging.insert).rowcount
            return tally

    def commit(self) -> None:
        """Commit."""
        with _told(self._address):
            self._connection.commit()

    def close(self) -> None:
        """Roll back what was not committed."""
        self._connection.close()

    def _run(self, statement: str) -> psycopg.Cursor[Any]:
        return self._connection.execute(statement.encode())


def _connect(address: Address) -> psycopg.Connection[Any]:
    more = {} if address.names_database else {"dbname": "postgres"}
    options = " ".join(f"-c {each}" for each in _SETTINGS)
    where = address.connection(application_name="knowngood", connect_timeout="10", options=options, **more)
    try:
        return psycopg.connect(where.decode())
    except psycopg.Error as wrong:
        raise no_connection(address, str(wrong), replication=False) from None


def _find(connection: psycopg.Connection[Any], text: str, where: str) -> _Table:
    """The table that is called exactly so, in the schemas that are searched, or in the one that is named."""
    elsewhere: list[str] = []
    for schema, name in names_in(text):
        for oid, found, table, kind, visible in connection.execute(_TABLES, (name,)).fetchall():
            if schema == found or (not schema and visible):
                return _described(connection, oid, found, table, only=kind == "r")
            if not schema:
                elsewhere.append(f"{found}.{table}")
    raise no_table(text, where, elsewhere)


def _described(connection: psycopg.Connection[Any], oid: str, schema: str, table: str, *, only: bool) -> _Table:
    found = connection.execute(_COLUMNS, (oid,)).fetchall()
    columns = tuple(Column(name, _FORMS.get(kind, Form.TEXT)) for name, kind, _ in found)
    key = sorted((int(place), name) for name, _, place in found if place)
    return _Table(schema, table, only, columns, tuple(name for _, name in key))


@contextmanager
def _told(address: Address, where: str = "") -> Iterator[None]:
    """Errors of the server in our words."""
    try:
        yield
    except psycopg.Error as wrong:
        state, said = wrong.sqlstate or "", (wrong.diag.message_primary or str(wrong)).strip()
        what = f"PostgreSQL at {address.text}"
        detail = f" ({wrong.diag.message_detail})" if wrong.diag.message_detail else ""
        if not state or state.startswith(("57P", "08")):
            raise Away(f"{what} has gone: {said}") from None
        if state == NO_RIGHT:
            hint = f"allow it: GRANT SELECT, INSERT, UPDATE ON TABLE … TO {quoted(address.user)}"
            raise UsageError(f"{what} does not allow it: {said}", hint=hint) from None
        if state in (_LOCKED, "40P01", "40001", _UNIQUE):
            raise Busy(
                f"{what}: {said}{detail}; nothing was written", hint="somebody else writes it: try again"
            ) from None
        if state == _FOREIGN:
            hint = "bring the rows that it refers to first, with another --table"
            raise KnowngoodError(f"{what}: {said}{detail}; nothing was written", hint=hint) from None
        if where:
            raise UsageError(f"the recovered server refuses --where: {said}", hint="write it as behind WHERE") from None
        raise KnowngoodError(f"{what} refuses the rows: {said}{detail}; nothing was written") from None


def open_rows(component: ComponentSpec, found: Mapping[str, str], request: RowsRequest) -> Rows:
    """Rows of a recovered server. In production, it is the database that the component's dsn names."""
    if not request.table or request.key:
        raise UsageError("PostgreSQL has tables, and no keys", hint="name one: --table orders")
    address = address_of(component)
    words = {name: found[name] for name in ("host", "port", "user", "dbname")}
    source = PostgresRows(Address(tuple(words.items())), request)
    return Rows(source, lambda: PostgresMerge(address, source))
