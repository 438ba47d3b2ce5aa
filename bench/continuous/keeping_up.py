"""What the keeper costs when nothing happens, when little does, and how soon what was written is safe."""

from __future__ import annotations

import os
import random
import statistics
import time

from bench.continuous.figures import Figures, cpu_of, memory_of, paced, until
from bench.continuous.place import Place
from knowngood.control.home import Home
from knowngood.control.workshop import Workshop
from knowngood.plugins import PLUGINS
from knowngood.vault.log_reader import LogReader
from knowngood.vault.record import PlainSegment, decode_commit

_FEW = 100  # changed files
_ROUNDS = 3
_PER_SECOND = 1000  # changed files
_ROW_MTIME = slice(24, 32)


def idle(place: Place, seconds: float, figures: Figures) -> None:
    """Nothing happens."""
    place.settle()
    before, start = cpu_of(place.pid), time.monotonic()
    time.sleep(seconds)
    share = (cpu_of(place.pid) - before) / (time.monotonic() - start)
    figures.add(f"idle, {len(place.files):,} files followed: CPU", 100 * share, "%", 0.5)
    figures.add("the same: memory", memory_of(place.pid, "VmRSS"), "MiB", 150)
    figures.add("the same: most memory it ever had", memory_of(place.pid, "VmHWM"), "MiB")


def few(place: Place, rng: random.Random, figures: Figures) -> None:
    """Few files change among many."""
    taken: list[float] = []
    for _ in range(_ROUNDS):
        place.settle()
        before, made = cpu_of(place.pid), place.commits()
        for path in rng.sample(place.files, min(_FEW, len(place.files))):
            path.write_bytes(rng.randbytes(200))
        until(lambda made=made: place.commits() > made)
        place.settle()
        taken.append(cpu_of(place.pid) - before)
    what = f"{_FEW} changed of {len(place.files):,} files: CPU, with some idle seconds"
    figures.add(what, statistics.median(taken), "s", 0.5)


def latency(place: Place, seconds: float, rng: random.Random, figures: Figures) -> None:
    """Many small files change, second by second."""
    place.settle()
    written: dict[bytes, list[tuple[int, int]]] = {}  # by path: the time of change, and when the call had returned
    before, start = cpu_of(place.pid), time.monotonic()
    order = rng.sample(place.files, len(place.files))
    with paced(int(seconds * _PER_SECOND), _PER_SECOND) as numbers:
        for number in numbers:
            path = order[number % len(order)]
            fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
            os.write(fd, b"%032d" % number)
            mtime = os.fstat(fd).st_mtime_ns
            os.close(fd)
            key = os.fsencode(path.relative_to(place.tree)).replace(b"/", b"\0")
            written.setdefault(key, []).append((mtime, time.time_ns()))
    took = time.monotonic() - start
    place.caught_up()
    waits = sorted(_waits(place, written))
    rate = len(waits) / took
    what = f"from write to durable in the vault, {rate:,.0f} changed small files a second"
    figures.add(f"{what}: p50", _quantile(waits, 0.5), "s", 0.6)
    figures.add(f"{what}: p99", _quantile(waits, 0.99), "s", 1.5)
    figures.add("the keeper meanwhile: CPU of one core", 100 * (cpu_of(place.pid) - before) / took, "%")


def _quantile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def _waits(place: Place, written: dict[bytes, list[tuple[int, int]]]) -> list[float]:
    """Seconds from each write until a commit was there that has it, or a later one of the same file."""
    safe = _recorded(place)
    found: list[float] = []
    for key, writes in written.items():
        for mtime, returned in writes:
            times = [when for recorded, when in safe.get(key, ()) if recorded >= mtime]
            found.append((min(times) - returned) / 1e9)  # fails where one is not in the log at all
    return found


def _recorded(place: Place) -> dict[bytes, list[tuple[int, int]]]:
    """By path: times of change that the log has, and when the vault had them."""
    there: dict[bytes, int] = {}
    timelines: set[bytes] = set()
    for each in (place.vault / "commits").iterdir():
        for record in decode_commit(each.read_bytes()).commit.records:
            if isinstance(record, PlainSegment):
                there[record.pack] = each.stat().st_ctime_ns  # its link came then
                timelines.add(record.timeline)
    found: dict[bytes, list[tuple[int, int]]] = {}
    shop = Workshop(Home.at(str(place.home)), PLUGINS)
    parts = shop.parts()
    reader = LogReader(parts.vault, parts.catalog, parts.private())
    for timeline in timelines:
        for segment in parts.catalog.log.covering(timeline, 0, None):
            for frame in reader.open(segment):
                for record in frame.records():
                    mtime = int.from_bytes(record.row[_ROW_MTIME], "little", signed=True)
                    found.setdefault(record.path, []).append((mtime, there[segment.pack]))
    shop.close()
    return found
