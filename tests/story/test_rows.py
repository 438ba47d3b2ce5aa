"""Somebody gets a few rows of a database back, without touching the others."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.user import User


@pytest.fixture
def user(tmp_path: Path) -> User:
    """A service of one database, protected once."""
    user = User(tmp_path)
    user.begins()
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT, price REAL, note)")
        rows = [(number, f"thing {number}", number / 4, None) for number in range(1, 31)]
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", [*rows, (31, 'a "b",\n', 0.1, b"\x00\xff")])
        database.commit()
    described = tmp_path / "shop.yaml"
    described.write_text(f"service: shop\ncomponents: {{db: {{kind: sqlite, path: {tmp_path}/shop.db}}}}\n")
    user.does("service", "apply", described)
    user.protects()
    return user


@pytest.fixture
def database(user: User) -> Iterator[sqlite3.Connection]:
    """Production."""
    with closing(sqlite3.connect(user.folder / "shop.db", isolation_level=None)) as found:
        yield found


def test_rows_that_were_deleted_come_back(user: User, database: sqlite3.Connection) -> None:
    """First the plan; then those that are asked for, and only they. What was written since stays."""
    database.execute("DELETE FROM orders WHERE id >= 10")
    database.execute("UPDATE orders SET what = 'newer' WHERE id < 3")
    database.execute("INSERT INTO orders VALUES (100, 'new', 1, NULL)")
    words = ("recover", "shop", "--component", "db", "--table", "orders", "--where", "id between 10 and 20")
    plan = user.does(*words, "--dry-run").out
    assert "11 rows then: 11 missing in production, 0 different there, 0 the same" in plan
    assert database.execute("SELECT count(*) FROM orders").fetchone() == (10,)
    assert user.does(*words, typed="n\n").out.endswith("nothing was written\n")
    answer = user.asks(*words)
    assert (answer["rows"], answer["inserted"], answer["updated"]) == (11, 11, 0)
    changed = user.asks("recover", "shop", "--table", "orders", "--rows", "changed")
    assert (changed["missing"], changed["different"], changed["same"]) == (11, 2, 18)
    assert (changed["inserted"], changed["updated"]) == (0, 2)
    assert "11 added, 0 as they were, 20 left alone" in user.does("recover", "shop", "--table", "orders", "-y").out
    assert database.execute("SELECT count(*), max(id) FROM orders").fetchone() == (32, 100)
    assert not list(user.home.glob("sandboxes/*"))


def test_rows_as_files(user: User, database: sqlite3.Connection) -> None:
    """As CSV, JSON and SQL; nothing in production is read or written, and no file is replaced."""
    words = ("recover", "shop", "--table", "orders", "--where", "id > 29", "--to")
    for name in ("o.csv", "o.jsonl", "o.sql"):
        assert user.asks(*words, user.folder / name)["rows"] == 2
        assert (user.folder / name).stat().st_mode & 0o777 == 0o600
    with (user.folder / "o.csv").open(newline="") as file:
        assert [*csv.DictReader(file)] == [
            {"id": "30", "what": "thing 30", "price": "7.5", "note": ""},
            {"id": "31", "what": 'a "b",\n', "price": "0.1", "note": "\\x00ff"},
        ]
    lines = (user.folder / "o.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"id": 31, "what": 'a "b",\n', "price": 0.1, "note": "\\x00ff"}
    before = database.execute("SELECT * FROM orders WHERE id > 29").fetchall()
    database.execute("DELETE FROM orders")
    database.executescript((user.folder / "o.sql").read_text())
    assert database.execute("SELECT * FROM orders").fetchall() == before
    assert "there already" in user.does(*words, user.folder / "o.sql", status=2).err
    assert ".csv" in user.does(*words, user.folder / "o.txt", status=2).err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--where 1", "--table"),
        ("--rows all", "--table"),
        ("--table t --key k", "no keys"),
        ("--table t --sandbox", "--at"),
        ("--table t --path p", "--at"),
        ("--table t --to t.csv --rows all", "--rows"),
        ("--table t --component other", "'other'"),
        ("--key k --where 1", "--where"),
    ],
)
def test_words_that_do_not_go_together(user: User, words: str, said: str) -> None:
    """It is said which."""
    answer = user.does("recover", "shop", *words.split(), status=4 if "other" in words else 2)
    assert said in answer.err


def test_a_service_that_only_the_vault_knows(user: User) -> None:
    """Nobody's word but this machine's says where production is; a file can be written all the same."""
    user.does("service", "remove", "shop")
    assert "--to" in user.does("recover", "shop", "--table", "orders", status=2).err
    assert user.asks("recover", "shop", "--table", "orders", "--to", user.folder / "o.csv")["rows"] == 31
