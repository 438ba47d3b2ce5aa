"""What following costs the databases: transactions a second with the keeper and without, in turns."""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing

from bench.services.chains import Stores
from bench.services.servers import MariaDB, Postgres, Redis, Sqlite
from bench.services.shop import Shop
from bench.services.table import Table

_CLIENTS = 4
_ASKED = {"PostgreSQL": 95, "MariaDB": 95, "Redis": 95, "SQLite": 85}  # percent
_NICE = 19
_BODY = "x" * 200

Load = Callable[[float], float]
"""Works for so many seconds; how much came of it, a second."""


def measure(stores: Stores, shop: Shop, rounds: int, seconds: float, table: Table) -> None:
    """All four in each turn; the keeper follows all of them."""
    loads: dict[str, Load] = {
        "PostgreSQL": lambda seconds: _postgres(stores.db, seconds),
        "MariaDB": lambda seconds: _mariadb(stores.books, seconds),
        "Redis": lambda seconds: _redis(stores.cache, seconds),
        "SQLite": lambda seconds: _sqlite(stores.stats, seconds),
    }
    stores.db.run("pgbench", "-h", stores.db.sockets, "-U", "postgres", "-q", "-i", "-s", 5, "postgres")
    for load in loads.values():
        load(1)
    without: dict[str, list[float]] = {name: [] for name in loads}
    with_it: dict[str, list[float]] = {name: [] for name in loads}
    for _ in range(rounds):
        for name, load in loads.items():
            without[name].append(load(seconds))
        with shop.followed(_NICE):
            for name, load in loads.items():
                with_it[name].append(load(seconds))
    for name in loads:
        ratios = [100 * after / before for before, after in zip(without[name], with_it[name], strict=True)]
        table.add(f"{name}, unprotected", statistics.median(without[name]), "tps")
        table.add(f"{name}, with the keeper at nice {_NICE}", statistics.median(ratios), "%", least=_ASKED[name])


def _postgres(server: Postgres, seconds: float) -> float:
    words = ("-h", server.sockets, "-U", "postgres", "-n", "-c", _CLIENTS, "-T", max(1, round(seconds)), "postgres")
    said = server.run("pgbench", *words)
    (line,) = (each for each in said.splitlines() if each.startswith("tps"))
    return float(line.split()[2])


def _mariadb(server: MariaDB, seconds: float) -> float:
    def work(end: float, done: list[int]) -> None:
        with closing(server.connect()) as connection, connection.cursor() as cursor:
            while time.monotonic() < end:
                cursor.execute("insert into load_of_books (body) values (%s)", (_BODY,))
                done.append(1)

    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("create table if not exists load_of_books (id bigint auto_increment primary key, body text)")
    return _threads(work, seconds)


def _sqlite(database: Sqlite, seconds: float) -> float:
    with closing(database.connect()) as db:
        db.execute("pragma synchronous=full")
        db.execute("create table if not exists load (id integer primary key, body text)")
        count, start = 0, time.monotonic()
        while time.monotonic() - start < seconds:
            db.execute("insert into load (body) values (?)", (_BODY,))
            count += 1
        return count / (time.monotonic() - start)


def _redis(server: Redis, seconds: float) -> float:
    """As many as came about in the time, by redis-benchmark, which is asked for few and then for what that promises."""
    return _benchmark(server, int(_benchmark(server, 20_000) * seconds))


def _benchmark(server: Redis, count: int) -> float:
    words = ["-s", server.socket, "-t", "set", "-d", "100", "-r", "100000", "-c", str(_CLIENTS), "-n", str(count)]
    done = subprocess.run(["redis-benchmark", "--csv", *words], check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1].split(",")[1].strip('"'))


def _threads(work: Callable[[float, list[int]], None], seconds: float) -> float:
    done: list[int] = []
    start = time.monotonic()
    threads = [threading.Thread(target=work, args=(start + seconds, done)) for _ in range(_CLIENTS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return len(done) / (time.monotonic() - start)
