"""A recovered database, asked by SQL. It is opened as a file that nobody changes."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping
from urllib.parse import quote

from knowngood.core.errors import Busy, KnowngoodError, NotFound
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import Sandbox

_ROWS = 100_000
_STEPS = 10_000  # of SQLite's machine between two looks at the clock


class SqliteSandbox:
    """An open file (port Sandbox); there is no server to start."""

    def __init__(self, path: str) -> None:
        """Raises KnowngoodError when it cannot be opened, or is damaged."""
        self._path = path
        try:
            where = f"file:{quote(path)}?mode=ro&immutable=1"
            self._database = sqlite3.connect(where, uri=True, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA query_only=1")
            self._database.execute("PRAGMA trusted_schema=0")
            self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as wrong:
            raise KnowngoodError(f"the recovered database does not open: {wrong}") from None

    @property
    def address(self) -> Mapping[str, str]:
        """Its file."""
        return {"path": self._path}

    def ask(self, question: str, timeout: float) -> list[tuple[str, ...]]:
        """SQL that only reads; rows of text."""
        end = time.monotonic() + timeout
        self._database.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        try:
            rows = self._database.execute(question).fetchmany(_ROWS + 1)
        except sqlite3.Error as wrong:
            if time.monotonic() > end:
                raise Busy(f"the question takes longer than {timeout:g} s") from None
            raise KnowngoodError(f"the recovered database refuses '{question[:60]}': {wrong}") from None
        if len(rows) > _ROWS:
            raise KnowngoodError(f"the answer has more than {_ROWS} rows", hint="ask for less: LIMIT")
        return [tuple(_text(each) for each in row) for row in rows]

    def stop(self) -> None:
        """Close it."""
        self._database.close()


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def start_sandbox(component: ComponentSpec, folder: str) -> Sandbox:
    """Open the database that was recovered into a folder."""
    path = os.path.join(folder, os.path.basename(component.path))
    if not os.path.isfile(path):
        raise NotFound(f"there is no database {path}")
    return SqliteSandbox(path)
