"""`knowngood up` follows a PostgreSQL server: any place in its log can be had back, in the server's own words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from knowngood.core.model import ComponentSpec
from knowngood.plugins import PLUGINS
from tests.servers.following import open_folder
from tests.servers.postgres import POSTGRES, Postgres, running_postgres
from tests.story.test_up import up
from tests.user import User

pytestmark = [pytest.mark.slow, pytest.mark.needs(POSTGRES)]

_DEADLINE = 90.0


@contextmanager
def _begun(server: Postgres, folder: Path) -> Iterator[User]:
    """A service of a database, followed while the block runs."""
    user = User(folder)
    user.begins()
    described = folder / "shop.yaml"
    described.write_text(f'service: shop\ncomponents:\n  db: {{kind: postgres, dsn: "{server.dsn}"}}\n')
    user.does("service", "apply", described)
    user.does("policy", "set", "shop", "rpo=1d", "points=12h")
    with up(user) as running:
        running.until("point", service="shop")
        yield user


def test_any_place_in_the_log(tmp_path: Path) -> None:
    """By its number, a transaction or just before it, a name, a time; and what is no such place is refused."""
    del tmp_path
    with running_postgres() as server, open_folder() as folder, _begun(server, folder) as user:
        server.sql("create table numbers (number int)")
        places: list[tuple[str, str, str]] = []
        for number in range(1, 5):
            insert = f"with done as (insert into numbers values ({number}) returning 1)"
            xid = server.sql(f"{insert} select pg_current_xact_id() from done")
            when = server.sql("select to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
            server.sql(f"select pg_create_restore_point('after {number}')")
            places.append((xid, server.sql("select pg_current_wal_lsn()"), when))
        _landed(server, places[-1][1])
        xid, place, when = places[1]
        expected = {
            "": "1,2,3,4", f"lsn={place}": "1,2", f"xid={xid}": "1,2", f"before-xid={xid}": "1",
            "name=after 3": "1,2,3", f"time={when}": "1,2",
        }  # fmt: skip
        for number, (until, numbers) in enumerate(expected.items()):
            out = folder / f"out{number}"
            user.does("recover", "shop", "-c", "db", "--to", out, *(["--until", until] if until else []))
            assert _numbers(server, out) == numbers, until
        beside = ("recover", "shop", "-c", "db", "--to", folder / "other", "--until")
        assert "before-xid" in user.does(*beside, "gtid=7", status=2).err
        assert "WHAT=VALUE" in user.does(*beside, "7", status=2).err
        running = user.does("recover", "shop", status=7)
        assert "stop it first" in running.err
        assert "--to" in running.err
        assert "stop it first" in user.asks("recover", "shop", "--dry-run")["plans"][0]["hindrance"]
        assert not (folder / "other").exists()


def _landed(server: Postgres, place: str) -> None:
    """Wait until the server was told that all up to there is durable."""
    end = time.monotonic() + _DEADLINE
    while server.sql(f"select bool_or(flush_lsn >= '{place}') from pg_stat_replication") != "t":
        assert time.monotonic() < end


def _numbers(server: Postgres, out: Path) -> str:
    component = ComponentSpec(name="db", kind="postgres", options={"dsn": server.dsn})
    sandbox = PLUGINS.kinds()["postgres"].sandbox(component, str(out))
    try:
        return sandbox.ask("select string_agg(number::text, ',' order by number) from numbers", 30)[0][0]
    finally:
        sandbox.stop()


def test_a_bad_transaction_is_undone(tmp_path: Path) -> None:
    """What one statement deleted and changed comes back, by its number; what others wrote meanwhile stays."""
    del tmp_path
    with running_postgres() as server, open_folder() as folder, _begun(server, folder) as user:
        server.sql("create table orders (id int primary key, total int); create table other (id int)")
        server.sql("insert into orders select n, n from generate_series(1, 1000) n")
        change = "with gone as (delete from orders where id > 10 returning 1), done as (update orders set total = 0 "
        xid = server.sql(f"{change} where id <= 10 returning 1) select pg_current_xact_id()")
        server.sql("insert into orders values (2000, 1); update orders set total = 77 where id = 5")
        _landed(server, server.sql("select pg_current_wal_lsn()"))
        words = ("recover", "shop", "--table", "orders", "--until", f"before-xid={xid}")
        plan = user.asks(*words, "--dry-run")
        assert (plan["rows"], plan["missing"], plan["different"]) == (1000, 990, 10)
        done = user.asks(*words, "--rows", "all", "--where", "id <> 5")
        assert (done["inserted"], done["updated"]) == (990, 9)
        assert server.sql("select count(*), sum(total) from orders where id <= 1000 and id <> 5") == "999|500495"
        assert server.sql("select string_agg(total::text, ',' order by id) from orders where id in (5, 2000)") == "77,1"
        assert user.asks(*words, "--to", folder / "orders.jsonl")["rows"] == 1000
        print("until it answered:", done["sandbox_seconds"], "in all:", done["seconds"])  # noqa: T201
