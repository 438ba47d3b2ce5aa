"""How fast a moment is back: what was just deleted, and all of it after many changes."""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from bench.continuous.figures import Figures, Spent, run
from bench.continuous.place import KNOWNGOOD, Place
from knowngood.core.instants import iso_text

_ROUNDS = 3
_MOMENTS = 5
_MEMORY = Path("/dev/shm")  # a disk's ext4 makes those pay that create files after others were deleted
_AGO = 10.0  # seconds


def undelete(place: Place, rng: random.Random, figures: Figures) -> None:
    """Files that were deleted a short while ago, with a point made before that, as an rpo makes them."""
    place.call("protect", "bench")
    gone = {path: path.read_bytes() for path in rng.sample(place.files, _ROUNDS)}
    for path in gone:
        path.unlink()
    time.sleep(_AGO)
    place.caught_up()  # as it is long ago, where the keeper gets any CPU
    taken: list[Spent] = []
    for path, content in gone.items():
        inside = str(path.relative_to(place.tree))
        taken.append(run([KNOWNGOOD, "undelete", "bench", "--since=-5m", "--path", inside, "--yes"], place.env))
        if path.read_bytes() != content:
            raise AssertionError("it came back as something else")
    start = min(run([KNOWNGOOD, "--version"], place.env).cpu for _ in range(_ROUNDS))
    figures.add(f"a file of {len(place.files):,}, deleted {_AGO:g} s ago, is back", _middle(taken).wall, "s", 1)
    figures.add("the same: CPU", _middle(taken).cpu, "s")
    figures.add("of which starting the program takes", start, "s")


def moments(place: Place, changes: int, rng: random.Random, figures: Figures) -> None:
    """Many changes, then all of it back as it was at several moments: by way of the log, and as a checkpoint that was
    made at last. The keeper is free to make checkpoints when the log gets long."""
    moments: list[str] = []
    for number in range(1, changes + 1):
        _change(place, number, rng)
        if not number % 2000:
            time.sleep(1.0)  # so that they are spread over ticks
        if not number % (changes // _MOMENTS):
            moments.append(iso_text(time.time_ns()))
    place.caught_up()
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as base:
        to = Path(base, "back")
        replayed = [[_recovered(place, to, at) for _ in range(2)] for at in (*moments[:-1], "latest")]
        place.call("protect", "bench")
        plain = [_recovered(place, to, "latest") for _ in range(_ROUNDS)]
    what = f"any of {_MOMENTS} moments of {len(place.files):,} files with {changes:,} changes, by a checkpoint"
    for name, of in (("CPU", lambda spent: spent.cpu), ("wall", lambda spent: spent.wall)):
        one = statistics.median(map(of, plain))
        ratios = [min(map(of, each)) / one for each in replayed]
        figures.add(f"{what}: {name}, the longest", max(ratios), "times", 1.3)
        figures.add(f"the same: {name}, in the middle", statistics.median(ratios), "times")
        figures.add(f"that checkpoint alone: {name}", one, "s")


def _recovered(place: Place, to: Path, at: str) -> Spent:
    try:
        return run([KNOWNGOOD, "recover", "bench", "--at", at, "--to", str(to), "--yes"], place.env)
    finally:
        shutil.rmtree(to, ignore_errors=True)


def _change(place: Place, number: int, rng: random.Random) -> None:
    at = rng.randrange(len(place.files))
    path, what = place.files[at], rng.random()
    if what < 0.6:
        path.write_bytes(rng.randbytes(rng.choice((200, 1000, 4000))))
    elif what < 0.75:
        new = path.with_name(f"new-{number}")
        new.write_bytes(rng.randbytes(1000))
        place.files.append(new)
    elif what < 0.85:
        path.unlink()
        place.files[at] = place.files[-1]
        place.files.pop()
    elif what < 0.95:
        place.files[at] = path.rename(path.with_name(f"renamed-{number}"))
    else:
        with path.open("ab") as file:
            file.write(bytes(100))


def _middle(taken: list[Spent]) -> Spent:
    return Spent(statistics.median(each.wall for each in taken), statistics.median(each.cpu for each in taken))
