"""Rows as a file: CSV (RFC 4180), a JSON object a line, or statements of SQL. It is there whole, or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence

from knowngood.core.errors import KnowngoodError, NoSpace, UsageError
from knowngood.core.rows import Column, Form, Row, RowSource, Value
from knowngood.vault.durable import sync_folder

_BOOLEANS = {"t": "true", "f": "false"}
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")  # of JSON (RFC 8259); NaN and 007 are none
Lines = Callable[[RowSource], Iterator[str]]


def format_of(path: str) -> Lines:
    """How a file of this name is written. Raises UsageError."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in FORMATS:
        raise UsageError(f"'{path}' does not say how it is to be written", hint=f"end it with {', '.join(FORMATS)}")
    return FORMATS[ending]


def write_rows(source: RowSource, path: str) -> int:
    """Write all rows; how many there were. Nobody else may read the file. Raises UsageError when it is there already,
    NoSpace, KnowngoodError."""
    lines = format_of(path)
    beside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
    try:
        if os.path.lexists(path):
            raise UsageError(f"'{path}' is there already", hint="name another file with --to")
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                counted = _Counted(source)
                file.writelines(lines(counted))
                file.flush()
                os.fsync(file.fileno())
            os.link(beside, path)
        finally:
            os.unlink(beside)
        sync_folder(os.path.dirname(path))
    except OSError as wrong:
        kind = NoSpace if wrong.errno in (errno.ENOSPC, errno.EDQUOT) else KnowngoodError
        raise kind(f"'{path}' cannot be written: {os.strerror(wrong.errno or 0).lower()}") from None
    return counted.count


class _Counted:
    """A source that counts what it gives."""

    def __init__(self, source: RowSource) -> None:
        self.name, self.columns, self.statement, self.close = (
            source.name,
            source.columns,
            source.statement,
            source.close,
        )
        self._source = source
        self.count = 0

    def batches(self) -> Iterator[list[Row]]:
        """The rows."""
        for batch in self._source.batches():
            self.count += len(batch)
            yield batch


def _csv(source: RowSource) -> Iterator[str]:
    """NULL is nothing; an empty text is a pair of quotes, as PostgreSQL reads and writes it."""
    yield ",".join(_quoted(each.name) for each in source.columns) + "\r\n"
    for batch in source.batches():
        for row in batch:
            yield ",".join("" if value is None else _quoted(_text(value)) for value in row) + "\r\n"


def _quoted(text: str) -> str:
    if text and not any(sign in text for sign in ',"\r\n') and text == text.strip():
        return text
    return '"' + text.replace('"', '""') + '"'


def _text(value: Value) -> str:
    return "\\x" + value.hex() if isinstance(value, bytes) else str(value)


def _jsonl(source: RowSource) -> Iterator[str]:
    names = [json.dumps(each.name) for each in source.columns]
    for batch in source.batches():
        for row in batch:
            yield "{" + ", ".join(_pairs(names, source.columns, row)) + "}\n"


def _pairs(names: Sequence[str], columns: Sequence[Column], row: Row) -> Iterator[str]:
    for name, column, value in zip(names, columns, row, strict=True):
        yield f"{name}: {_json(value, column.form)}"


def _json(value: Value, form: Form) -> str:
    if isinstance(value, str):
        if form == Form.NUMBER and _NUMBER.fullmatch(value):
            return value
        if form == Form.BOOLEAN:
            return _BOOLEANS.get(value, json.dumps(value))
        if form == Form.JSON:
            return " ".join(value.splitlines())
        return json.dumps(value)
    if isinstance(value, bytes) or (isinstance(value, float) and not math.isfinite(value)):
        return json.dumps(_text(value))
    return json.dumps(value)


def _sql(source: RowSource) -> Iterator[str]:
    for batch in source.batches():
        for row in batch:
            yield source.statement(row) + "\n"


FORMATS: dict[str, Lines] = {".csv": _csv, ".jsonl": _jsonl, ".sql": _sql}
"""By the ending of a file's name."""
