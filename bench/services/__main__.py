"""What is asked of protecting services, measured in one run: a row for each figure, with what is asked of it.

    python -m bench.services --quick                       # a look, two minutes or so
    python -m bench.services                               # for the record: as root, on an idle machine; ten minutes
    python -m bench.services --points 1000 --recovered 1000 --mib 1024

Databases run as their own users, at their defaults, on private sockets; the keeper is a real `knowngood up`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from contextlib import closing
from pathlib import Path

from bench.services import holds, latency, overhead, recovery
from bench.services.chains import Stores
from bench.services.servers import missing
from bench.services.shop import Shop
from bench.services.table import Table

STEPS = ("holds", "latency", "overhead", "recovery")
_POLICY = "rpo: 1d, points: 12h, hold: 0.5s"


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description="How databases and files are protected together.")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--points", type=int, help="held points")
    parser.add_argument("--recovered", type=int, help="so many of them, chosen at random, are recovered and compared")
    parser.add_argument("--seconds", type=float, help="how long commits are timed, at each load")
    parser.add_argument("--rounds", type=int, help="turns with and without the keeper")
    parser.add_argument("--mib", type=int, help="size of the PostgreSQL that is recovered")
    parser.add_argument("--steps", default=",".join(STEPS), help="which of them")
    parser.add_argument("--scratch", type=Path, default=Path("/var/tmp/knowngood-services"))
    parser.add_argument("--out", type=Path, default=Path("services.json"), help="the same as a document")
    given = parser.parse_args()
    if lacking := missing():
        parser.error(f"not installed: {', '.join(lacking)} (Debian: postgresql mariadb-server mariadb-backup redis)")
    if unknown := set(given.steps.split(",")) - set(STEPS):
        parser.error(f"unknown steps: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is to be ended
    table = Table()
    shutil.rmtree(given.scratch, ignore_errors=True)
    given.scratch.mkdir(parents=True)
    given.scratch.chmod(0o755)
    try:
        _run(given, table)
    finally:
        table.write(given.out)
        shutil.rmtree(given.scratch, ignore_errors=True)


def _run(given: argparse.Namespace, table: Table) -> None:
    steps, scratch = given.steps.split(","), given.scratch
    seconds = given.seconds or (5 if given.quick else 20)
    if {"holds", "latency", "overhead"} & set(steps):
        with closing(Stores(scratch / "stores")) as stores:
            shop = Shop(scratch / "shop", stores.components, _POLICY)
            if "holds" in steps:
                with shop.followed():
                    points = given.points or (20 if given.quick else 150)
                    workers = holds.take(stores, shop, points, table)
                holds.recover(shop, workers, given.recovered or (4 if given.quick else 100), scratch, table)
            if "latency" in steps:
                with shop.followed():
                    latency.measure(stores.db, shop, seconds, table)
            if "overhead" in steps:
                rounds = given.rounds or (1 if given.quick else 3)
                overhead.measure(stores, shop, rounds, 2 if given.quick else 4, table)
    if "recovery" in steps:
        recovery.measure(scratch, given.mib or (128 if given.quick else 1024), seconds / 2, table)


if __name__ == "__main__":
    os.umask(0o022)
    main()
