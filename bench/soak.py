"""Soak: a folder is followed for a thousand generations on accelerated time, while the store fails and the disk rots.

``python -m bench.soak --generations 1000 --minutes 600`` in ``--scratch``. A generation is a quarter of an hour of the
fake clock: files change, ticks record it, a point is made; now and then logs are folded, points tidied and collected,
everything checked, a turn of scrubbing made. One generation in ten meets a store that fails at some operation, one in
fifty a damaged object, which is to be healed. In the end, and at every hundredth generation: processor time of a point
and of the upkeep, memory, open files, size of the vault; and recovery of the latest point, against that of a fresh
vault with the same files, in turns.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.following import Place, small_files
from knowngood.core.errors import KnowngoodError, StoreFailed
from knowngood.core.model import Policy
from knowngood.core.sizes import KIB, MIB
from knowngood.flow.heal import heal_vault, plan_heal
from knowngood.flow.moment import moment_at
from knowngood.flow.recover import Wish, recover
from knowngood.flow.scrub import scrub
from knowngood.flow.tidy import plan_tidy, tidy
from knowngood.stores.disk import DiskStore
from knowngood.testing.clock import FakeClock
from knowngood.testing.stores import FaultyStore
from knowngood.vault.check import check
from knowngood.vault.layout import PACKS, PAGES

QUARTER = 900.0
_TURNS = 5


@dataclass
class Sample:
    """How it does around one generation. Seconds of CPU, MiB."""

    generation: int
    point: float
    tick: float
    upkeep: float
    memory: float
    files: int
    vault: float
    points: int

    @property
    def line(self) -> str:
        """A line of the table."""
        times = f"{1000 * self.point:8.1f} {1000 * self.tick:8.1f} {1000 * self.upkeep:10.1f}"
        return f"{self.generation:10} {times} {self.memory:11.1f} {self.files:11} {self.vault:10.1f} {self.points:7}"


@dataclass
class Soak:
    """A place, and what has happened to it."""

    place: Place
    clock: FakeClock
    store: FaultyStore
    some: random.Random
    files: list[Path]
    counts: Counter[str] = field(default_factory=Counter[str])
    times: dict[str, list[float]] = field(default_factory=lambda: {"point": [], "tick": [], "upkeep": []})

    def generation(self, number: int) -> None:
        """A quarter of an hour."""
        if self.some.random() < 0.1:
            self.store.fail(self.some.randrange(1, 20), StoreFailed("the disk did not answer"), after=number % 2 == 0)
            self.counts["faults"] += 1
        for _ in range(3):
            self._change()
            self.clock.move(QUARTER / 3)
            self._try("tick", self.place.following.tick)
        self._try("point", self.place.point)
        if number % 8 == 0:
            if self.some.random() < 0.2:
                self.store.fail(self.some.randrange(1, 60), StoreFailed("the disk did not answer"))
                self.counts["faults"] += 1
            self._try("upkeep", self._upkeep)
        self.store.mend()
        self.store.log.clear()
        if number % 50 == 25:
            self._rot()
        if number % 100 == 99:
            found = check(self.place.parts.vault, self.place.parts.catalog, self.place.parts.progress)
            assert not found.findings, found.findings

    def _try(self, what: str, act: Callable[[], object]) -> None:
        began = time.process_time()
        with suppress(KnowngoodError):
            act()
            self.times[what].append(time.process_time() - began)
            self.counts[what] += 1
            return
        self.counts[f"{what} failed"] += 1

    def _upkeep(self) -> None:
        tidy(plan_tidy({"bench": Policy(undo=3600)}, self.place.parts, measure=False), self.place.parts)
        scrub(self.place.parts, lambda _: None)

    def _change(self) -> None:
        for path in self.some.sample(self.files, 20):
            path.write_bytes(self.some.randbytes(self.some.choice((200, KIB, 4 * KIB))))
        new = self.files[0].parent / f"new-{self.some.getrandbits(60):x}"
        new.write_bytes(self.some.randbytes(KIB))
        self.files.append(new)
        self.files.pop(self.some.randrange(1, len(self.files))).unlink()

    def _rot(self) -> None:
        """Part of an object goes bad; it has to come back."""
        keys = sorted(each.key for folder in (PACKS, PAGES) for each in self.store.list(folder))
        path = self.place.vault / self.some.choice(keys)
        good = path.read_bytes()
        at = self.some.randrange(len(good))
        path.write_bytes(good[:at] + bytes(min(512, len(good) - at)) + good[at + 512 :])
        found = check(self.place.parts.vault, self.place.parts.catalog, self.place.parts.progress, read_data=True)
        heal_vault(plan_heal(found, self.place.parts), self.place.parts)
        self.counts["healed" if path.read_bytes() == good else "not healed: no parity yet"] += 1
        path.write_bytes(good)

    def sample(self, number: int) -> Sample:
        """How it does now."""
        medians = {what: statistics.median(some or [0]) for what, some in self.times.items()}
        for some in self.times.values():
            some.clear()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return Sample(
            number,
            medians["point"],
            medians["tick"],
            medians["upkeep"],
            pages * os.sysconf("SC_PAGE_SIZE") / MIB,
            len(os.listdir("/proc/self/fd")),
            self.place.size() / MIB,
            len(self.place.parts.catalog.points()),
        )


def _recovered(place: Place, to: Path) -> float:
    """Processor time of a recovery of the latest point."""
    shutil.rmtree(to, ignore_errors=True)
    began = time.process_time()
    recover(moment_at(place.parts, "bench", None), Wish(to=str(to)), place.parts, lambda _: True)
    return time.process_time() - began


def compared(place: Place, base: Path) -> None:
    """Recovery of the latest point after all of it, against that of a fresh vault of the same files, in turns."""
    fresh = Place(base, place.tree)
    with closing(fresh.following):
        fresh.point()
    place.parts.catalog.follow(place.parts.vault.store, place.parts.private(), place.parts.vault.id)
    took: dict[str, list[float]] = {"soaked": [], "fresh": []}
    for turn in range(_TURNS + 1):
        for name, one in (("soaked", place), ("fresh", fresh)):
            seconds = _recovered(one, base / "out")
            if turn:  # the first is for the caches
                took[name].append(seconds)
    soaked, new = statistics.median(took["soaked"]), statistics.median(took["fresh"])
    print(f"recovery of the latest: {soaked:.3f} s of CPU, of a fresh vault {new:.3f} s: {100 * new / soaked:.0f} %")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=60, help="end before, when this is over")
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scratch", default="/var/tmp")
    given = parser.parse_args()
    some = random.Random(given.seed)
    stores: list[FaultyStore] = []

    def through(disk: DiskStore) -> FaultyStore:
        stores.append(FaultyStore(disk))
        return stores[0]

    with FakeClock() as clock, tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        base = Path(folder)
        (base / "soaked").mkdir()
        (base / "fresh").mkdir()
        place = Place(base / "soaked", through=through)
        with closing(place.following):
            soak = Soak(place, clock, stores[0], some, small_files(place, given.files, some))
            place.point()
            end = time.monotonic() + 60 * given.minutes
            print("generation  point ms  tick ms  upkeep ms  memory MiB  open files  vault MiB  points")
            for number in range(1, given.generations + 1):
                soak.generation(number)
                if number % (given.generations // 10 or 1) == 0:
                    print(soak.sample(number).line, flush=True)
                if time.monotonic() > end:
                    print(f"ended after {number} generations")
                    break
            place.point()
        print(", ".join(f"{what}: {count}" for what, count in sorted(soak.counts.items())))
        compared(place, base / "fresh")


if __name__ == "__main__":
    main()
