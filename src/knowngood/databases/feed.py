"""What following asks of a kind of database (port Feed)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from knowngood.core.errors import KnowngoodError, StoreFailed
from knowngood.core.ports import ChunkSink, Holder
from knowngood.core.progress import Progress
from knowngood.databases.image import Image
from knowngood.databases.paged import ReadAt
from knowngood.databases.steps import Step


class ChainBroken(KnowngoodError):
    """The server's log does not go on where it was read to: a new base is needed, and a gap shows."""

    code = "chain-broken"


class Beyond(KnowngoodError):
    """The server's log was read further already."""

    code = "beyond"


class Away(StoreFailed):
    """The server cannot be reached now."""

    code = "server-away"


@dataclass(frozen=True, slots=True)
class Taken:
    """What came, and where the server's log is after it, in the server's terms: what a resumption begins at.

    `note` says what of the server is not as it should be, for people; empty when all is well. `more`: the server had
    written more before it was asked, which has not come yet. `unsafe` is as in Standing.
    """

    steps: Sequence[Step]
    position: bytes
    read: ReadAt | None = None
    """Of a feed whose files change in place: what they have at this position. Good until the next `take`."""
    note: str = ""
    more: bool = False
    unsafe: str | None = None


class Feed(Protocol):
    """One database as its server gives it: a base, and what follows. For one thread at a time.

    What is waited for comes in by threads of the feed's own, bounded; but for a base, nothing here takes long.
    """

    @property
    def holder(self) -> Holder | None:
        """Holds the database's writes; None when it cannot. After a mark, the next `take` ends exactly there."""
        ...

    def base(self, image: Image, sink: ChunkSink, progress: Progress) -> bytes:
        """Take a base into an empty image; what comes afterwards goes on from it. Where the server's log is at it.

        The base alone can be recovered. Raises KnowngoodError, with the fix, when the server refuses.
        """
        ...

    def resume(self, position: bytes) -> bool:
        """Go on from a position; False when the server does not have any more what comes next."""
        ...

    def take(self) -> Taken:
        """All that came since it was last called; never half of what the server needs whole.

        Raises ChainBroken; KnowngoodError while the server is away, after which it goes on where it was.
        """
        ...

    def landed(self, position: bytes) -> None:
        """All up to here is durable in the vault: this is what the server may be told."""
        ...

    def kept(self, position: bytes) -> None:
        """A committed checkpoint reaches up to here: what was before is never asked for again."""
        ...

    def fileno(self) -> int:
        """A descriptor that can be read when something may have come; -1 for none."""
        ...

    def close(self) -> None:
        """Let go of the server. What it keeps for a resumption stays."""
        ...


class Spare(Feed, Protocol):
    """A second feed of a database, which gives a new base while the first one goes on. It says nothing to the server
    that the first one's word depends on."""

    def reach(self, position: bytes) -> Taken:
        """What came up to a position of the first one, which is waited for, briefly. Raises Beyond, and as `take`."""
        ...
