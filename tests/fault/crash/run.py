"""The crash machine, for as many states as one wants: `python -m tests.fault.crash.run --states 100000`.

Plays are shared out among processes, seed after seed. The first violation ends it, and says how to see it again.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import multiprocessing.pool
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator

from knowngood.testing.killer import ChildFailed
from tests.fault.crash.machine import PLAYS, Machine, Tally, Violation

_TURNS = (
    *("points", "logs", "relay", "points", "together", "keys", "relay", "points", "logs", "relay", "spooled"),
    *("created", "together", "bases", "relay", "purged"),
)
_MOST = 250  # states of one life: torn writes alone could fill a run


def jobs(play: str | None, seed: int) -> Iterator[tuple[str, int]]:
    """Plays and seeds without end; one alone when it is named."""
    for number in itertools.count(seed):
        for turn, name in enumerate([play] if play else _TURNS):
            yield name, number if play else number * len(_TURNS) + turn


def carry_out(job: tuple[str, int]) -> tuple[str, Tally | str]:
    """One of them, in a process of the pool."""
    name, seed = job
    try:
        return name, Machine(name, seed, most=_MOST).run()
    except (Violation, ChildFailed) as wrong:
        return name, f"{wrong}\nagain: python -m tests.fault.crash.run --play {name} --seed {seed} --plays 1"


def main() -> int:
    """Run until there were enough states or plays. Returns the exit status."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--states", type=int, default=100_000, help="how many different states at least (%(default)s)")
    asked.add_argument("--plays", type=int, help="how many plays at most")
    asked.add_argument("--play", choices=sorted(PLAYS), help="this play only")
    asked.add_argument("--seed", type=int, default=0, help="where the seeds begin (%(default)s)")
    asked.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many at once (%(default)s)")
    wants = asked.parse_args()
    began = time.monotonic()
    tallies: dict[str, Tally] = defaultdict(Tally)
    whole = Tally()
    with multiprocessing.get_context("fork").Pool(wants.processes, maxtasksperchild=50) as pool:
        todo = itertools.islice(jobs(wants.play, wants.seed), wants.plays)
        for name, done in _in_order(pool, todo):
            if isinstance(done, str):
                _say(done)
                return 1
            tallies[name].add(done)
            whole.add(done)
            if whole.states >= wants.states:
                break
        pool.terminate()
    _report(tallies, whole, time.monotonic() - began)
    return 0


def _in_order(pool: multiprocessing.pool.Pool, todo: Iterator[tuple[str, int]]) -> Iterator[tuple[str, Tally | str]]:
    """A bounded number of jobs under way: there may be no end of them."""
    waiting = [pool.apply_async(carry_out, (job,)) for job in itertools.islice(todo, 8)]
    while waiting:
        done = waiting.pop(0).get()
        waiting.extend(pool.apply_async(carry_out, (job,)) for job in itertools.islice(todo, 1))
        yield done


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _report(tallies: dict[str, Tally], whole: Tally, seconds: float) -> None:
    head = ("play", "runs", "operations", "combinations", "states", "went on", "most unsynced")
    rows = [
        (name, one.plays, one.operations, one.combinations, one.states, one.continued, one.most_pending)
        for name, one in [*sorted(tallies.items()), ("all", whole)]
    ]
    for row in [head, *rows]:
        _say("".join(f"{each!s:>15}" for each in row))
    _say(f"ends of lives: {dict(whole.ends)}; {seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
