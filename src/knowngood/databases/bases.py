"""Bases of a database: where they come from, and where what belongs to them lies until a checkpoint has it.

There are two folders for local files, so that a new base can be read while the one before it goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from knowngood.core.errors import Fenced
from knowngood.core.ports import CaptureContext
from knowngood.databases.feed import Beyond, ChainBroken, Feed, Spare
from knowngood.databases.image import Image
from knowngood.databases.local import LocalFiles
from knowngood.databases.paged import ReadAt
from knowngood.databases.remembered import Remembered

FOLDERS = ("growing", "growing-2")


@dataclass(slots=True)
class Base:
    """A base, and how far the log behind it was taken into it. `spare` is its own feed, unless it is the first one."""

    image: Image
    local: LocalFiles
    position: bytes
    read: ReadAt | None = None
    note: str = ""
    spare: Spare | None = None
    holds: Callable[[], None] = lambda: None
    """Raises when what is in the vault of it may have gone."""

    def advance(self, feed: Feed) -> bool:
        """Take in what came; whether there is more. Raises as `take`, OSError."""
        taken = (self.spare or feed).take()
        self.image.apply(taken.steps)
        self.position, self.note, self.read = taken.position, taken.note, taken.read
        return taken.more

    def reaches(self, position: bytes) -> bool:
        """Bring it exactly to a place where another feed is; False when it is further already. Raises as `take`."""
        assert self.spare is not None
        try:
            taken = self.spare.reach(position)
        except Beyond:
            return False
        self.image.apply(taken.steps)
        self.position = taken.position
        return True

    def close(self) -> None:
        """It is not used, or its feed is not, any more."""
        if self.spare is not None:
            self.spare.close()
            self.spare = None


class Bases:
    """Makes them."""

    def __init__(
        self, state_dir: str, remembered: Remembered, owner: tuple[int, int], clock: Callable[[], int]
    ) -> None:
        self._locals = [LocalFiles(os.path.join(state_dir, each)) for each in FOLDERS]
        self._remembered = remembered
        self._owner = owner
        self._clock = clock

    def new(self, feed: Feed, context: CaptureContext, used: LocalFiles | None, spare: Spare | None = None) -> Base:
        """A new one, taken by a feed, beside the local files that are used. Raises what the feed raises, OSError."""
        local = next(each for each in self._locals if each is not used)
        local.clear()
        image = Image(local, self._owner, self._clock)
        position = feed.base(image, context.sink, context.progress)
        return Base(image, local, position, spare=spare)

    def resumed(self, feed: Feed, context: CaptureContext) -> Base | None:
        """That of the last checkpoint, with all that came since; None when that cannot be had. Raises as `new`."""
        known = self._remembered.load()
        if known is None or known.checkpoint not in context.trusted:
            return None
        local = self._locals[known.local == FOLDERS[1]]
        image = Image(local, self._owner, self._clock)
        if not image.restore(known.image, context.sink):
            return None
        found, more = Base(image, local, known.position), True
        try:
            if not feed.resume(known.position):
                return None
            while more:  # no records: the gap stands for all of it
                more = found.advance(feed)
        except ChainBroken:
            return None
        return found

    def name_of(self, local: LocalFiles) -> str:
        """The folder of local files, as it is remembered."""
        return FOLDERS[1] if local is self._locals[1] else ""

    def clear_others(self, local: LocalFiles) -> None:
        """Only these are used from now on."""
        for each in self._locals:
            if each is not local:
                each.clear()

    def close(self) -> None:
        """Close what is open."""
        for each in self._locals:
            each.close()


def still_holds(base: Base) -> bool:
    """Whether what the vault has of it is certainly there."""
    try:
        base.holds()
    except Fenced:
        return False
    return True
