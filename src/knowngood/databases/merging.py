"""What is the same in all dialects of SQL: counting rows that were laid beside a table against it, and merging them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from knowngood.core.errors import NotFound, UsageError
from knowngood.core.rows import Row

BATCH_BYTES = 4 << 20
BATCH_ROWS = 20_000
_PER_VALUE = 8


def batched(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in batches of bounded size. A single row is never cut."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(_PER_VALUE if value is None or isinstance(value, int | float) else len(value) for value in row)
        if size >= BATCH_BYTES or len(batch) >= BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a database writes what all of them can. `differs` says whether two values are not the same bytes; what is the
    same to `=` may have other capitals."""

    name: Callable[[str], str]
    differs: Callable[[str, str], str]
    overriding: str = ""
    update_from: bool = True  # UPDATE … FROM; else UPDATE … JOIN


@dataclass(frozen=True, slots=True)
class Merging:
    """Statements for a table and a stage: the rows of a batch, in a temporary table. Both are written as SQL."""

    dialect: Dialect
    table: str
    stage: str
    columns: Sequence[str]
    key: Sequence[str]
    reading: str = ""  # the table as it is written where it is read and updated, when that is another way

    @property
    def count(self) -> str:
        """How many rows the stage has, how many of them the table lacks, how many differ there."""
        there = f"t.{self.dialect.name(self.key[0])} IS NOT NULL"
        return (
            f"SELECT count(*), coalesce(sum(CASE WHEN {there} THEN 0 ELSE 1 END), 0), "
            f"coalesce(sum(CASE WHEN {there} AND ({self._differs}) THEN 1 ELSE 0 END), 0) "
            f"FROM {self.stage} AS s LEFT JOIN {self._read} AS t ON {self._same}"
        )

    @property
    def insert(self) -> str:
        """Add the rows that the table lacks."""
        names = ", ".join(map(self.dialect.name, self.columns))
        values = ", ".join(f"s.{self.dialect.name(each)}" for each in self.columns)
        return (
            f"INSERT INTO {self.table} ({names}) {self.dialect.overriding} SELECT {values} FROM {self.stage} AS s "
            f"WHERE NOT EXISTS (SELECT 1 FROM {self._read} AS t WHERE {self._same})"
        )

    @property
    def update(self) -> str:
        """Make the rows that differ as they were; empty when all columns belong to the key."""
        if not self._others:
            return ""
        name = self.dialect.name
        if self.dialect.update_from:
            changes = ", ".join(f"{name(each)} = s.{name(each)}" for each in self._others)
            where = f"{self._same} AND ({self._differs})"
            return f"UPDATE {self._read} AS t SET {changes} FROM {self.stage} AS s WHERE {where}"
        changes = ", ".join(f"t.{name(each)} = s.{name(each)}" for each in self._others)
        return f"UPDATE {self._read} AS t JOIN {self.stage} AS s ON {self._same} SET {changes} WHERE {self._differs}"

    @property
    def _read(self) -> str:
        return self.reading or self.table

    @property
    def _others(self) -> list[str]:
        return [each for each in self.columns if each not in self.key]

    @property
    def _same(self) -> str:
        name = self.dialect.name
        return " AND ".join(f"t.{name(each)} = s.{name(each)}" for each in self.key)

    @property
    def _differs(self) -> str:
        name = self.dialect.name
        return " OR ".join(self.dialect.differs(f"t.{name(each)}", f"s.{name(each)}") for each in self.columns)


def common(then: Sequence[str], now: Sequence[str], key: Sequence[str], table: str) -> list[int]:
    """The places, among the columns of then, of those that the table still has. Raises UsageError when rows of it
    cannot be told apart."""
    if not key:
        raise UsageError(
            f"the table {table} has no primary key, by which its rows could be merged",
            hint="write them to a file: --to FILE.sql",
        )
    places = [place for place, name in enumerate(then) if name in now]
    if lacking := [each for each in key if each not in then]:
        raise UsageError(
            f"the primary key of {table} has {', '.join(lacking)} now, which it had not then",
            hint="write the rows to a file: --to FILE.sql",
        )
    return places


def no_table(table: str, where: str, known: Sequence[str]) -> NotFound:
    """What to say of a table that is not there."""
    hint = f"there is: {', '.join(known)}" if known else "write it as SCHEMA.TABLE"
    return NotFound(f"{where} has no table '{table}'", hint=hint)


def names_in(text: str) -> list[tuple[str, str]]:
    """What a name may mean: a table called so, or a schema and a table."""
    schema, dot, table = text.partition(".")
    return [("", text), *([(schema, table)] if dot and schema and table else [])]
