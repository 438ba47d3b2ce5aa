"""Whoever holds four databases is killed at any instant of it: each takes writes again within the lease."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from knowngood.core.model import ComponentSpec
from knowngood.flow.mark import Held, mark
from knowngood.kinds.mariadb.holder import MariaHolder
from knowngood.kinds.postgres.address import address_of
from knowngood.kinds.postgres.holder import PostgresHolder
from knowngood.kinds.postgres.link import Link
from knowngood.kinds.postgres.watchdog import Watchdog
from knowngood.kinds.redis.address import Address
from knowngood.kinds.redis.holder import RedisHolder
from knowngood.kinds.sqlite.holder import SqliteHolder
from knowngood.kinds.sqlite.link import Warden
from knowngood.kinds.sqlite.words import Request
from knowngood.testing.forking import fork
from tests.servers.following import open_folder
from tests.servers.mariadb import MariaServer, mariadb_server
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.redis import RedisServer, redis_server
from tests.servers.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.needs("/usr/lib/postgresql/15/bin/postgres")]

_LEASE = 0.5
_WITHIN = 1.0
_ROUNDS = 12
_MOST_SECONDS = 0.12
"""A hold lasts so long; the rounds are spread over it, and over what comes before and after."""


class Pause:
    """What cannot be held and is read meanwhile (port Holder): it takes its time."""

    def prepare(self, lease: float) -> None:
        """Nothing."""

    def hold(self, lease: float) -> None:
        """Nothing."""

    def mark(self) -> str:
        """For a while."""
        threading.Event().wait(_MOST_SECONDS / 2)
        return ""

    def release(self) -> bool:
        """Nothing changed."""
        return True


class Four:
    """Four databases with writers that are connected, so that it is their commits alone that are waited for."""

    def __init__(self, db: Postgres, books: MariaServer, cache: RedisServer, stats: Path, ending: ExitStack) -> None:
        self._dsn, self._books, self._cache, self._stats = db.dsn, books, cache, stats
        link = ending.enter_context(closing(Link(self._address)))
        link.ask("create table numbers (n int)")
        maria = ending.enter_context(closing(books.access.connect(30)))
        cursor = ending.enter_context(maria.cursor())
        cursor.execute("create table shop.numbers (n int)")
        redis = ending.enter_context(closing(cache.link()))
        file = ending.enter_context(closing(self._opened()))
        file.execute("pragma journal_mode=wal")
        file.execute("create table numbers (n int)")
        self.link = link
        self.writes: Mapping[str, Callable[[], object]] = {
            "postgres": lambda: link.ask("insert into numbers values (1)"),
            "mariadb": lambda: (cursor.execute("insert into shop.numbers values (1)"), maria.commit()),
            "redis": lambda: redis.ask("INCR", "n"),
            "sqlite": lambda: file.execute("insert into numbers values (1)"),
        }

    @property
    def _address(self):
        return address_of(ComponentSpec(name="db", kind="postgres", options={"dsn": self._dsn}))

    def _opened(self) -> sqlite3.Connection:
        return sqlite3.connect(self._stats, isolation_level=None, timeout=30, check_same_thread=False)

    def nobody_is_waited_for(self) -> bool:
        """Whether the server waits for no standby, nor will when it reads what is written down, and nobody is left who
        could change that."""
        self.link.ask("select pg_reload_conf()")
        left = (
            "select count(*) from pg_stat_activity where application_name in ('knowngood hold', 'knowngood watchdog')"
        )
        return self.link.value(left) == "0" and self.link.value("show synchronous_standby_names") == ""

    def hold_again_and_again(self, begun: int) -> None:
        """As the keeper's points do; a byte is written before each time."""
        warden = Warden(str(self._stats))
        warden.ask(Request("begin"))
        parts = [
            Held("db", PostgresHolder(self._address, Watchdog(self._address), lambda _: None)),
            Held("books", MariaHolder(self._books.access, lambda _: None)),
            Held("cache", RedisHolder(Address(socket=str(self._cache.socket)), lambda _: None)),
            Held("stats", SqliteHolder(warden.ask, lambda: None)),
            Held("uploads", Pause(), unheld=True),
        ]
        while mark(parts, _LEASE).reason:  # until everything is connected, and the watchdog runs
            pass
        while True:
            os.write(begun, b"!")
            mark(parts, _LEASE)


@pytest.fixture
def four() -> Iterator[Four]:
    """They run."""
    with ExitStack() as ending:
        folder = ending.enter_context(open_folder(in_memory=True))
        db = ending.enter_context(running_postgres())
        books = ending.enter_context(mariadb_server(folder / "m" / "data"))
        cache = ending.enter_context(redis_server(folder / "r"))
        yield Four(db, books, cache, folder / "stats.db", ending)


@contextmanager
def holding(four: Four) -> Iterator[tuple[int, int]]:
    """A process that holds them; its id, and what it says when it begins to. It is gone in the end."""
    said, say = os.pipe()
    child = fork()
    if not child:
        try:
            os.close(said)
            four.hold_again_and_again(say)
        finally:
            os._exit(1)
    os.close(say)
    try:
        yield child, said
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(said)


def test_writes_go_on_whenever_the_holder_is_killed(four: Four) -> None:
    """Before all are held, while they are, while they are let go: no write waits longer than a second, and PostgreSQL
    waits for nobody any more."""
    dice = random.Random(1)
    for number in range(_ROUNDS):
        with holding(four) as (child, said):
            for _ in range(1 + number % 3):  # the first one, or a later one
                assert os.read(said, 1), "it has ended"
            threading.Event().wait(dice.uniform(number / _ROUNDS, (number + 1) / _ROUNDS) * 1.5 * _MOST_SECONDS)
            os.kill(child, signal.SIGKILL)
            took = _seconds_of_writes(four)
        assert max(took.values()) <= _WITHIN, took
        until(four.nobody_is_waited_for)


def _seconds_of_writes(four: Four) -> dict[str, float]:
    """One write into each, all at once: how long they took from now on."""
    began, took = time.monotonic(), dict[str, float]()

    def write(name: str) -> None:
        four.writes[name]()
        took[name] = time.monotonic() - began

    threads = [threading.Thread(target=write, args=(name,)) for name in four.writes]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert took.keys() == four.writes.keys()
    return took
