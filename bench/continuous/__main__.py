"""What is asked of following, measured in one run: a row for each figure, with what is asked of it.

    python -m bench.continuous --files 20000                    # a quick look
    python -m bench.continuous --files 1000000 --seconds 60     # for the record: as root, on an idle machine

The keeper is a real `knowngood up`; what it follows lies on a file system of its own. Where the machine is shared,
figures of CPU can be compared, and those of wall time cannot.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
from pathlib import Path

from bench.continuous import back, keeping_up, overhead
from bench.continuous.figures import Figures
from bench.continuous.place import place

STEPS = ("idle", "few", "latency", "undelete", "moments", "overhead", "large")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description="What following costs, and how soon what was written is safe.")
    parser.add_argument("--files", type=int, default=20_000, help="how many small files are followed")
    parser.add_argument("--moment-files", type=int, default=100_000, help="at most so many where a moment is recovered")
    parser.add_argument("--seconds", type=float, default=20, help="how long to be idle, and to write")
    parser.add_argument("--large", type=int, default=256, help="MiB of the large file")
    parser.add_argument("--kinds", default="ext4,xfs,btrfs", help="file systems of the large file")
    parser.add_argument("--rounds", type=int, default=3, help="turns with and without the keeper")
    parser.add_argument("--steps", default=",".join(STEPS), help="which of them")
    parser.add_argument("--scratch", type=Path, default=Path("/var/tmp/knowngood-continuous"))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was mounted and started is to be ended
    steps, rng, figures = given.steps.split(","), random.Random(1), Figures()
    if unknown := set(steps) - set(STEPS):
        parser.error(f"unknown steps: {', '.join(sorted(unknown))}")
    print("| what | measured | asked | kept |\n|---|---|---|---|")
    if set(steps) & {"idle", "few", "latency", "undelete"}:
        with place(given.scratch, given.files, rng) as here, here.followed():
            if "idle" in steps:
                keeping_up.idle(here, given.seconds, figures)
            if "few" in steps:
                keeping_up.few(here, rng, figures)
            if "latency" in steps:
                keeping_up.latency(here, given.seconds, rng, figures)
            if "undelete" in steps:
                back.undelete(here, rng, figures)
    if "moments" in steps:
        count = min(given.files, given.moment_files)
        with place(given.scratch, count, rng) as here, here.followed():
            back.moments(here, count // 2, rng, figures)
    if "overhead" in steps:
        with place(given.scratch, 0, rng) as here:
            overhead.measure(here, given.rounds, figures)
    for kind in given.kinds.split(",") if "large" in steps else ():
        with place(given.scratch, 0, rng, kind) as here, here.followed():
            keeping_up.large(here, here.tree / "large", given.large << 20, rng, figures, kind)


if __name__ == "__main__":
    main()
