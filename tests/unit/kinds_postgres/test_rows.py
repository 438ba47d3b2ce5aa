"""Rows of a table of PostgreSQL: each value as it was, by the table's own key, all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from knowngood.core.errors import KnowngoodError, NotFound, UsageError
from knowngood.core.model import ComponentSpec
from knowngood.core.rows import RowsRequest, Tally, Which
from knowngood.kinds.postgres.rows import open_rows
from tests.servers.postgres import Postgres, running_postgres

pytestmark = pytest.mark.needs("/usr/lib/postgresql/15/bin/postgres")

_ALL = """
create table odd (
    "Id" bigint generated always as identity, "we""ird" text, part int, payload bytea, price numeric, score real,
    big float8, moment timestamptz, span interval, tags text[], doc json, docb jsonb, flag boolean, place point,
    twice int generated always as (part * 2) stored, primary key ("Id", part)
);
insert into odd ("we""ird", part, payload, price, score, big, moment, span, tags, doc, docb, flag, place) values
    (E'tab\\t back\\\\ new\\nline "quote" ''single''', 1, '\\x00ff5c', 1.50, 0.1, 1e300, now(), '1 mon 2 days',
     '{a,"b,c",NULL}', '{"a": 1}', '{"b": [1.0]}', true, '(1,2)'),
    (null, 2, null, 'NaN', 'Infinity', null, '-infinity', null, '{}', null, 'null', false, null),
    ('', 3, '', 0, -0.0, 5e-324, null, null, null, null, null, null, null);
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """Two databases of it: then, and now."""
    with running_postgres() as found:
        yield found


@pytest.fixture
def both(server: Postgres) -> Iterator[Postgres]:
    """Empty ones."""
    for name in ("past", "present"):
        server.sql(f"create database {name}")
    yield server
    for name in ("past", "present"):
        server.sql(f"drop database {name} with (force)")


def in_both(server: Postgres, text: str) -> None:
    """Then and now."""
    for name in ("past", "present"):
        server.sql(text, database=name)


def take(server: Postgres, table: str, which: Which | None, where: str = "") -> Tally:
    """All of it at once."""
    component = ComponentSpec(
        name="db", kind="postgres", options={"dsn": f"host={server.folder} user=postgres dbname=present"}
    )
    found = {"host": str(server.folder), "port": "5432", "user": "postgres", "dbname": "past"}
    rows = open_rows(component, found, RowsRequest(table, where))
    tally = Tally()
    with closing(rows.source), closing(rows.target()) as target:
        for batch in rows.source.batches():
            tally.add(target.merge(batch, which))
        target.commit()
    return tally


def test_every_value_comes_back_as_it_was(both: Postgres) -> None:
    """Types, signs of all sorts, nulls, and what the table computes itself."""
    in_both(both, _ALL.replace("now()", "'2026-01-02 03:04:05.678901+02'"))
    whole = "select md5(string_agg(o::text, '|' order by part)) from odd o"
    before = both.sql(whole, database="present")
    both.sql("delete from odd where part > 1; update odd set score = 0.1000001, flag = false", database="present")
    assert take(both, "odd", None) == Tally(3, 2, 1, 0)
    assert take(both, "odd", Which.MISSING) == Tally(3, 2, 1, 0, 2, 0)
    assert take(both, "odd", Which.CHANGED) == Tally(3, 0, 1, 2, 0, 1)
    assert both.sql(whole, database="present") == before
    assert take(both, "odd", Which.ALL) == Tally(3, 0, 0, 3)


def test_a_condition_is_asked_of_the_past_only(both: Postgres) -> None:
    """It only reads there, and may end with a comment."""
    in_both(
        both, "create table t (id int primary key, v text); insert into t select g, 'x' from generate_series(1,9) g"
    )
    both.sql("delete from t", database="present")
    assert take(both, "public.t", Which.MISSING, "id between 3 and 5 -- these").inserted == 3
    assert both.sql("select string_agg(id::text, ',' order by id) from t", database="present") == "3,4,5"
    with pytest.raises(UsageError, match="--where"):
        take(both, "t", Which.MISSING, "nonsense >")
    with pytest.raises(UsageError, match="read-only"):
        both.sql("create function f() returns bool language sql as 'delete from t returning true'", database="past")
        take(both, "t", Which.MISSING, "f()")
    assert both.sql("select count(*) from t", database="past") == "9"


def test_all_or_nothing(both: Postgres) -> None:
    """A row that production does not take takes back all others."""
    in_both(both, "create table p (id int primary key); create table c (id int primary key, p int references p)")
    both.sql("insert into p values (1), (2); insert into c values (1, 1), (2, 2)", database="past")
    both.sql("insert into p values (1)", database="present")
    with pytest.raises(KnowngoodError, match="nothing was written") as wrong:
        take(both, "c", Which.MISSING)
    assert "--table" in wrong.value.hint
    assert both.sql("select count(*) from c", database="present") == "0"


def test_tables_that_changed_or_are_gone(both: Postgres) -> None:
    """A column that is gone is left out; a new one has its default; without a table or a key it is refused."""
    both.sql(
        "create table t (id int primary key, old text, v text); insert into t values (1, 'o', 'a')", database="past"
    )
    both.sql("create table t (id int primary key, v text, new int default 7)", database="present")
    assert take(both, "t", Which.MISSING).inserted == 1
    assert both.sql("select * from t", database="present") == "1|a|7"
    in_both(both, "create schema s; create table s.u (n int); create table parent (id int primary key)")
    in_both(both, "create table child (primary key (id)) inherits (parent); insert into child values (5)")
    assert take(both, "parent", Which.ALL).rows == 0
    with pytest.raises(UsageError, match="no primary key"):
        take(both, "s.u", None)
    with pytest.raises(NotFound) as wrong:
        take(both, "u", None)
    assert "s.u" in wrong.value.hint
    both.sql("drop table t", database="present")
    with pytest.raises(NotFound, match=r"'public\.t'"):
        take(both, "t", None)


def test_those_who_may_not_write_are_told(both: Postgres) -> None:
    """What is to be granted."""
    in_both(both, "create table t (id int primary key); insert into t values (1)")
    both.sql("create role reader login; delete from t; grant select on t to reader", database="present")
    component = ComponentSpec(
        name="db", kind="postgres", options={"dsn": f"host={both.folder} user=reader dbname=present"}
    )
    found = {"host": str(both.folder), "port": "5432", "user": "postgres", "dbname": "past"}
    rows = open_rows(component, found, RowsRequest("t"))
    with closing(rows.source), closing(rows.target()) as target, pytest.raises(UsageError) as wrong:
        target.merge([("1",)], Which.MISSING)
    assert "GRANT" in wrong.value.hint
    both.sql("drop owned by reader", database="present")
    both.sql("drop role reader")
