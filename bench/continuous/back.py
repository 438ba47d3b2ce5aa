"""How fast a moment is back: what was just deleted, and all of it after many changes."""

from __future__ import annotations

import random
import statistics
import time

from bench.continuous.figures import Figures, Spent, run
from bench.continuous.place import KNOWNGOOD, Place

_ROUNDS = 3
_AGO = 10.0  # seconds


def undelete(place: Place, rng: random.Random, figures: Figures) -> None:
    """A file that was deleted a short while ago, with a point made before that, as an rpo makes them."""
    place.call("protect", "bench")
    taken: list[Spent] = []
    for _ in range(_ROUNDS):
        path = place.files[rng.randrange(len(place.files))]
        content = path.read_bytes()
        path.unlink()
        time.sleep(_AGO)
        place.caught_up()  # as it is long ago, where the keeper gets any CPU
        inside = str(path.relative_to(place.tree))
        taken.append(run([KNOWNGOOD, "undelete", "bench", "--since=-1m", "--path", inside, "--yes"], place.env))
        if path.read_bytes() != content:
            raise AssertionError("it came back as something else")
    start = min(run([KNOWNGOOD, "--version"], place.env).cpu for _ in range(_ROUNDS))
    figures.add(f"a file of {len(place.files):,}, deleted {_AGO:g} s ago, is back", _middle(taken).wall, "s", 1)
    figures.add("the same: CPU", _middle(taken).cpu, "s")
    figures.add("of which starting the program takes", start, "s")


def moments(place: Place, changes: int, rng: random.Random, figures: Figures) -> None:
    """Many changes, then all of it back: by way of the log, and as a checkpoint that was made just then."""
    for number in range(changes):
        _change(place, number, rng)
        if not number % 2000:
            time.sleep(1.0)  # so that they are spread over ticks
    place.caught_up()
    base = place.home.parent
    replayed = [run(_recover(base / f"moment-{turn}"), place.env) for turn in range(_ROUNDS)]
    place.call("protect", "bench")
    plain = [run(_recover(base / f"plain-{turn}"), place.env) for turn in range(_ROUNDS)]
    what = f"a moment of {len(place.files):,} files with {changes:,} changes, by a checkpoint of the same"
    figures.add(f"{what}: CPU", _middle(replayed).cpu / _middle(plain).cpu, "times", 1.3)
    figures.add(f"{what}: wall", _middle(replayed).wall / _middle(plain).wall, "times", 1.3)
    figures.add("that checkpoint alone: CPU", _middle(plain).cpu, "s")


def _recover(to: object) -> list[str]:
    return [str(KNOWNGOOD), "recover", "bench", "--at", "latest", "--to", str(to), "--yes"]


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
