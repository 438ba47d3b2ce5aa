"""Follows a database (port Follower): what its feed brings becomes records, and checkpoints of an image."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator, Sequence

from knowngood.core.errors import KnowngoodError, NoSpace, StoreFailed
from knowngood.core.log import Gap, LogRecord, Operation
from knowngood.core.ports import CaptureContext, Captured, ChunkSink, Durable, Followed, Standing
from knowngood.databases.bases import Base, Bases
from knowngood.databases.feed import ChainBroken, Feed, Spare
from knowngood.databases.preparing import Preparation
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
    """One database that is followed. Its bases are made within checkpoints until somebody makes one beside."""

    def __init__(
        self,
        feed: Feed,
        state_dir: str,
        owner: tuple[int, int],
        clock: Callable[[], int],
        spare: Callable[[], Spare] | None = None,
    ) -> None:
        """`spare` makes a second feed, where there can be one. Raises Busy when it is followed already in this state
        folder."""
        self._holding = Holding(state_dir)
        self._feed = feed
        self._spare = spare
        self._remembered = Remembered(state_dir)
        self._bases = Bases(state_dir, self._remembered, owner, clock)
        self._owner = owner
        self._base: Base | None = None
        self._based = False
        self._checkpoint_id = b""  # the checkpoint on which the log goes on
        self._gap = Gap.NOT_RUNNING
        self._reason = ""
        self._note = ""  # of the server
        self._unsafe: str | None = None  # so are its writes
        self._taken: list[Step] = []  # and not yet known to be in the log
        self._waiting = 0  # bytes of it
        self._given = 0, b""  # how much of it was given as records last, and the position after that
        self._durable = b""  # the position up to which it is, in the log or here
        self._made: tuple[bytes, Base, bytes] | None = None  # the checkpoint that was made last, and its position
        self._preparation = Preparation(self._prepared_by)

    @property
    def standing(self) -> Standing:
        """How well it is followed."""
        due = self._based and self._base is not None and self._base.image.waiting_bytes > DUE_BYTES
        takes = self._based and self._waiting < _TAKEN_BYTES  # else it would be woken again and again for nothing
        file, why = self._feed.fileno() if takes else -1, self._reason or self._note
        beside = self._preparation if not self._based or (self._is_long and self._spare) else None
        unready = self._preparation.unready if self._preparation.is_used and not self._based else None
        return Standing(
            LEVEL,
            why,
            self._based,
            file,
            True,
            due,
            self._feed.holder,
            beside=beside,
            unready=unready,
            unsafe=self._unsafe,
        )

    @property
    def _has_the_feed(self) -> bool:
        """Whether the first feed is ours: without a base, who reads one has it."""
        return self._based or not self._preparation.is_running

    @property
    def _is_long(self) -> bool:
        return self._base is not None and self._base.image.is_long(REPLAYED_BYTES, REPLAYED_TIMES)

    # --------------------------------------------------------------------------------------------------- a base beside

    def _prepared_by(self, context: CaptureContext) -> Base:
        """A new base; in another thread. The first feed is used when nobody else does: while there is no base."""
        with _local():
            if not self._based:
                made = self._bases.resumed(self._feed, context)
                if made is None:
                    made = self._anew(context)
                    _put(made, context)
                return made
            assert self._spare is not None
            assert self._base is not None
            spare = self._spare()
            try:
                made = self._bases.new(spare, context, self._base.local, spare)
                _put(made, context)
            except BaseException:
                spare.close()
                raise
        return made

    def _anew(self, context: CaptureContext) -> Base:
        self._remembered.forget()
        return self._bases.new(self._feed, context, None)

    # ------------------------------------------------------------------------------------------------------- a tick

    def look(self) -> bool:
        """Take in what came. Raises KnowngoodError while the server is away."""
        try:
            self._preparation.keep_up(self._feed)
        except OSError as wrong:
            raise _ours(wrong) from None
        if not self._based or self._base is None:
            return False
        if self._waiting < _TAKEN_BYTES:
            self._take_in(self._base)
        return bool(self._taken)

    def _take_in(self, base: Base) -> None:
        try:
            self._take(base)
        except ChainBroken as wrong:
            self._lost(Gap.OTHER, wrong.message)
        except OSError as wrong:  # the feed does not give it again
            self._lost(Gap.OTHER, "what its server wrote could not be kept here")
            raise _ours(wrong) from None

    def _take(self, base: Base) -> None:
        taken = self._feed.take()
        base.image.apply(taken.steps)
        self._taken += taken.steps
        self._waiting += _bytes_of(taken.steps)
        base.position, self._note, base.read = taken.position, taken.note, taken.read
        self._unsafe = taken.unsafe

    def records(self, sink: ChunkSink, first: int, time_ns: int) -> Sequence[LogRecord]:  # noqa: ARG002 - all is raw
        """What came, in records numbered from `first`."""
        self._given = len(self._taken), self._base.position if self._base else b""
        return records(self._taken, self._owner, first, time_ns)

    def landed(self, where: Durable = Durable.LOG) -> None:
        """It is in the log. While it is durable here only, the server is not told."""
        if where != Durable.MOVED:
            count, position = self._given
            self._taken, self._given = self._taken[count:], (0, position)
            self._durable = position or self._durable
            self._waiting = _bytes_of(self._taken)
        if where != Durable.HERE and self._durable and self._has_the_feed:
            with contextlib.suppress(KnowngoodError):  # the server is away: it is told with what comes next
                self._feed.landed(self._durable)

    def lose(self) -> None:
        """The log does not end where it should: begin with a new base."""
        self._lost(Gap.OTHER, "its log in the vault does not go on from here")

    def _lost(self, gap: Gap, why: str) -> None:
        self._based, self._gap, self._reason = False, gap, why
        self._taken, self._waiting, self._given = [], 0, (0, b"")
        self._base, self._durable = None, b""
        self._remembered.forget()

    # -------------------------------------------------------------------------------------------------- a checkpoint

    def checkpoint(self, context: CaptureContext, first: int, time_ns: int) -> Followed:
        """The database as far as its log was taken; see the port."""
        with _local():
            return self._checkpoint(context, first, time_ns)

    def _checkpoint(self, context: CaptureContext, first: int, time_ns: int) -> Followed:
        if self._based and self._checkpoint_id not in context.trusted:
            self._lost(Gap.OTHER, "")
        made: list[LogRecord] = []
        base = self._base
        if self._based and base is not None:
            self._take_in(base)  # however much waits: a mark has to be reached
            made += self.records(context.sink, first, time_ns)
            if self._is_long and not self._preparation.is_used:
                self._lost(Gap.OTHER, "")
            elif self._based:
                base = self._preparation.at(base.position) or base
        if not self._based or base is None:
            base = self._begun(context)
            number, at = first + len(made), made[-1].time_ns if made else time_ns
            made.append(LogRecord(sequence=number, time_ns=at, operation=Operation.GAP, value=self._gap))
            self._base, self._given = base, (len(self._taken), base.position)
        root = base.image.root(context.sink, base.read)
        self._made = context.checkpoint_id, base, base.position
        return Followed(Captured(root, LEVEL, base.image.totals), made)

    def _begun(self, context: CaptureContext) -> Base:
        """What the log begins anew with."""
        if self._preparation.is_used:
            base = self._preparation.begun(self._feed)
        else:
            base = self._bases.resumed(self._feed, context) or self._anew(context)
        self._note = base.note
        return base

    def remember(self, context: CaptureContext, captured: Captured) -> None:  # noqa: ARG002 - the image knows its root
        """The checkpoint is committed."""
        if self._made is None or self._made[0] != context.checkpoint_id or self._base is None:
            return
        checkpoint, base, position = self._made
        self._made = None
        self._preparation.used(base)
        with _local():
            base.image.landed()
            self._remembered.save(checkpoint, position, base.image.state(), self._bases.name_of(base.local))
            self._bases.clear_others(base.local)
        self._base = base
        self._based, self._checkpoint_id, self._reason = True, checkpoint, ""
        with contextlib.suppress(KnowngoodError):  # it is told again with the next checkpoint
            self._feed.kept(position)
        if self._is_long and self._spare is None and self._preparation.is_used:
            self._lost(Gap.OTHER, "")

    def close(self) -> None:
        """Follow no longer."""
        self._preparation.drop()
        self._feed.close()
        self._bases.close()
        self._holding.close()


def _put(base: Base, context: CaptureContext) -> None:
    """All of a new base is in the vault, as a checkpoint would have it: then little is left for the checkpoint."""
    base.image.root(context.sink, base.read)
    context.sink.flush()
    base.image.landed()


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
