"""Rows: some of one table, or some keys, as they were at a moment; counted against production, merged into it, written
to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

Value = str | int | float | bytes | None
"""One value of a row. What a server writes as text stays as it wrote it, so that nothing is rounded on the way."""

Row = tuple[Value, ...]


class Form(StrEnum):
    """How the text of a value is meant when it is written to a file."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    JSON = "json"


class Which(StrEnum):
    """Which rows are merged: those that production lacks, those that differ there, or both."""

    MISSING = "missing"
    CHANGED = "changed"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class RowsRequest:
    """What is wanted. `table` may be `SCHEMA.TABLE`; `where` is SQL that only the recovered database is asked. Or
    `key`: a name, or a pattern, of a database that has keys instead of tables."""

    table: str = ""
    where: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    form: Form = Form.TEXT


@dataclass(slots=True)
class Tally:
    """How many rows there were then, and how production has them now; how many of them were written."""

    rows: int = 0
    missing: int = 0
    different: int = 0
    same: int = 0
    inserted: int = 0
    updated: int = 0

    def add(self, more: Tally) -> None:
        """Those of another batch."""
        self.rows += more.rows
        self.missing += more.missing
        self.different += more.different
        self.same += more.same
        self.inserted += more.inserted
        self.updated += more.updated


class RowSource(Protocol):
    """Rows of a recovered database."""

    @property
    def name(self) -> str:
        """Of the table, whole, for people."""
        ...

    @property
    def columns(self) -> Sequence[Column]:
        """Its columns, but for those that the database computes."""
        ...

    def batches(self) -> Iterator[list[Row]]:
        """The rows, a bounded number of bytes at a time. Raises KnowngoodError with what the database says."""
        ...

    def statement(self, row: Row) -> str:
        """One row as a statement that adds it, in the database's own language. Raises Unsupported."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class RowTarget(Protocol):
    """The same table in production, within one transaction."""

    @property
    def left_out(self) -> Sequence[str]:
        """Columns that the table had then, and has no more."""
        ...

    def merge(self, rows: list[Row], which: Which | None) -> Tally:
        """Count rows by the table's key, and write some of them; none for None. Raises KnowngoodError."""
        ...

    def commit(self) -> None:
        """Make all that was written last. Without it, `close` takes all of it back."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a moment, and what opens the same table in production, for one transaction."""

    source: RowSource
    target: Callable[[], RowTarget]
