"""What the journal costs the programs that write: natively, through the journal's mount, and through bindfs.

``python -m bench.journaling --rounds 5`` works in ``--scratch``, as root. bindfs passes everything through as well, in
C, and journals nothing; where it is not installed it is left out. Everything is done by turns; ratios are those of
medians, to the last column. Where others make mount namespaces meanwhile, run it in one of its own: ``unshare -m``.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from knowngood.core.model import ComponentSpec
from knowngood.core.sizes import KIB, MIB
from knowngood.kinds.files.journal.line import find_server

_FILE = 64 * MIB
_BLOCK = 4 * KIB
_OPERATIONS = 10_000


def random_writes(folder: Path) -> None:
    """4 KiB each, into a file that is there."""
    rng, data = random.Random(1), os.urandom(_BLOCK)
    fd = os.open(folder / "large", os.O_RDWR)
    for _ in range(_OPERATIONS):
        os.pwrite(fd, data, rng.randrange(_FILE // _BLOCK) * _BLOCK)
    os.close(fd)


def large_writes(folder: Path) -> None:
    """128 MiB, 1 MiB each, into a new file."""
    data = os.urandom(MIB)
    with (folder / "new").open("wb", buffering=0) as file:
        for _ in range(128):
            file.write(data)


def random_reads(folder: Path) -> None:
    """4 KiB each."""
    rng = random.Random(2)
    fd = os.open(folder / "large", os.O_RDONLY)
    for _ in range(_OPERATIONS):
        os.pread(fd, _BLOCK, rng.randrange(_FILE // _BLOCK) * _BLOCK)
    os.close(fd)


def small_files(folder: Path) -> None:
    """1,000 made, renamed and removed."""
    for number in range(1000):
        (folder / f"{number}.new").write_bytes(b"x" * 1000)
        (folder / f"{number}.new").rename(folder / f"{number}")
    for number in range(1000):
        (folder / f"{number}").unlink()


def synced_writes(folder: Path) -> None:
    """200 of 4 KiB, each synced."""
    fd = os.open(folder / "synced", os.O_WRONLY | os.O_CREAT)
    for number in range(200):
        os.pwrite(fd, bytes(_BLOCK), number * _BLOCK)
        os.fdatasync(fd)
    os.close(fd)


def commits(folder: Path) -> None:
    """500 of SQLite's, with a write-ahead log."""
    with closing(sqlite3.connect(folder / "base", isolation_level=None)) as base:
        base.execute("PRAGMA journal_mode=wal")
        base.execute("PRAGMA synchronous=normal")
        base.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, what TEXT)")
        for number in range(500):
            base.execute("INSERT INTO t (what) VALUES (?)", (f"{number}" * 30,))


WORKLOADS: tuple[Callable[[Path], None], ...] = (
    random_writes,
    large_writes,
    random_reads,
    small_files,
    synced_writes,
    commits,
)


Way = Callable[[Path], AbstractContextManager[tuple[Path, int]]]
"""Makes a folder to work in, and says which process serves it; 0 for none."""


@contextmanager
def native(base: Path) -> Iterator[tuple[Path, int]]:
    """Nothing in between."""
    yield _tree(base), 0


@contextmanager
def journal(base: Path) -> Iterator[tuple[Path, int]]:
    """The journal's mount."""
    tree, state = _tree(base), base / "state"
    state.mkdir()
    line = find_server(ComponentSpec(name="c", kind="files", path=str(tree)), os.fsencode(tree), str(state))
    try:
        yield tree, int(line.ask("state")["process"])
    finally:
        while not line.ask("stop")["stopped"]:
            time.sleep(0.1)
        line.close()


@contextmanager
def bindfs(base: Path) -> Iterator[tuple[Path, int]]:
    """Another file system that passes everything through."""
    tree, there = _tree(base), base / "bound"
    there.mkdir()
    with subprocess.Popen(["bindfs", "-f", "-o", "allow_other", tree, there]) as server:
        while not os.path.ismount(there):
            time.sleep(0.01)
        try:
            yield there, server.pid
        finally:
            subprocess.run(["umount", there], check=True)


def _tree(base: Path) -> Path:
    tree = base / "tree"
    tree.mkdir()
    (tree / "large").write_bytes(os.urandom(_FILE))
    return tree


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scratch", default="/var/tmp")
    options = parser.parse_args()
    ways: list[Way] = [native, journal, *([bindfs] if shutil.which("bindfs") else [])]
    wall: dict[tuple[str, str], list[float]] = {}
    cpu: dict[tuple[str, str], list[float]] = {}
    for _ in range(options.rounds):
        for way in ways:
            with tempfile.TemporaryDirectory(dir=options.scratch) as base, way(Path(base)) as (folder, server):
                for workload in WORKLOADS:
                    os.sync()
                    key, began, used = (workload.__name__, way.__name__), time.perf_counter(), _cpu(server)
                    workload(folder)
                    wall.setdefault(key, []).append(time.perf_counter() - began)
                    cpu.setdefault(key, []).append(_cpu(server) - used)
    for what, taken in (("wall", wall), ("CPU of program and server", cpu)):
        print(f"{what + ', ms':<28}" + "".join(f"{way.__name__:>20}" for way in ways))
        for workload in WORKLOADS:
            medians = [statistics.median(taken[workload.__name__, way.__name__]) for way in ways]
            cells = (f"{1000 * each:10.0f} {each / max(medians[-1], 0.001):6.2f} x" for each in medians)
            print(f"{workload.__name__:<28}" + "".join(f"{cell:>20}" for cell in cells))


def _cpu(server: int) -> float:
    """Seconds of CPU that this process and a server have used."""
    used = time.process_time_ns()
    if server:
        for thread in Path(f"/proc/{server}/task").iterdir():
            used += int((thread / "schedstat").read_text().split()[0])
    return used / 1e9


if __name__ == "__main__":
    main()
