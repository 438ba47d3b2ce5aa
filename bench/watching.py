"""What watching costs: CPU of an answer after many changes, and of a tick when nothing happened.

    python -m bench.watching [--files 20000] [--rounds 5] [--folder /var/tmp]

As root, both feeds are measured; otherwise inotify alone. Only the time of this process is counted, and only while it
takes answers: what a feed costs the writers is not in it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from knowngood.core.model import ComponentSpec
from knowngood.kinds.files.watch import FANOTIFY, INOTIFY, Watcher, mapped_files, watch

_PER_FOLDER = 200
_TICKS = 1000


def cpu(act: Callable[[], object]) -> float:
    """CPU seconds, user and system, of a call."""
    before = time.process_time()
    act()
    return time.process_time() - before


def paths(base: Path, count: int) -> list[Path]:
    """So many files, 200 in a folder."""
    return [base / f"{number // _PER_FOLDER:04}" / f"{number:06}" for number in range(count)]


def write(files: list[Path], data: bytes) -> None:
    """Write the same to all files."""
    for each in files:
        each.parent.mkdir(exist_ok=True)
        each.write_bytes(data)


def measure(watcher: Watcher, inside: list[Path], outside: list[Path]) -> dict[str, float]:
    """CPU seconds of the answer after each kind of change."""
    found: dict[str, float] = {}

    def step(name: str, act: Callable[[], object]) -> None:
        act()
        found[name] = cpu(watcher.drain)

    step("created", lambda: write(inside, b"new"))
    step("written", lambda: write(inside, b"again"))
    step("written again", lambda: write(inside, b"and again"))
    step("renamed over", lambda: [os.replace(each, f"{each}+") for each in inside])
    step("elsewhere", lambda: write(outside, b"new"))
    step("elsewhere again", lambda: write(outside, b"again"))
    step("removed", lambda: [os.unlink(f"{each}+") for each in inside])
    return found


def idle(watcher: Watcher) -> dict[str, float]:
    """CPU seconds of a tick when nothing happened."""
    return {
        "idle answer": cpu(lambda: [watcher.drain() for _ in range(_TICKS)]) / _TICKS,
        "barrier and answer": cpu(lambda: [(watcher.barrier(), watcher.drain()) for _ in range(_TICKS)]) / _TICKS,
    }


def run(feed: str, base: Path, count: int) -> dict[str, float]:
    """One round of one feed."""
    places = [base / name for name in ("root", "outside", "cookies")]
    for each in places:
        each.mkdir()
    component = ComponentSpec(name="bench", kind="files", path=str(places[0]))
    made: list[Watcher] = []
    begin = cpu(lambda: made.append(watch(component, str(places[2]), feeds=(feed,))))
    with closing(made[0]) as watcher:
        if watcher.traits.feed != feed:
            raise SystemExit(watcher.traits.reason)
        found = measure(watcher, paths(places[0], count), paths(places[1], count))
        found |= idle(watcher)
    found["begin, empty"] = begin
    found["begin, full"] = cpu(lambda: watch(component, str(places[2]), feeds=(feed,)).close())
    found["mapped files"] = cpu(lambda: mapped_files(str(places[0])))
    return found


def main() -> None:
    """Measure, and print medians."""
    parser = argparse.ArgumentParser(description="What watching costs.")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default="/var/tmp")
    options = parser.parse_args()
    for feed in (FANOTIFY, INOTIFY) if os.geteuid() == 0 else (INOTIFY,):
        rounds: list[dict[str, float]] = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory(dir=options.folder) as base:
                rounds.append(run(feed, Path(base), options.files))
        print(f"{feed}: CPU, median of {options.rounds} (least to most); {options.files} files")
        for name in rounds[0]:
            values = [each[name] * 1e3 for each in rounds]
            print(f"  {name:20} {statistics.median(values):9.3f} ms  ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
