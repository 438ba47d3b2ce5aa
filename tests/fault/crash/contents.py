"""What points hold: it follows from a number, which is the name of their service."""

from __future__ import annotations

import functools
import random

from knowngood.core.model import Point

_POOL = [random.Random(at).randbytes(500 + 90 * at) for at in range(10)]
"""Few contents, shared by many points: what one point gives up, the next one wants."""


@functools.cache
def files_of(number: int) -> dict[bytes, bytes]:
    """What the point of this number holds."""
    chance = random.Random(number)
    files = {b"pool/%d" % at: _POOL[at] for at in chance.sample(range(len(_POOL)), 3)}
    return files | {b"own": b"%d" % number, b"more/own": chance.randbytes(chance.randrange(1, 900))}


def number_of(point: Point) -> int:
    """The number of a point."""
    return int(point.service[1:])
