"""SQLite for the catalog: a connection that raises errors of ours."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from knowngood.core.errors import Busy, Damaged, KnowngoodError, NoSpace

_NOT_DAMAGE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
)


@contextmanager
def mapped(path: str) -> Iterator[None]:
    """Turn SQLite's and the system's errors into ours."""
    try:
        yield
    except UnicodeDecodeError:
        raise Damaged(f"{path} is damaged: a text in it is none", hint="run: knowngood vault rebuild") from None
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.DatabaseError as wrong:
        code = getattr(wrong, "sqlite_errorcode", 0) & 0xFF
        if code not in _NOT_DAMAGE:
            raise Damaged(f"{path} is damaged: {wrong}", hint="run: knowngood vault rebuild") from None
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path)):
            raise NoSpace(f"the disk of the home is full ({path})", hint="free space there") from None
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Busy(f"another command is changing {path}", hint="run the command again") from None
        raise KnowngoodError(f"{path} cannot be used: {wrong}", hint="check the home's owner and rights") from None
    except FileExistsError:
        raise
    except OSError as wrong:
        kind = NoSpace if wrong.errno in (errno.ENOSPC, errno.EDQUOT) else KnowngoodError
        raise kind(f"{path} cannot be used: {wrong.strerror}", hint="check the home's owner and rights") from None


def _is_full(path: str) -> bool:
    """Whether there is next to no room. SQLite calls a full disk an input/output error when it maps a file."""
    with suppress(OSError):
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize < 1 << 20
    return False


class _Rows(sqlite3.Cursor):
    """A cursor that raises errors of ours, also those that only show when its rows are read."""

    def _mapped(self) -> AbstractContextManager[None]:
        return mapped(getattr(self.connection, "path", "the catalog"))

    def execute(self, *words: Any) -> _Rows:
        with self._mapped():
            return super().execute(*words)

    def executemany(self, *words: Any) -> _Rows:
        with self._mapped():
            return super().executemany(*words)

    def executescript(self, *words: Any) -> sqlite3.Cursor:
        with self._mapped():
            return super().executescript(*words)

    def fetchone(self) -> Any:
        with self._mapped():
            return super().fetchone()

    def fetchall(self) -> list[Any]:
        with self._mapped():
            return super().fetchall()

    def __next__(self) -> Any:
        with self._mapped():
            return super().__next__()


class Database(sqlite3.Connection):
    """A connection whose cursors raise errors of ours."""

    path = ""

    def execute(self, *words: Any) -> _Rows:
        return self.cursor(_Rows).execute(*words)

    def executemany(self, *words: Any) -> _Rows:
        return self.cursor(_Rows).executemany(*words)

    def executescript(self, *words: Any) -> sqlite3.Cursor:
        return self.cursor(_Rows).executescript(*words)
