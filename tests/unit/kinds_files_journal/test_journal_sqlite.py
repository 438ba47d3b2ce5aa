"""A database that is journalled: at any write of it, what comes back is a whole database with all commits before it."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.loops import Mounts
from tests.mounted import needs_fuse
from tests.unit.kinds_files_journal.journalling import Journalled

pytestmark = [pytest.mark.root, needs_fuse]
_COMMITS = 40
_CUTS = 12


@pytest.mark.parametrize(("mode", "kind"), [("wal", "xfs"), ("delete", "btrfs")])
def test_any_write_of_a_database(mode: str, kind: str, mounts: Mounts, tmp_path: Path) -> None:
    """Cut anywhere: the database is sound, and never has fewer rows than at an earlier cut."""
    site = Journalled(mounts.fresh_dir(kind))
    try:
        site.settle()
        with closing(sqlite3.connect(site.tree / "shop.db", isolation_level=None)) as database:
            database.execute(f"PRAGMA journal_mode={mode}")
            database.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, what TEXT)")
            for number in range(_COMMITS):
                database.execute("INSERT INTO sale (what) VALUES (?)", ("x" * (number * 37 % 500),))
        records = site.tick()
        first = records[0].sequence
        cuts = sorted(random.Random(mode).sample(range(first, first + len(records)), _CUTS))
        counts = [_rows(site, cut, tmp_path / f"cut{cut}") for cut in cuts]
        assert counts == sorted(counts)
        assert _rows(site, len(site.log), tmp_path / "end") == _COMMITS
    finally:
        site.end()


def _rows(site: Journalled, sequence: int, folder: Path) -> int:
    """How many rows the database has before a record; it is sound."""
    folder.mkdir()
    for path, state in site.at(sequence=sequence).items():
        if path.startswith(b"shop.db") and not path.endswith(b"-shm"):
            (folder / path.decode()).write_bytes(state[-1])  # type: ignore[arg-type]
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return database.execute("SELECT count(*) FROM sale").fetchone()[0] if found else 0
