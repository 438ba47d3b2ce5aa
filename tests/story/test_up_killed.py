"""`knowngood up` is killed while databases are written to: what the vault was told to have is there, each time."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from knowngood.core.errors import KnowngoodError
from knowngood.core.model import ComponentSpec
from knowngood.kinds.postgres.address import address_of
from knowngood.kinds.postgres.link import Link
from knowngood.plugins import PLUGINS
from tests.servers.following import open_folder
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.redis import RedisServer, redis_server
from tests.servers.waiting import until
from tests.story.test_up import up
from tests.user import User

pytestmark = [pytest.mark.slow, pytest.mark.needs("/usr/lib/postgresql/15/bin/postgres")]

_ROUNDS = 3
_DURABLE = "select bool_or(flush_lsn >= $1::pg_lsn) from pg_stat_replication where application_name like 'knowngood%'"


class Acknowledged:
    """Writers of two servers, and the highest numbers that the vault was told to have."""

    def __init__(self, db: Postgres, cache: RedisServer) -> None:
        self._spec = ComponentSpec(name="db", kind="postgres", options={"dsn": db.dsn})
        self._db, self._cache = db, cache
        self._over = threading.Event()
        self.rows = self.count = 0

    def has_more_than(self, rows: int, count: int) -> bool:
        """Whether so many were acknowledged."""
        return self.rows > rows and self.count > count

    @contextmanager
    def working(self) -> Iterator[None]:
        """While the block runs, numbers are written, one after the other."""
        self._over.clear()
        threads = [threading.Thread(target=each) for each in (self._rows, self._counts)]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            self._over.set()
            for each in threads:
                each.join()

    def _rows(self) -> None:
        """A row, and then the server's word that a standby of ours has it."""
        with closing(Link(address_of(self._spec))) as link:
            number = int(link.value("select count(*) from numbers"))  # of the last ones nobody was told
            while not self._over.is_set():
                number += 1
                link.ask(f"insert into numbers values ({number})")
                place = link.value("select pg_current_wal_flush_lsn()")
                while link.value(_DURABLE, place) != "t" and not self._over.wait(0.002):
                    pass
                if not self._over.is_set():
                    self.rows = number

    def _counts(self) -> None:
        """A number, and then `WAIT`."""
        number = self.count
        with closing(self._cache.link()) as link:
            while not self._over.is_set():
                number += 1
                link.ask("SET", "n", number)
                if link.ask("WAIT", 1, 200) == 1:
                    self.count = number


def test_what_was_told_to_be_durable_is_there(tmp_path: Path) -> None:
    """Again and again: killed at any moment, all of it, and begun anew beside what is left of the one before."""
    user, dice = User(tmp_path), random.Random(1)
    user.begins()
    with (
        running_postgres() as db,
        open_folder() as folder,
        redis_server(folder / "r") as cache,
    ):
        db.sql("create table numbers (n int primary key)")
        described = tmp_path / "shop.yaml"
        described.write_text(
            f'service: shop\ncomponents:\n  db: {{kind: postgres, dsn: "{db.dsn}"}}\n'
            f'  cache: {{kind: redis, url: "{cache.url}"}}\npolicy: {{rpo: 1d, points: 12h}}\n'
        )
        user.does("service", "apply", described)
        acknowledged = Acknowledged(db, cache)
        for number in range(_ROUNDS):
            with up(user) as running:
                running.until("point", service="shop")  # a base, or what stands for all that came meanwhile
                until(partial(_followed, user))
                with acknowledged.working():
                    until(partial(acknowledged.has_more_than, acknowledged.rows + 5, acknowledged.count + 5))
                    threading.Event().wait(dice.random() * 0.3)  # at any moment of a tick
                    running.ends(signal.SIGKILL, -signal.SIGKILL)
                    told = acknowledged.rows, acknowledged.count
            out = folder / f"out{number}"
            user.does("recover", "shop", "--at", "latest", "--to", out)
            assert _rows(out / "db", db) >= told[0]
            assert _count(out / "cache", cache) >= told[1]
    user.does("vault", "check", "--read-data")


def _followed(user: User) -> bool:
    try:
        (service,) = user.asks("status")["services"]
    except (AssertionError, KnowngoodError):
        return False
    return bool(service["followers"]) and all(each["behind"] is not None for each in service["followers"])


def _rows(folder: Path, db: Postgres) -> int:
    found = _asked("postgres", folder, {"dsn": db.dsn}, "select count(*), coalesce(max(n), 0) from numbers")
    assert found[0] == found[1]
    return int(found[0])


def _count(folder: Path, cache: RedisServer) -> int:
    return int(_asked("redis", folder, {"url": cache.url}, "GET n")[0])


def _asked(kind: str, folder: Path, options: dict[str, str], question: str) -> tuple[str, ...]:
    sandbox = PLUGINS.kinds()[kind].sandbox(ComponentSpec(name="it", kind=kind, options=options), str(folder))
    try:
        return sandbox.ask(question, 60)[0]
    finally:
        sandbox.stop()
