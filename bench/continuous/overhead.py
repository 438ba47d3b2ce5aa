"""What following costs the programs that are followed: the same work with and without the keeper, in turns."""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from bench.continuous.figures import Figures, Spent
from bench.continuous.place import Place

_TREE_FILES = 5_000
_TRANSACTIONS = 1_000
_POSTGRES = ("initdb", "pg_ctl", "pgbench", "runuser")
_SECONDS = 5

Work = Callable[[Path], object]


def tree(folder: Path) -> None:
    """Unpack, rewrite, rename, remove: as building and deploying do."""
    for number in range(_TREE_FILES):
        below = folder / f"{number // 100:03}"
        below.mkdir(exist_ok=True)
        (below / f"{number:05}").write_bytes(bytes(4096))
    for number in range(0, _TREE_FILES, 2):
        path = folder / f"{number // 100:03}" / f"{number:05}"
        path.with_suffix(".new").write_bytes(bytes(5000))
        path.with_suffix(".new").rename(path)
    shutil.rmtree(folder)
    folder.mkdir()


def sqlite(folder: Path) -> None:
    """Small transactions, as durable as SQLite makes them with a log of its own."""
    with closing(sqlite3.connect(folder / "work.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE IF NOT EXISTS t (k INTEGER PRIMARY KEY, v BLOB)")
        for number in range(_TRANSACTIONS):
            db.execute("BEGIN")
            db.executemany("INSERT OR REPLACE INTO t VALUES (?, ?)", ((number * 7 + at, bytes(200)) for at in range(5)))
            db.execute("COMMIT")


def measure(place: Place, rounds: int, figures: Figures) -> None:
    """All of them, in turns with and without."""
    for name, most, work in (("file tree", 5, tree), ("SQLite", 15, sqlite)):
        folder = place.tree / name.replace(" ", "-")
        folder.mkdir()
        _compare(place, name, most, rounds, lambda folder=folder, work=work: _timed(work, folder), figures)
    if os.geteuid() or not all(map(shutil.which, _POSTGRES)):
        print("PostgreSQL is not here, or this is not root: left out", flush=True)
        return
    with _postgres(place.tree / "postgres") as transactions:
        _compare(place, "PostgreSQL", 15, rounds, transactions, figures)


def _compare(place: Place, name: str, most: float, rounds: int, work: Callable[[], Spent], figures: Figures) -> None:
    without: list[Spent] = []
    with_it: list[Spent] = []
    work()
    for _ in range(rounds):
        for spent, around in ((without, nullcontext()), (with_it, place.followed())):
            with around:
                if place.keeper:
                    place.settle()
                spent.append(work())
    for what, of, limit in (("wall", lambda each: each.wall, most), ("CPU", lambda each: each.cpu, float("inf"))):
        if not all(map(of, without)):
            continue
        ratio = statistics.median(map(of, with_it)) / statistics.median(map(of, without))
        figures.add(f"{name}: more {what} than without the keeper", 100 * (ratio - 1), "%", limit)


def _timed(work: Work, folder: Path) -> Spent:
    before, start = os.times(), time.perf_counter()
    work(folder)
    after = os.times()
    return Spent(time.perf_counter() - start, after.user + after.system - before.user - before.system)


@contextmanager
def _postgres(folder: Path) -> Iterator[Callable[[], Spent]]:
    """A server with its data in a folder; what is yielded is the time of a thousand transactions."""
    folder.mkdir()
    shutil.chown(folder, "postgres", "postgres")
    socket = Path(tempfile.mkdtemp())  # its name has to be short
    shutil.chown(socket, "postgres", "postgres")

    def call(*words: str) -> str:
        argv = ["runuser", "-u", "postgres", "--", *words]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd="/")
        return done.stdout

    bench = ["pgbench", "-h", str(socket)]
    call("initdb", "-D", str(folder), "-A", "trust")
    settings = f"-k {socket} -c listen_addresses="
    call("pg_ctl", "-D", str(folder), "-w", "-l", str(folder / "log"), "-o", settings, "start")
    try:
        call(*bench, "-q", "-i", "-s", "5", "postgres")

        def transactions() -> Spent:
            said = call(*bench, "-c", "4", "-T", str(_SECONDS), "postgres")
            (line,) = (each for each in said.splitlines() if each.startswith("tps"))
            return Spent(1000 / float(line.split()[2]), 0.0)  # the server's CPU is not ours

        yield transactions
    finally:
        call("pg_ctl", "-D", str(folder), "-w", "-m", "immediate", "stop")
        shutil.rmtree(socket)
