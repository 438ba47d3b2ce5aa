"""A program that uses a database of SQLite: each of its transactions says what all of the content comes to after it.

    python -m tests.fault.sqlite_writer PATH COUNT SEED SYNCHRONOUS MODE

MODE is `plain`; `reads`, which also reads an old state for a while now and then; `spills`, which also rolls back large
transactions whose pages were spilled into the log; `checkpoints`, which also makes checkpoints of all kinds by itself.
"""

from __future__ import annotations

import random
import select
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import closing, suppress
from hashlib import blake2b

ROWS = 60


def prepare(path: str, page_size: int = 4096) -> None:
    """An empty one, in WAL mode."""
    with closing(_open(path)) as database:
        database.execute(f"PRAGMA page_size={page_size}")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE content (id INTEGER PRIMARY KEY, data BLOB)")
        database.execute("CREATE TABLE state (number INTEGER, hash BLOB)")
        database.executemany("INSERT INTO content VALUES (?, ?)", [(number, b"") for number in range(ROWS)])
        database.execute("INSERT INTO state VALUES (0, ?)", [content_hash(database)])


def content_hash(database: sqlite3.Connection) -> bytes:
    """What all rows come to."""
    found = blake2b(digest_size=16)
    for row in database.execute("SELECT id, data FROM content ORDER BY id"):
        found.update(b"%d:%d:" % (row[0], len(row[1])) + row[1])
    return found.digest()


def number_of(path: str) -> int:
    """How many transactions this state has seen; it must be one that was committed."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
        number, wanted = database.execute("SELECT number, hash FROM state").fetchone()
        assert content_hash(database) == wanted, f"state {number} is none that was committed"
        return number


def _open(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=60)


def _change(database: sqlite3.Connection, some: random.Random, rows: Iterable[int], size: int) -> None:
    for row in rows:
        database.execute("REPLACE INTO content VALUES (?, ?)", [row, some.randbytes(some.randrange(size))])


def _commit(database: sqlite3.Connection, some: random.Random) -> None:
    database.execute("BEGIN IMMEDIATE")
    if some.random() < 0.1:
        database.execute("DELETE FROM content WHERE id >= ?", [ROWS])
    high = ROWS * 3 if some.random() < 0.1 else ROWS
    _change(database, some, (some.randrange(high) for _ in range(some.choice((1, 2, 5, 12)))), 9000)
    database.execute("UPDATE state SET number = number + 1, hash = ?", [content_hash(database)])
    database.execute("COMMIT")


def _trouble(database: sqlite3.Connection, path: str, some: random.Random, mode: str) -> None:
    if mode == "reads":
        with closing(_open(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM content").fetchone()
            select.select([], [], [], some.random() * 0.2)
    elif mode == "spills":
        database.execute("PRAGMA cache_size=5")
        database.execute("BEGIN IMMEDIATE")
        _change(database, some, range(ROWS), 20_000)
        database.execute("ROLLBACK")
    elif mode == "checkpoints":
        with suppress(sqlite3.OperationalError):
            database.execute("PRAGMA busy_timeout=50")
            database.execute(f"PRAGMA wal_checkpoint({some.choice(('PASSIVE', 'FULL', 'RESTART', 'TRUNCATE'))})")
        database.execute("PRAGMA busy_timeout=60000")
        if some.random() < 0.2:
            database.execute("VACUUM")


def main() -> None:
    """Write."""
    path, count, seed, synchronous, mode = sys.argv[1:]
    some = random.Random(int(seed))
    with closing(_open(path)) as database:
        database.execute(f"PRAGMA synchronous={synchronous}")
        for _ in range(int(count)):
            _commit(database, some)
            if mode != "plain" and some.random() < 0.05:
                _trouble(database, path, some, mode)


if __name__ == "__main__":
    main()
