"""Held points under load: how long writes stand still, and whether what comes back is of one instant."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.services.chains import Heights, Stores, Worker, violations, working
from bench.services.shop import SERVICE, Shop
from bench.services.table import Table, quantile
from knowngood.core.instants import parse_when
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import Sandbox
from knowngood.plugins import PLUGINS

_WORKERS = 3
_CHAINS = 60.0  # a second
_AT_ONCE = 2


def take(stores: Stores, shop: Shop, points: int, table: Table) -> list[Worker]:
    """Take so many held points under load. Who made what, and when."""
    with working(stores, _WORKERS, _CHAINS) as workers:
        time.sleep(1)
        for _ in range(points):
            shop.point()
            time.sleep(0.02)
    chains = sum(len(each.acknowledged["cache"]) for each in workers)
    made = shop.asks("points", SERVICE)["points"][:points]
    held = [each for each in made if each["level"] == "L1"]
    pauses = sorted(each["evidence"]["held"] for each in held)
    table.add(f"held points of {len(made)} asked for, under {chains} chains", len(held), "")
    if held:
        table.add(f"four databases and files held: p50 of {len(held)}", 1e3 * quantile(pauses, 0.5), "ms", 10)
        table.add("the same: p99", 1e3 * quantile(pauses, 0.99), "ms", 50)
    _reasons(made, table)
    _stalls(workers, table)
    return workers


def _reasons(made: list[dict[str, Any]], table: Table) -> None:
    """Why some are not held."""
    found: dict[str, int] = {}
    for each in made:
        if why := each["evidence"]["lowered"]:
            found[why] = found.get(why, 0) + 1
    for why, count in found.items():
        table.note(f"{count} were not held: {why}")


def recover(shop: Shop, workers: list[Worker], count: int, scratch: Path, table: Table) -> None:
    """Recover so many of the held points, chosen at random, start all that is in them, and compare."""
    held = [each for each in shop.asks("points", SERVICE)["points"] if each["level"] == "L1"]
    chosen = random.Random(1).sample(held, min(count, len(held)))
    began = time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        found = list(threads.map(lambda each: _violations(shop, each, workers, scratch), chosen))
    wrong = [text for each in found for text in each]
    for text in wrong[:5]:
        table.note(text)
    table.add(f"violations in {len(chosen)} of them, recovered and started", len(wrong), "", 0)
    each = (time.monotonic() - began) / max(1, len(chosen))
    table.add(f"recovering and starting all of one point, {_AT_ONCE} at once", each, "s")


def _stalls(workers: list[Worker], table: Table) -> None:
    """How long a write took at most: what a program sees of it all."""
    taken: dict[str, list[float]] = {}
    for worker in workers:
        for store, begun in worker.begun.items():
            pairs = zip(begun, worker.acknowledged[store], strict=False)
            taken.setdefault(store, []).extend((end - start) / 1e6 for start, end in pairs)
    for store, found in taken.items():
        found.sort()
        table.add(f"a write to {store} meanwhile: p99", quantile(found, 0.99), "ms")


def _violations(shop: Shop, point: dict[str, Any], workers: list[Worker], scratch: Path) -> list[str]:
    to = scratch / point["id"]
    shop.call("recover", SERVICE, "--at", point["id"], "--to", to, "--yes")
    try:
        found = violations(_heights(to, len(workers)), workers, parse_when(point["moment"]))
        return [f"point {point['id'][:8]}: {each}" for each in found]
    finally:
        shutil.rmtree(to, ignore_errors=True)


def _heights(to: Path, workers: int) -> Heights:
    """What is in each store, of what was recovered into a folder."""
    os.chmod(to, 0o755)
    heights: Heights = {"uploads": [_files(to / "uploads" / str(number)) for number in range(workers)]}
    with _running("postgres", to / "db") as db:
        rows = db.ask("select worker, max(n), count(*), string_agg(distinct file, ' ') from orders group by worker", 60)
        heights["db"] = _column(rows, workers)
        for _, _, _, files in rows:
            missing = [each for each in files.split() if not (to / "uploads" / each).exists()]
            if missing:
                heights["db"] = [10**9] * workers  # an order without its file
    with _running("mariadb", to / "books") as books:
        rows = books.ask("select worker, max(n), count(*) from shop.books group by worker", 60)
        heights["books"] = _column(rows, workers)
    with _running("sqlite", to / "stats") as stats:
        heights["stats"] = _column([(*row, row[1]) for row in stats.ask("select worker, n from stats", 60)], workers)
    with _running("redis", to / "cache") as cache:
        heights["cache"] = [int(cache.ask(f"GET n{number}", 60)[0][0] or 0) for number in range(workers)]
    return heights


def _files(folder: Path) -> int:
    """How many files there are, which have to be the first ones, and whole."""
    names = sorted(os.listdir(folder)) if folder.exists() else []
    for number, name in enumerate(names, 1):
        if int(name) != number or (folder / name).read_bytes() != name.encode():
            return -1
    return len(names)


def _column(rows: list[tuple[str, ...]], workers: int) -> list[int]:
    """The highest number of each worker; -1 where there are holes."""
    found = [0] * workers
    for worker, highest, count, *_ in rows:
        found[int(worker)] = int(highest) if highest == count else -1
    return found


@contextmanager
def _running(kind: str, folder: Path) -> Iterator[Sandbox]:
    start: Callable[[ComponentSpec, str], Sandbox] = PLUGINS.kinds()[kind].sandbox
    options = {"dsn": "dbname=postgres"} if kind == "postgres" else {}
    where = str(folder / "stats.db") if kind == "sqlite" else ""
    sandbox = start(ComponentSpec(name="it", kind=kind, path=where, options=options), str(folder))
    try:
        yield sandbox
    finally:
        sandbox.stop()
