"""What few writes into one large file cost: told by clones on XFS and btrfs, by hashes elsewhere."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import time
from contextlib import closing
from pathlib import Path

from blake3 import blake3

from bench.continuous.figures import Figures
from bench.following import Place
from bench.ground import formatted
from knowngood.core.sizes import GIB, KIB, MIB

_WRITES = 100
_TURNS = 4
_CLONES = ("xfs", "btrfs")
_BLOCK = 64 * KIB


def measure(scratch: Path, size: int, kind: str, figures: Figures) -> None:
    """Random writes of 4 KiB into a file of so many bytes, on a new file system of a kind, tick by tick."""
    base = scratch / "kept"
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(parents=True)
    try:
        with formatted(kind, base / "tree", size + 4 * GIB):
            place = Place(base)
            with closing(place.following):
                _turns(place, size, kind, figures)
    finally:
        shutil.rmtree(base)


def _turns(place: Place, size: int, kind: str, figures: Figures) -> None:
    rng, path = random.Random(2), place.tree / "large"
    with path.open("w+b", buffering=0) as file:
        for _ in range(size // MIB):
            file.write(rng.randbytes(MIB))
        os.fsync(file.fileno())
        place.point()
        stored, taken = 0, list[tuple[float, float]]()
        for _ in range(_TURNS):
            for _ in range(_WRITES):
                os.pwrite(file.fileno(), rng.randbytes(4 * KIB), 4 * KIB * rng.randrange(size // (4 * KIB)))
            stored = place.size()
            taken.append(_captured(place))
        stored = place.size() - stored
    what = f"{_WRITES} writes of 4 KiB into {size // MIB} MiB on {kind}, level {place.following.standing.level}"
    wall, cpu = statistics.median(each for each, _ in taken[1:]), statistics.median(each for _, each in taken[1:])
    if kind in _CLONES:
        figures.add(f"{what}: captured and committed", wall, "s", 0.1)
    else:
        figures.add(f"{what}: captured and committed, by one read and hash", wall / _read(path, size), "times", 1.2)
    figures.add("the same: CPU", cpu, "s")
    figures.add("the same, the first change of all: CPU", taken[0][1], "s")
    figures.add("the same: stored", stored / MIB, "MiB", 1)


def _captured(place: Place) -> tuple[float, float]:
    """Wall and CPU seconds of the tick that captures what changed; ticks while the file rests do not count."""
    while True:
        time.sleep(1)  # as ticks do
        wall, cpu = time.perf_counter(), time.process_time()
        if place.following.tick().records:
            return time.perf_counter() - wall, time.process_time() - cpu


def _read(path: Path, size: int) -> float:
    """Seconds of reading the file once and hashing it in blocks, as whoever has no clones must."""
    start = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        for _ in range(size // _BLOCK):
            blake3(file.read(_BLOCK)).digest()
    return time.perf_counter() - start
