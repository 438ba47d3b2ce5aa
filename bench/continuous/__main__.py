"""What is asked of following, measured in one run: a row for each figure, with what is asked of it.

    python -m bench.continuous --quick    # two minutes, small: to see that all of it works
    python -m bench.continuous            # for the record: twelve minutes, as root, on an idle machine

The keeper is a real `knowngood up`; what it follows lies on a file system of its own, its home on another one. Where
the machine is shared, figures of CPU can be compared, and those of wall time cannot.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.continuous import back, keeping_up, large, overhead
from bench.continuous.figures import Figures
from bench.continuous.place import place

STEPS = ("idle", "few", "latency", "undelete", "moments", "overhead", "large")


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. Files, seconds, MiB."""

    files: int
    moment_files: int
    seconds: float
    large: int
    rounds: int


RECORD = Size(files=1_000_000, moment_files=100_000, seconds=20, large=4096, rounds=3)
QUICK = Size(files=20_000, moment_files=10_000, seconds=5, large=256, rounds=1)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description="What following costs, and how soon what was written is safe.")
    parser.add_argument("--quick", action="store_true", help="everything small, for a look")
    parser.add_argument("--files", type=int, help="how many small files are followed")
    parser.add_argument("--moment-files", type=int, help="how many of them where a moment is recovered")
    parser.add_argument("--seconds", type=float, help="how long to be idle, and to write")
    parser.add_argument("--large", type=int, help="MiB of the large file")
    parser.add_argument("--rounds", type=int, help="turns with and without the keeper")
    parser.add_argument("--kinds", default="xfs,btrfs,ext4", help="file systems of the large file")
    parser.add_argument("--steps", default=",".join(STEPS), help="which of them")
    parser.add_argument("--scratch", type=Path, default=Path("/var/tmp/knowngood-continuous"))
    given = parser.parse_args()
    usual = QUICK if given.quick else RECORD
    size = Size(*(getattr(given, name) or getattr(usual, name) for name in Size.__dataclass_fields__))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was mounted and started is to be ended
    steps = given.steps.split(",")
    if unknown := set(steps) - set(STEPS):
        parser.error(f"unknown steps: {', '.join(sorted(unknown))}")
    print("| what | measured | asked | kept |\n|---|---|---|---|", flush=True)
    _run(steps, size, given.kinds.split(","), given.scratch)


def _run(steps: list[str], size: Size, kinds: list[str], scratch: Path) -> None:
    rng, figures = random.Random(1), Figures()
    if set(steps) & {"idle", "few", "latency", "undelete"}:
        with _timed("many files"), place(scratch, size.files, rng) as here, here.followed():
            figures.note(here.level())
            if "idle" in steps:
                keeping_up.idle(here, size.seconds, figures)
            if "few" in steps:
                keeping_up.few(here, rng, figures)
            if "latency" in steps:
                keeping_up.latency(here, size.seconds, rng, figures)
            if "undelete" in steps:
                back.undelete(here, rng, figures)
    if set(steps) & {"undelete", "moments"}:
        count = min(size.files, size.moment_files)
        with _timed("moments"), place(scratch, count, rng) as here, here.followed():
            if "undelete" in steps:
                back.undelete(here, rng, figures)
            if "moments" in steps:
                back.moments(here, count // 2, rng, figures)
    if "overhead" in steps:
        with _timed("overhead"), place(scratch, 0, rng) as here:
            overhead.measure(here, size.rounds, figures)
    for kind in kinds if "large" in steps else ():
        with _timed(f"large on {kind}"):
            large.measure(scratch, size.large << 20, kind, figures)


@contextmanager
def _timed(what: str) -> Iterator[None]:
    """Say on the other channel how long a part of the run took."""
    start = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
