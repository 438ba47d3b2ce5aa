"""What following asks of a watcher: the names that may have changed (`kinds.files.watch` has it)."""

from __future__ import annotations

from typing import Protocol

from knowngood.kinds.files.watch.dirty import Dirty
from knowngood.kinds.files.watch.feed import WatchTraits

Place = tuple[bytes, bytes]
"""Directory and name of an entry: tuples compare in tree order."""


class Watch(Protocol):
    """A watcher of one component: it watches from before the follower is made."""

    @property
    def traits(self) -> WatchTraits:
        """What it sees."""
        ...

    def fileno(self) -> int:
        """A descriptor that is readable when there is something to drain; -1 when there is none."""
        ...

    def drain(self) -> Dirty:
        """All that changed since it was asked before. Does not wait."""
        ...

    def close(self) -> None:
        """Watch no longer."""
        ...
