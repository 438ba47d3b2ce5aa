"""Follows a database (port Follower): what its feed brings becomes records, and checkpoints of an image."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence

from knowngood.core.errors import KnowngoodError, NoSpace, StoreFailed
from knowngood.core.log import Gap, LogRecord, Operation
from knowngood.core.ports import CaptureContext, Captured, ChunkSink, Durable, Followed, Standing
from knowngood.databases.feed import ChainBroken, Feed
from knowngood.databases.image import Image
from knowngood.databases.local import LocalFiles
from knowngood.databases.paged import ReadAt
from knowngood.databases.remembered import Holding, Remembered
from knowngood.databases.steps import Step, Write, records

LEVEL = "journal"
"""The server's own log has every change, in its order."""

DUE_BYTES = 256 << 20
"""So much of the server's log without a checkpoint asks for one: it waits in local files, and would be replayed."""

REPLAYED_BYTES = 1 << 30
REPLAYED_TIMES = 4
"""A server replays so much at recovery before a new base is taken: what is more, of this and so many bases."""

_TAKEN_BYTES = 64 << 20  # while the vault is away, so much waits here; the rest waits at the server


class DatabaseFollower:
    """One database that is followed."""

    def __init__(self, feed: Feed, state_dir: str, owner: tuple[int, int], clock: Callable[[], int]) -> None:
        """Raises Busy when it is followed already in this state folder."""
        self._holding = Holding(state_dir)
        self._feed = feed
        self._remembered = Remembered(state_dir)
        self._local = LocalFiles(os.path.join(state_dir, "growing"))
        self._owner = owner
        self._clock = clock
        self._image: Image | None = None
        self._based = False
        self._base = b""  # the checkpoint on which the log goes on
        self._gap = Gap.NOT_RUNNING
        self._reason = ""
        self._note = ""  # of the server
        self._taken: list[Step] = []  # and not yet known to be in the log
        self._waiting = 0  # bytes of it
        self._read: ReadAt | None = None  # what files whose pages change have at the position
        self._position = b""  # of the server's log, as far as it was taken
        self._given = 0, b""  # how much of it was given as records last, and the position after that
        self._durable = b""  # the position up to which it is, in the log or here
        self._made: tuple[bytes, bytes] | None = None  # the checkpoint that was made last, and its position

    @property
    def standing(self) -> Standing:
        """How well it is followed."""
        due = self._based and self._image is not None and self._image.waiting_bytes > DUE_BYTES
        takes = self._based and self._waiting < _TAKEN_BYTES  # else it would be woken again and again for nothing
        file, why = self._feed.fileno() if takes else -1, self._reason or self._note
        return Standing(LEVEL, why, self._based, file, True, due, self._feed.holder)

    # ------------------------------------------------------------------------------------------------------- a tick

    def look(self) -> bool:
        """Take in what came. Raises KnowngoodError while the server is away."""
        if not self._based or self._image is None:
            return False
        if self._waiting < _TAKEN_BYTES:
            self._take_in(self._image)
        return bool(self._taken)

    def _take_in(self, image: Image) -> None:
        try:
            self._take(image)
        except ChainBroken as wrong:
            self._lost(Gap.OTHER, wrong.message)
        except OSError as wrong:  # the feed does not give it again
            self._lost(Gap.OTHER, "what its server wrote could not be kept here")
            raise _ours(wrong) from None

    def _take(self, image: Image) -> None:
        taken = self._feed.take()
        image.apply(taken.steps)
        self._taken += taken.steps
        self._waiting += _bytes_of(taken.steps)
        self._position, self._note, self._read = taken.position, taken.note, taken.read

    def records(self, sink: ChunkSink, first: int, time_ns: int) -> Sequence[LogRecord]:  # noqa: ARG002 - all is raw
        """What came, in records numbered from `first`."""
        self._given = len(self._taken), self._position
        return records(self._taken, self._owner, first, time_ns)

    def landed(self, where: Durable = Durable.LOG) -> None:
        """It is in the log. While it is durable here only, the server is not told."""
        if where != Durable.MOVED:
            count, position = self._given
            self._taken, self._given = self._taken[count:], (0, position)
            self._durable = position or self._durable
            self._waiting = _bytes_of(self._taken)
        if where != Durable.HERE and self._durable:
            with contextlib.suppress(KnowngoodError):  # the server is away: it is told with what comes next
                self._feed.landed(self._durable)

    def lose(self) -> None:
        """The log does not end where it should: begin with a new base."""
        self._lost(Gap.OTHER, "its log in the vault does not go on from here")

    def _lost(self, gap: Gap, why: str) -> None:
        self._based, self._gap, self._reason = False, gap, why
        self._taken, self._waiting, self._given = [], 0, (0, b"")
        self._image = None
        self._remembered.forget()

    # -------------------------------------------------------------------------------------------------- a checkpoint

    def checkpoint(self, context: CaptureContext, first: int, time_ns: int) -> Followed:
        """The database as far as its log was taken; see the port."""
        with _local():
            return self._checkpoint(context, first, time_ns)

    def _checkpoint(self, context: CaptureContext, first: int, time_ns: int) -> Followed:
        if self._based and self._base not in context.trusted:
            self._lost(Gap.OTHER, "")
        made: list[LogRecord] = []
        if self._based and self._image is not None:
            self._take_in(self._image)  # however much waits: a mark has to be reached
            made += self.records(context.sink, first, time_ns)
            if self._image is not None and self._image.is_long(REPLAYED_BYTES, REPLAYED_TIMES):
                self._lost(Gap.OTHER, "")
        if not self._based or self._image is None:
            self._image = self._resumed(context) or self._new(context)
            number, at = first + len(made), made[-1].time_ns if made else time_ns
            made.append(LogRecord(sequence=number, time_ns=at, operation=Operation.GAP, value=self._gap))
            self._given = len(self._taken), self._position
        root = self._image.root(context.sink, self._read)
        self._made = context.checkpoint_id, self._position
        return Followed(Captured(root, LEVEL, self._image.totals), made)

    def _resumed(self, context: CaptureContext) -> Image | None:
        """The image of the last checkpoint, with all that came since; None when that cannot be had."""
        known = self._remembered.load()
        if known is None or known.checkpoint not in context.trusted:
            return None
        image = Image(self._local, self._owner, self._clock)
        if not image.restore(known.image, context.sink):
            return None
        try:
            if not self._feed.resume(known.position):
                return None
            more, self._position = True, known.position
            while more:  # no records: the gap stands for all of it
                taken = self._feed.take()
                image.apply(taken.steps)
                self._position, self._note, self._read, more = taken.position, taken.note, taken.read, taken.more
        except ChainBroken:
            return None
        return image

    def _new(self, context: CaptureContext) -> Image:
        self._remembered.forget()
        self._local.clear()
        self._read = None
        image = Image(self._local, self._owner, self._clock)
        self._position = self._feed.base(image, context.sink, context.progress)
        return image

    def remember(self, context: CaptureContext, captured: Captured) -> None:  # noqa: ARG002 - the image knows its root
        """The checkpoint is committed."""
        if self._made is None or self._made[0] != context.checkpoint_id or self._image is None:
            return
        checkpoint, position = self._made
        self._made = None
        with _local():
            self._image.landed()
            self._remembered.save(checkpoint, position, self._image.state())
        self._based, self._base, self._reason = True, checkpoint, ""
        with contextlib.suppress(KnowngoodError):  # it is told again with the next checkpoint
            self._feed.kept(position)

    def close(self) -> None:
        """Follow no longer."""
        self._feed.close()
        self._local.close()
        self._holding.close()


@contextlib.contextmanager
def _local() -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        raise _ours(wrong) from None


def _ours(wrong: OSError) -> KnowngoodError:
    """An error of the local files."""
    if wrong.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace("the disk of the home is full: what a database writes cannot be kept", hint="free space there")
    return StoreFailed(f"the state of a database cannot be kept: {wrong.strerror}")


def _bytes_of(steps: Sequence[Step]) -> int:
    return sum(len(each.data) for each in steps if isinstance(each, Write))
