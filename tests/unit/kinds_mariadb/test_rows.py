"""Rows of a table of MariaDB: each value as it was, by the table's own key, all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from knowngood.core.errors import KnowngoodError, NotFound, UsageError
from knowngood.core.rows import Row, Rows, RowsRequest, Tally, Which
from knowngood.kinds.mariadb.rows import open_rows
from tests.servers.following import open_folder
from tests.servers.mariadb import MariaServer, mariadb_server

_ODD = """
CREATE TABLE shop.`od``d` (
    id INT UNSIGNED NOT NULL, word VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL,
    `we``ird` TEXT, old VARCHAR(20) CHARACTER SET latin1, payload BLOB, bits BIT(10), price DECIMAL(30,10), score FLOAT,
    big DOUBLE, day DATE, moment TIMESTAMP(6) NULL, span TIME(3), kind ENUM('a','b'), doc JSON, place POINT,
    twice INT AS (id * 2) STORED, PRIMARY KEY (word, id))
"""
_VALUES = (
    r"INSERT INTO shop.`od``d` (id, word, `we``ird`, old, payload, bits, price, score, big, day, moment, span, kind, "
    r"doc, place) VALUES (0, 'Abc', 'tab\t back\\ \'single\' 💾 \0 end', 'Grüße', X'00FF5C27', b'1000000001', 1.5, "
    r"0.1, 1e300, '0000-00-00', '2026-01-02 03:04:05.678901', '-838:59:59', 'b', '{\"a\": 1}', POINT(1, 2)), "
    r"(7, 'abc', NULL, NULL, NULL, NULL, NULL, 16777217, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
)


@pytest.fixture(scope="module")
def server() -> Iterator[MariaServer]:
    """One server: what is read of it is then, what is written to it is now."""
    with open_folder() as folder, mariadb_server(folder / "m" / "data") as found:
        yield found


@pytest.fixture
def options(server: MariaServer, tmp_path: Path) -> Path:
    """How a sandbox is reached."""
    server.ask("SET GLOBAL sql_mode = ''", "DROP DATABASE IF EXISTS shop", "CREATE DATABASE shop")
    path = tmp_path / "client.cnf"
    path.write_text("[client]\nuser=root\n")
    return path


def opened(server: MariaServer, options: Path, table: str, where: str = "") -> Rows:
    """Both sides."""
    found = {"socket": str(server.socket), "option-file": str(options)}
    return open_rows(server.component, found, RowsRequest(table, where))


def read(rows: Rows) -> list[Row]:
    """All of them; the sandbox is gone then."""
    found = [row for batch in rows.source.batches() for row in batch]
    rows.source.close()
    return found


def merge(rows: Rows, found: list[Row], which: Which | None) -> Tally:
    """In one transaction."""
    with closing(rows.target()) as target:
        tally = target.merge(found, which)
        target.commit()
        return tally


def test_every_value_comes_back_as_it_was(server: MariaServer, options: Path) -> None:
    """Types, signs of all sorts, nulls, zero dates, capitals, and floats with more digits than are written."""
    server.ask(_ODD, _VALUES, "COMMIT")
    whole = (
        "SELECT id, BINARY word, `we``ird`, HEX(old), HEX(payload), bits + 0, price, score + 0e0, big, "
        "CAST(day AS CHAR), moment, span, kind, doc, HEX(ST_AsWKB(place)), twice FROM shop.`od``d` ORDER BY id"
    )
    before = server.ask(whole)
    rows = opened(server, options, "od`d")
    found = read(rows)
    server.ask(
        "DELETE FROM shop.`od``d` WHERE id = 0", "UPDATE shop.`od``d` SET score = 16777220, word = 'ABC'", "COMMIT"
    )
    assert merge(rows, found, None) == Tally(2, 1, 1, 0)
    assert merge(rows, found, Which.ALL) == Tally(2, 1, 1, 0, 1, 1)
    after = server.ask(whole)
    # what the key tells apart is as it was; the bytes of a key that is the same to the table stay
    assert [(*row[:1], *row[2:]) for row in after] == [(*row[:1], *row[2:]) for row in before]
    assert [row[1] for row in after] == [b"Abc", b"ABC"]


def test_a_condition_only_reads(server: MariaServer, options: Path) -> None:
    """It is written as behind WHERE, and may end with a comment."""
    server.ask(
        "CREATE TABLE shop.t (id INT PRIMARY KEY, v TEXT)", "INSERT INTO shop.t SELECT seq, seq FROM shop.seq_1_to_9"
    )
    server.ask("COMMIT")
    rows = opened(server, options, "shop.t", "v between 3 and 5 -- these")
    assert [row[0] for row in read(rows)] == ["3", "4", "5"]
    with pytest.raises(UsageError, match="--where"):
        read(opened(server, options, "t", "nonsense >"))


def test_all_or_nothing(server: MariaServer, options: Path) -> None:
    """A row that production does not take takes back all others; nothing is cut to fit."""
    server.ask("CREATE TABLE shop.p (id INT PRIMARY KEY)", "INSERT INTO shop.p VALUES (1), (2)")
    server.ask("CREATE TABLE shop.c (id INT PRIMARY KEY, p INT, v TEXT, FOREIGN KEY (p) REFERENCES shop.p (id))")
    server.ask("INSERT INTO shop.c VALUES (1, 1, 'a'), (2, 2, 'long')", "COMMIT")
    rows = opened(server, options, "c")
    found = read(rows)
    server.ask("DELETE FROM shop.c", "DELETE FROM shop.p WHERE id = 2", "COMMIT")
    with pytest.raises(KnowngoodError, match="nothing was written") as wrong:
        merge(rows, found, Which.MISSING)
    assert "--table" in wrong.value.hint
    server.ask("INSERT INTO shop.p VALUES (2)", "ALTER TABLE shop.c MODIFY v VARCHAR(2)", "COMMIT")
    with pytest.raises(KnowngoodError, match="nothing was written"):
        merge(rows, found, Which.MISSING)
    assert server.ask("SELECT count(*) FROM shop.c") == [(0,)]


def test_what_is_not_there(server: MariaServer, options: Path) -> None:
    """Tables that are gone, that several databases have, that have no key; accounts without rights."""
    server.ask("CREATE DATABASE IF NOT EXISTS other", "CREATE TABLE IF NOT EXISTS other.t (id INT PRIMARY KEY)")
    server.ask("CREATE TABLE shop.t (id INT PRIMARY KEY)", "CREATE TABLE shop.k (id INT)")
    with pytest.raises(NotFound) as several:
        opened(server, options, "t")
    assert "shop.t" in several.value.hint
    rows = opened(server, options, "shop.k")
    with closing(rows.source), pytest.raises(UsageError, match="no primary key"):
        rows.target()
    server.ask("CREATE OR REPLACE USER poor@localhost", "GRANT SELECT ON shop.* TO poor@localhost")
    server.user = "poor"
    try:
        rows = opened(server, options, "shop.t")
        with closing(rows.source), pytest.raises(UsageError) as wrong:
            rows.target()
        assert "CREATE TEMPORARY TABLES" in wrong.value.hint
    finally:
        server.user = "root"
        server.ask("DROP DATABASE other", "DROP USER poor@localhost")


def test_statements(server: MariaServer, options: Path) -> None:
    """They do what they say."""
    server.ask(_ODD, _VALUES, "COMMIT")
    rows = opened(server, options, "shop.od`d")
    found = [row for batch in rows.source.batches() for row in batch]
    statements = [rows.source.statement(row).removesuffix(";") for row in found]
    rows.source.close()
    server.ask("DELETE FROM shop.`od``d`", "COMMIT")
    server.ask(*statements, "COMMIT")
    assert merge(opened_target(server, options), found, None) == Tally(2, 0, 0, 2)


def opened_target(server: MariaServer, options: Path) -> Rows:
    """Only what is written to."""
    rows = opened(server, options, "shop.od`d")
    rows.source.close()
    return rows
