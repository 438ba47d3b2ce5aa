"""Load that leaves traces: chains of a file, and commits in four databases, each only after the one before it.

So whatever comes back has to be of one instant: of each chain that is in a store, all stores before it have it, too.
What was acknowledged is written down, with the time; no clock of another machine takes part.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.services.servers import MariaDB, Postgres, Redis, Sqlite
from bench.services.shop import Component

STORES = ("uploads", "db", "books", "stats", "cache")
"""In the order of a chain."""

Heights = dict[str, list[int]]
"""For each store, how many chains of each worker are in it."""


@dataclass(slots=True)
class Worker:
    """One that makes chains: for each store, when (ns, wall clock) each write was begun and acknowledged."""

    number: int
    begun: dict[str, list[int]] = field(default_factory=lambda: {each: [] for each in STORES})
    acknowledged: dict[str, list[int]] = field(default_factory=lambda: {each: [] for each in STORES})

    def step(self, store: str, write: Callable[[], object]) -> None:
        """One write."""
        self.begun[store].append(time.time_ns())
        write()
        self.acknowledged[store].append(time.time_ns())


@dataclass(frozen=True, slots=True)
class Uploads:
    """A folder, as a service file describes it."""

    described: str


class Stores:
    """The four databases and a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o755)
        self.uploads = folder / "uploads"
        self.uploads.mkdir()
        with ExitStack() as started:
            self.db = started.enter_context(closing(Postgres(folder / "postgres")))
            self.books = started.enter_context(closing(MariaDB(folder / "mariadb")))
            self.cache = started.enter_context(closing(Redis(folder / "redis")))
            self.stats = Sqlite(folder / "sqlite")
            self._ending = started.pop_all()
        with closing(self.db.connect()) as db, closing(self.books.connect()) as books, books.cursor() as cursor:
            db.execute("create table orders (worker int, n int, file text, primary key (worker, n))")
            cursor.execute("create table books (worker int, n int, primary key (worker, n))")
        with closing(self.stats.connect()) as stats:
            stats.execute("create table stats (worker integer primary key, n integer)")

    @property
    def components(self) -> dict[str, Component]:
        """All of a service file."""
        return {
            "db": self.db,
            "books": self.books,
            "stats": self.stats,
            "cache": self.cache,
            "uploads": Uploads(f"{{kind: files, path: {self.uploads}}}"),
        }

    def close(self) -> None:
        """End the servers."""
        self._ending.close()


def chains(stores: Stores, worker: Worker, per_second: float, over: threading.Event) -> None:
    """Make one chain after the other, so many a second, until it is over."""
    folder = stores.uploads / str(worker.number)
    folder.mkdir(exist_ok=True)
    me = worker.number
    with (
        closing(stores.db.connect()) as db,
        closing(stores.books.connect()) as books,
        closing(stores.stats.connect()) as stats,
        closing(stores.cache.connect()) as cache,
        books.cursor() as cursor,
    ):
        number = 0
        while not over.wait(1 / per_second):
            number += 1
            path, row = folder / f"{number:06}", (me, number)
            worker.step("uploads", partial(path.write_bytes, path.name.encode()))
            order = (*row, f"{me}/{path.name}")
            worker.step("db", partial(db.execute, "insert into orders values (%s, %s, %s)", order))
            worker.step("books", partial(cursor.execute, "insert into books values (%s, %s)", row))
            worker.step("stats", partial(stats.execute, "insert or replace into stats values (?, ?)", row))
            worker.step("cache", partial(cache.ask, "SET", f"n{me}", number))


@contextmanager
def working(stores: Stores, workers: int, per_second: float) -> Iterator[list[Worker]]:
    """Workers that work while the block runs."""
    over, found = threading.Event(), [Worker(number) for number in range(workers)]
    threads = [threading.Thread(target=chains, args=(stores, each, per_second / workers, over)) for each in found]
    for each in threads:
        each.start()
    try:
        yield found
    finally:
        over.set()
        for each in threads:
            each.join()


def violations(heights: Heights, workers: list[Worker], moment_ns: int) -> list[str]:
    """What of a recovered point contradicts its being one instant."""
    wrong: list[str] = []
    for worker in workers:
        found = [heights[each][worker.number] for each in STORES]
        if found != sorted(found, reverse=True) or found[0] > found[-1] + 1:
            wrong.append(f"worker {worker.number}: {dict(zip(STORES, found, strict=True))}")
        for store, height in zip(STORES, found, strict=True):
            sure = sum(each < moment_ns for each in worker.acknowledged[store])
            most = sum(each < moment_ns for each in worker.begun[store])
            if not sure <= height <= most:
                wrong.append(f"worker {worker.number}: {height} in {store}, {sure} acknowledged before, {most} begun")
    return wrong
