"""A database, a program that has it open, and who follows it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.leaks import nothing_left_behind
from tests.servers.following import Following, following
from tests.unit.kinds_sqlite.playing import KIND, opened, spec

__all__ = ["nothing_left_behind"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database in WAL mode."""
    folder = tmp_path / "srv"
    folder.mkdir()
    path = folder / "stats.db"
    with closing(opened(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)")
    path.chmod(0o640)
    return path


@pytest.fixture
def program(path: Path) -> Iterator[sqlite3.Connection]:
    """It has the database open."""
    with closing(opened(path)) as database:
        yield database


@pytest.fixture
def followed(path: Path, tmp_path: Path) -> Iterator[Following]:
    """With a base."""
    with following(KIND, spec(path), tmp_path / "state") as found:
        found.checkpoint()
        yield found
