"""Figures against what is asked of them, and the CPU time of processes."""

from __future__ import annotations

import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line. `most` is what is asked: no more than that; infinity where nothing is."""

    what: str
    value: float
    unit: str
    most: float = math.inf

    def row(self) -> str:
        """As a row of a table."""
        asked = "" if math.isinf(self.most) else f"≤ {self.most:g} {self.unit}"
        kept = "" if math.isinf(self.most) else "yes" if self.value <= self.most else "**no**"
        return f"| {self.what} | {self.value:.3g} {self.unit} | {asked} | {kept} |"


@dataclass(slots=True)
class Figures:
    """All lines so far; each is printed when it is known."""

    rows: list[Figure] = field(default_factory=list)

    def add(self, what: str, value: float, unit: str, most: float = math.inf) -> None:
        """One more."""
        figure = Figure(what, value, unit, most)
        self.rows.append(figure)
        print(figure.row(), flush=True)

    @staticmethod
    def note(what: str) -> None:
        """Something to know about the figures that follow."""
        print(f"| *{what}* | | | |", flush=True)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a command took, in seconds."""

    wall: float
    cpu: float


def run(argv: Sequence[str | Path], env: dict[str, str]) -> Spent:
    """Run a command, and fail as it does."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([str(each) for each in argv], env=env, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    user, system = after.children_user - before.children_user, after.children_system - before.children_system
    return Spent(wall, user + system)


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_of(pid: int, what: str) -> float:
    """MiB of a process: `VmRSS` now, `VmHWM` at most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise LookupError(what)


def until(true: Callable[[], bool], seconds: float = 600.0, step: float = 0.02) -> None:
    """Wait for something. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(step)


@contextmanager
def paced(count: int, per_second: float) -> Iterator[Iterator[int]]:
    """Numbers up to a count, so many a second; what is late is not made up for all at once but as it comes."""
    start = time.monotonic()

    def numbers() -> Iterator[int]:
        for number in range(count):
            ahead = start + number / per_second - time.monotonic()
            if ahead > 0.001:
                time.sleep(ahead)
            yield number

    yield numbers()
