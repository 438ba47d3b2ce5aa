"""All that changed, taken at one instant: if nothing moved while it was taken, that is when it was all there at once.

What moved is taken again, a few times; the rest stays as it was taken. Whoever never rests keeps this from coming
about: then each file is of an instant of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from knowngood.kinds.files.follow.feed import Place
from knowngood.kinds.files.follow.known import State
from knowngood.kinds.files.follow.look import Sight
from knowngood.kinds.files.follow.steps import Fresh
from knowngood.kinds.files.follow.tools import Taken
from knowngood.kinds.files.settled import settled
from knowngood.tree.block import ROW

TRIES = 3
_CTIME = 6  # its place in a row

Rows = Mapping[Place, bytes | None]
"""What is in places now."""


def take_quietly(
    rows: Rows, take: Callable[[Rows, Taken | None], Taken], moved: Callable[[Taken], Rows | None]
) -> tuple[Rows, Taken, bool]:
    """Take rows; the rows in the end, what was taken of them, and whether that was there at one instant.

    `moved` looks what is not as it was taken; it answers None when nobody can say.
    """
    taken = take(rows, None)
    for _ in range(TRIES):
        again = moved(taken)
        if not again:
            return rows, taken, again is not None
        rows = {**rows, **again}
        taken = take(rows, taken)
    return rows, taken, False


def not_as_taken(state: State, taken: Taken, told: Iterable[Place], sight: Sight) -> Rows | None:
    """What was told of, and is not as it was taken; None when some of it could not be seen."""
    if sight.foreign or sight.rest or sight.rest_below:
        return None
    again, now = taken.haul.retry, dict(sight.rows)
    for place in told:
        if place in now or place in taken.haul.failed:
            continue
        if place in taken.after or place in again:  # it is as it was before
            known = state.row(place)
            now[place] = known[0] if known else None
    return {place: row for place, row in now.items() if place in again or not _as_taken(taken.after.get(place), row)}


def _as_taken(fresh: Fresh | None, row: bytes | None) -> bool:
    if fresh is None or row is None:
        return fresh is None and row is None
    return fresh.entry.row == row and settled(ROW.unpack(row)[_CTIME], fresh.read_ns)
