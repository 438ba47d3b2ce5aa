"""What a feed of changes is, and what can be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from knowngood.kinds.files.watch.dirty import Dirty

FANOTIFY, INOTIFY, SCAN = "fanotify", "inotify", "scan"
COOKIE = b".knowngood-cookie-"
"""How the names of cookies begin: files that are made to be seen."""


@dataclass(frozen=True, slots=True)
class WatchTraits:
    """What a feed sees, as declared data. `reason` says why it is not a better one.

    No feed sees stores through a shared mapping before it ends (`mapped_files`), and changes of file flags by ioctl
    (chattr): the kernel does not tell of them.
    """

    feed: str  # fanotify, inotify, or scan: nothing is seen, every answer is `lost`
    reason: str = ""
    other_names: bool = False  # files changed through a name outside of the component, or one that is gone, are seen
    unwatched: tuple[bytes, ...] = ()  # keys of mounts below the root of which nothing is seen


class Refused(Exception):
    """A feed cannot be had here. The text says why."""


class Lost(Exception):
    """A feed has ended, or missed something, and must be begun anew. The text says why."""


class Feed(Protocol):
    """One way of the kernel's to tell of changes."""

    @property
    def traits(self) -> WatchTraits:
        """What it sees."""
        ...

    @property
    def seen(self) -> bytes:
        """The name of the newest cookie that was seen."""
        ...

    def fileno(self) -> int:
        """Readable while there is something to collect; -1 when there never is."""
        ...

    def collect(self, dirty: Dirty) -> None:
        """Take in all that happened until now. Raises Lost."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class NoFeed:
    """Nothing is seen: only a scan finds changes."""

    seen = b""

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        """`passing` when it is worth while to try again at every answer."""
        self.traits = WatchTraits(SCAN, reason)
        self._passing = passing

    def fileno(self) -> int:
        """None."""
        return -1

    def collect(self, dirty: Dirty) -> None:
        """Everything may have changed. Raises Lost where another feed may be had by now."""
        if self._passing:
            raise Lost(self.traits.reason)
        dirty.lose(self.traits.reason)

    def close(self) -> None:
        """Nothing to do."""
