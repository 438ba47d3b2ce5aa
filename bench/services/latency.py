"""From the acknowledgement of a commit until the server is told that it is durable in the vault."""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from bench.continuous.figures import cpu_of, until
from bench.services.servers import Postgres
from bench.services.shop import Shop
from bench.services.table import Table, quantile

_INSERT = "insert into load (body) values (repeat(md5(random()::text), 8));\n"
_STEP = 0.0005
_US = "knowngood%"
_RATES = (20, 500)
_ASKED = {20: (10.0, 200.0), 500: (10.0, 200.0)}  # ms


@contextmanager
def loaded(server: Postgres, rate: int, clients: int = 4) -> Iterator[None]:
    """So many transactions a second, of a few hundred bytes each, while the block runs."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(_INSERT)
        script.flush()
        words = ["-n", "-f", script.name, "-R", rate, "-c", clients, "-T", 100_000, "-h", server.sockets]
        command = [str(server.programs / "pgbench"), *map(str, words), "-U", "postgres", "postgres"]
        load = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            load.terminate()
            load.wait()
            with closing(server.connect()) as db:  # what it had asked for is still being done
                there = "select count(*) from pg_stat_activity where application_name = 'pgbench'"
                until(lambda: (db.execute(there).fetchone() or (1,))[0] == 0)


def measure(server: Postgres, shop: Shop, seconds: float, table: Table) -> None:
    """At a light load, and at the one that is asked for."""
    with closing(server.connect()) as db:
        db.execute("create table if not exists load (id bigserial primary key, body text)")
    for rate in _RATES:
        with loaded(server, rate):
            time.sleep(2)
            before, start = cpu_of(shop.pid), time.monotonic()
            found = sorted(waits(server, seconds, _US))
            took = time.monotonic() - start
            cpu = cpu_of(shop.pid) - before
        middle, most = _ASKED[rate]
        what = f"PostgreSQL at {rate} tps: from commit to durable in the vault"
        table.add(f"{what}, p50 of {len(found)}", 1e3 * quantile(found, 0.5), "ms", middle)
        table.add(f"{what}, p99", 1e3 * quantile(found, 0.99), "ms", most)
        table.add(f"{what}: the keeper's CPU", 100 * cpu / took, "%")


def waits(server: Postgres, seconds: float, receiver: str) -> Iterator[float]:
    """Seconds, of commits at random moments; one at least. `receiver` is a pattern of what the standby calls itself."""
    dice, end = random.Random(1), time.monotonic() + seconds
    durable = "select coalesce(bool_or(flush_lsn >= %s), false) from pg_stat_replication where application_name like %s"
    with closing(server.connect()) as db, closing(server.connect()) as looking:
        while True:
            time.sleep(dice.uniform(0.01, 0.03))
            db.execute("insert into load (body) values ('probe')")
            began = time.monotonic()
            (place,) = db.execute("select pg_current_wal_flush_lsn()::text").fetchone() or ("",)
            while not (looking.execute(durable, (place, receiver), prepare=True).fetchone() or (False,))[0]:
                time.sleep(_STEP)
                if time.monotonic() - began > 60:
                    raise TimeoutError("it does not become durable")
            yield time.monotonic() - began
            if time.monotonic() > end:
                return
