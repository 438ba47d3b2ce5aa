"""What may have become of the operations that were not synced: all of it where that is little, else what tells most."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence

from knowngood.testing.crash.operations import KEPT, LOST, Operation, What, shapes

ALL_UP_TO = 96
"""Up to so many combinations, all of them are made."""

AT_RANDOM = 12
"""So many more beyond the systematic ones, where not all are made."""


def ways(operation: Operation) -> int:
    """How many outcomes an operation has."""
    return len(shapes(operation)) if operation.what == What.WRITE else 2


def outcomes(
    pending: Sequence[Operation], chance: random.Random, *, all_up_to: int = ALL_UP_TO, at_random: int = AT_RANDOM
) -> Iterator[tuple[int, ...]]:
    """Combinations of outcomes. Where there are too many: none; all; every prefix; every operation lost alone; every
    one kept alone; each torn write, with all others kept and with all others lost; the last of every prefix torn; and
    some at random. The same one may come more than once.
    """
    counts = [ways(each) for each in pending]
    if math.prod(counts) <= all_up_to:
        yield from itertools.product(*map(range, counts))
        return
    none, every = [LOST] * len(counts), [KEPT] * len(counts)
    yield tuple(none)
    yield tuple(every)
    for at, count in enumerate(counts):
        yield (*every[:at], *none[at:])
        yield (*every[:at], LOST, *every[at + 1 :])
        yield (*none[:at], KEPT, *none[at + 1 :])
        for torn in range(2, count):
            yield (*every[:at], torn, *every[at + 1 :])
            yield (*none[:at], torn, *none[at + 1 :])
            yield (*every[:at], torn, *none[at + 1 :])
    for _ in range(at_random):
        yield tuple(chance.randrange(count) for count in counts)


def by_chance(scratched: Sequence[Operation], chance: random.Random) -> tuple[int, ...]:
    """One combination for what nobody looks at."""
    return tuple(chance.randrange(ways(each)) for each in scratched)
