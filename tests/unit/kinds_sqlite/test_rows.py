"""Rows of a table of SQLite: each value as it was, by the table's own key, all of it or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from knowngood.core.errors import Busy, KnowngoodError, NotFound, UsageError
from knowngood.core.model import ComponentSpec
from knowngood.core.rows import RowsRequest, Tally, Which
from knowngood.kinds.sqlite.rows import open_rows


def run(path: Path, text: str) -> list[tuple[object, ...]]:
    """A script, whose last statement is a question."""
    *first, last = [each for each in text.split(";\n") if each.strip()]
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for each in first:
            database.execute(each)
        return database.execute(last).fetchall()


@pytest.fixture
def both(tmp_path: Path) -> Sequence[Path]:
    """Then, and now: in other folders, as elsewhere."""
    for name in ("past", "present"):
        (tmp_path / name).mkdir()
    return tmp_path / "past" / "shop.db", tmp_path / "present" / "shop.db"


def take(both: Sequence[Path], table: str, which: Which | None, where: str = "") -> Tally:
    """All of it at once."""
    component = ComponentSpec(name="db", kind="sqlite", path=str(both[1]))
    rows = open_rows(component, {"path": str(both[0])}, RowsRequest(table, where))
    tally = Tally()
    with closing(rows.source), closing(rows.target()) as target:
        for batch in rows.source.batches():
            tally.add(target.merge(batch, which))
        target.commit()
    return tally


_ODD = """
CREATE TABLE "od""d" (word TEXT COLLATE NOCASE, id INTEGER, "we""ird", n, twice AS (id * 2), PRIMARY KEY (id, word))
    WITHOUT ROWID;
INSERT INTO "od""d" VALUES ('Abc', 1, 'tab' || char(9) || '''"' || char(0) || '💾', X'00FF'), ('abd', 1, NULL, 1e300),
    ('abe', 2, '', 9223372036854775807), ('abf', 3, 7, 0.1);
SELECT 1
"""


def test_every_value_comes_back_as_it_was(both: Sequence[Path]) -> None:
    """Types of single values, signs of all sorts, nulls, capitals, and what the table computes itself."""
    for each in both:
        run(each, _ODD)
    whole = """SELECT id, word, "we""ird", typeof("we""ird"), n, typeof(n) FROM "od""d" ORDER BY 1, 2"""
    before = run(both[0], whole)
    run(both[1], """DELETE FROM "od""d" WHERE id = 1;\nUPDATE "od""d" SET "we""ird" = '7' WHERE id = 3;\nSELECT 1""")
    assert take(both, 'od"d', None) == Tally(4, 2, 1, 1)
    assert take(both, 'OD"D', Which.MISSING) == Tally(4, 2, 1, 1, 2, 0)
    assert take(both, 'od"d', Which.CHANGED) == Tally(4, 0, 1, 3, 0, 1)
    assert run(both[1], whole) == before
    run(both[1], """UPDATE "od""d" SET word = 'ABC' WHERE word = 'abc';\nSELECT 1""")
    assert take(both, 'od"d', None).different == 1


def test_a_condition_only_reads(both: Sequence[Path]) -> None:
    """It is written as behind WHERE, and may end with a comment."""
    for each in both:
        run(each, "CREATE TABLE t (id INTEGER PRIMARY KEY);\nSELECT 1")
    run(both[0], "INSERT INTO t VALUES (1), (2), (3), (4);\nSELECT 1")
    assert take(both, "main.t", Which.MISSING, "id between 2 and 3 -- these").inserted == 2
    assert run(both[1], "SELECT id FROM t") == [(2,), (3,)]
    for wrong in ("nonsense >", "1); DELETE FROM t; --"):
        with pytest.raises(UsageError, match="--where"):
            take(both, "t", Which.MISSING, wrong)


def test_all_or_nothing(both: Sequence[Path]) -> None:
    """A row that production does not take takes back all others."""
    for each in both:
        run(
            each,
            "CREATE TABLE p (id INTEGER PRIMARY KEY);\nCREATE TABLE c (id PRIMARY KEY, p REFERENCES p);\nSELECT 1",
        )
    run(both[0], "INSERT INTO p VALUES (1), (2);\nINSERT INTO c VALUES (1, 1), (2, 2);\nSELECT 1")
    run(both[1], "INSERT INTO p VALUES (1);\nSELECT 1")
    with pytest.raises(KnowngoodError, match="nothing was written"):
        take(both, "c", Which.MISSING)
    assert run(both[1], "SELECT count(*) FROM c") == [(0,)]


def test_what_is_not_there(both: Sequence[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and databases that are gone, tables without a key, a writer that does not end."""
    run(both[0], "CREATE TABLE t (id INTEGER PRIMARY KEY);\nCREATE TABLE k (id);\nINSERT INTO t VALUES (1);\nSELECT 1")
    with pytest.raises(NotFound, match="no database"):
        take(both, "t", None)
    assert not both[1].exists()
    run(both[1], "CREATE TABLE k (id);\nSELECT 1")
    with pytest.raises(NotFound) as wrong:
        take(both, "t", None)
    assert "k" in wrong.value.hint
    with pytest.raises(UsageError, match="no primary key"):
        take(both, "k", None)
    run(both[1], "CREATE TABLE t (id INTEGER PRIMARY KEY);\nSELECT 1")
    monkeypatch.setattr("knowngood.kinds.sqlite.rows._BUSY_SECONDS", 0.01)
    with closing(sqlite3.connect(both[1], isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert take(both, "t", None).missing == 1
        with pytest.raises(Busy):
            take(both, "t", Which.MISSING)


def test_a_key_that_is_null_is_refused(both: Sequence[Path]) -> None:
    """Nobody could tell which row it is; each merging would add one more."""
    for each in both:
        run(each, "CREATE TABLE t (id TEXT PRIMARY KEY);\nINSERT INTO t VALUES (NULL);\nSELECT 1")
    with pytest.raises(UsageError, match="NULL"):
        take(both, "t", Which.ALL)
    assert run(both[1], "SELECT count(*) FROM t") == [(1,)]
