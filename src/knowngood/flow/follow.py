"""Follow: what changes in a component becomes a part of its log; from time to time, a checkpoint on it.

A tick is: look what changed, read it, land what belongs into chunks, append the records, commit. Only then does the
follower know it as recorded. Where the vault does not take it, the tick waits in the spool, sealed and durable on this
machine; it is added as it is when the vault is back, before anything else. Where the spool is full, only the names of
what changed are kept, and the next tick tells it, as one change. Nothing is opened in the vault when there is nothing
for it. Where ticks follow each other at once, as those of databases do, they share a short stay (stay.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from knowngood.core.errors import Damaged, KnowngoodError, Locked, NoSpace
from knowngood.core.instants import now_ns
from knowngood.core.log import LogRecord, Operation
from knowngood.core.model import ComponentSpec, Position, ServiceSpec
from knowngood.core.ports import CaptureContext, Captured, Durable, Followed, Follower, Standing
from knowngood.core.progress import Progress
from knowngood.flow.basing import BaseHere, point_of
from knowngood.flow.fold import fold_logs
from knowngood.flow.parts import Parts
from knowngood.flow.spooling import Spooler
from knowngood.flow.stay import Stay
from knowngood.vault.fold import Folded
from knowngood.vault.log_writer import LogWriter
from knowngood.vault.segment import LogSealer
from knowngood.vault.session import Session
from knowngood.vault.spool import Spool
from knowngood.vault.spool_landing import land_spool


@dataclass(frozen=True, slots=True)
class Ticked:
    """What a tick came to. `position` is the end of the log when something was added to it.

    `away` is why the vault took nothing; `kept` tells whether all that changed waits in the spool then.
    """

    records: int = 0
    position: Position | None = None
    away: KnowngoodError | None = None
    kept: bool = True


@dataclass(frozen=True, slots=True)
class _Tried:
    """Records that may be in the log: the commit failed, and nobody knows how far it came."""

    after: Position
    records: Sequence[LogRecord]

    @property
    def end(self) -> int:
        return self.after.sequence + len(self.records)


class Following:
    """One component that is followed into a vault. Between ticks, nothing of the vault is open; but of one that is
    prompt, for a second at most."""

    def __init__(self, service: ServiceSpec, component: ComponentSpec, parts: Parts) -> None:
        """Begin to watch. Raises Unsupported where that cannot be, Busy when somebody does already."""
        parts.vault.require_logs()
        self.service = service
        self.component = component
        self.timeline = parts.timeline(service, component)
        self.dropped = ""  # what waited and cannot be a part of the log any more; until there is a new base
        self._parts = parts
        self._follower: Follower = parts.kind(component.kind).follow(component, parts.state_dir(self.timeline))
        self._at: Position | None = None  # the end of the log, as far as it is ours, and of what waits for it
        self._tried: _Tried | None = None
        self.baseless = ""  # why no base could be made on this machine while the vault is away
        self._too_much = False  # so was that
        self._stay: Stay | None = None  # in the vault, from one tick to the next
        self._writer: LogWriter | None = None  # while a point is made
        self._taken: Followed | None = None
        try:
            self.spool = Spool(parts.state_dir(self.timeline), parts.vault.id, self.timeline)
        except BaseException:
            self._follower.close()
            raise
        self._begin_sealing()
        if self.spool.rejected:
            self.dropped = f"of what waited on this machine, a part cannot be used: {self.spool.rejected}"

    def _begin_sealing(self) -> None:
        vault = self._parts.vault
        self._here = BaseHere(self.service, self.component, self.timeline, self.spool)
        self._sealer = LogSealer(vault.writer.public, vault.id, vault.writer.namer)
        self._spooler = Spooler(vault, self.timeline, self.spool, lambda: self._parts.state_dir(self.timeline))

    @property
    def standing(self) -> Standing:
        """How well it is followed. Without a base, a point of the service is due."""
        return self._follower.standing

    # --------------------------------------------------------------------------------------------------------- a tick

    def tick(self, *, away: KnowngoodError | None = None) -> Ticked:
        """Record what changed; in the spool, and without trying the vault, when that is known to be `away`.

        Raises NotFound when the component is gone, and what else cannot be read.
        """
        try:
            changed = self._follower.look()
        except KnowngoodError:
            if self.spool.ticks and away is None:  # what waits has nothing to do with it
                with suppress(KnowngoodError):
                    self._to_vault(changed=False)
            raise
        if not changed and not self.spool.ticks:
            if self._stay is not None and self._stay.over:
                self.rest()
            return Ticked(away=away)
        if away is not None:
            self.rest()
        else:
            try:
                return self._to_vault(changed=changed)
            except KnowngoodError as wrong:
                away = wrong
            changed = self._follower.look()
        try:
            kept = self._to_spool() if changed or self._tried else 0
        except NoSpace:
            return Ticked(away=away, kept=False)
        return Ticked(kept or 0, away=away, kept=kept is not None)

    def _to_vault(self, *, changed: bool) -> Ticked:
        if self._stay is not None and (self._stay.over or self.spool.ticks):
            self.rest()
        try:
            stay = self._stay = self._stay or self._entered()
            ticked = self._recorded(stay) if changed else Ticked()
        except BaseException:
            self.rest()  # what has become of it is seen from the next one
            raise
        if not ticked.records or not self._follower.standing.prompt:
            self.rest()
        return ticked

    def _entered(self) -> Stay:
        stay = Stay(self._parts.vault, self.timeline)
        try:
            stay.writer = self._open_log(stay.session)
        except BaseException:
            stay.close()
            raise
        return stay

    def _recorded(self, stay: Stay) -> Ticked:
        writer = stay.writer
        assert writer is not None
        with self._parts.vault.ingest(stay.session, self._parts.progress) as sink:
            records = self._follower.records(sink, writer.next_sequence, now_ns())
            if not records:
                self._follower.landed()
                return Ticked()
            sink.flush()
        position = self._commit(writer, records)
        return Ticked(len(records), position)

    def rest(self) -> None:
        """Leave the vault, until the next tick: whoever makes points of it, or keeps the vault in order, is let in."""
        stay, self._stay = self._stay, None
        if stay is not None:
            stay.close()

    def _to_spool(self) -> int | None:
        """Keep what changed; how many records. None when it is not known where the log ends."""
        count = 0
        if tried := self._tried:  # its chunks are in the vault, if they are not taken away before it comes back
            _, end = self._spooler.keep(tried.after, lambda _: tried.records)
            self._landed(end, Durable.HERE)
            count = len(tried.records)
            if not self._follower.look():
                return count
        if (at := self._at) is None:
            return None
        more, end = self._spooler.keep(at, lambda sink: self._follower.records(sink, at.sequence, now_ns()))
        self._landed(end, Durable.HERE)
        return count + more

    @property
    def lacks_base(self) -> bool:
        """Whether a base could be made on this machine, if the vault is away: there is none, and that is all it takes.
        Databases keep their logs themselves until they are asked for them."""
        standing = self._follower.standing
        return not standing.based and standing.beside is None and not standing.prompt

    def base_here(self, progress: Progress) -> None:
        """Make a base that waits on this machine, since the vault is away: what changes from then on waits as well.

        Nothing is raised: `baseless` says why there is none. What is too much for the spool is not tried again.
        """
        if not self.lacks_base or self._too_much or self._tried is not None:
            return
        try:
            self._at = self._here.make(self._follower, self._parts, self._spooler, progress)
        except KnowngoodError as wrong:
            self.baseless, self._too_much = wrong.message, isinstance(wrong, NoSpace)
        else:
            self.baseless = self.dropped = ""

    # ----------------------------------------------------------------------------------- as a part of making a point

    def open(self, session: Session) -> None:
        """Go to the end of the log, in a session for its timeline; `take` and `land` are to follow in it."""
        self._writer = self._open_log(session)

    def take(self, context: CaptureContext, time_ns: int) -> Captured:
        """Read what changed since the last time. Nothing is durable yet; taken again, it is read again."""
        assert self._writer is not None
        self._taken = self._follower.checkpoint(context, self._writer.next_sequence, time_ns)
        return self._taken.captured

    @property
    def anew(self) -> bool:
        """Whether what was taken does not go on from the log: all was read again."""
        return self._taken is not None and any(each.operation == Operation.GAP for each in self._taken.records[:1])

    def land(self, context: CaptureContext) -> Position:
        """Commit what was missing in the log up to what was taken, before the point; where the log is there."""
        writer, taken = self._writer, self._taken
        assert writer is not None
        assert taken is not None
        self._writer = self._taken = None
        context.sink.flush()
        return self._commit(writer, taken.records)

    def remember(self, context: CaptureContext, captured: Captured) -> None:
        """The point is committed: the log goes on from its checkpoint."""
        self._follower.remember(context, captured)
        self.dropped = self.baseless = ""
        self._too_much = False

    def move_to(self, parts: Parts) -> None:
        """Go on with a vault that was opened anew. What its log holds is seen at the next tick. Raises Locked when the
        home belongs to another vault by now: what was known is of no use there."""
        self.rest()
        before, self._parts = self._parts.vault, parts
        if parts.vault.id != before.id:
            raise Locked("the home belongs to another vault now", hint="it is followed anew, with a new checkpoint")
        if parts.vault.writer.public != before.writer.public:
            self._begin_sealing()

    def fold(self, most: int) -> Folded:
        """Fold the log's small segments into large ones, where there are enough of them, and take away `most` old
        commits. Raises as `fold_logs`."""
        self.rest()
        return fold_logs(self._parts, self.timeline, most)

    def close(self) -> None:
        """Follow no longer. What waits in the spool stays there."""
        self.rest()
        self._follower.close()
        self.spool.close()

    # ------------------------------------------------------------------------------------------------------- the log

    def _open_log(self, session: Session) -> LogWriter:
        """Go to the end of the log, with what waited for it. Whether the last commit came about, whose outcome nobody
        knew, is seen there."""
        vault, catalog = self._parts.vault, self._parts.catalog
        if self.spool.ticks:
            self._land_spool(session)
        try:
            writer = LogWriter(vault, session, catalog, self.timeline, sealer=self._sealer)
        except Damaged:
            self._forget()
            writer = LogWriter(vault, session, catalog, self.timeline, anew=True, sealer=self._sealer)
        if self._tried is not None and writer.next_sequence == self._tried.end:
            self._landed(writer.position)
            self._follower.look()
        elif self._at is not None and writer.position != self._at:
            self._forget()  # somebody else has gone on with it, or a part of it is gone
        self._tried = None
        return writer

    def _land_spool(self, session: Session) -> None:
        service, parts = self.service, self._parts
        landed = land_spool(self.spool, parts.vault, session, parts.catalog, point_of(service, parts))
        lost = f"{landed.dropped} changes that waited on this machine are lost: {landed.reason}"
        if not landed.follows:
            self._drop(lost)
            return
        self._follower.landed(Durable.MOVED)
        if landed.reason:
            self.dropped = lost

    def _drop(self, why: str) -> None:
        self.dropped = why
        if self._at is not None:
            self._forget()

    def _commit(self, writer: LogWriter, records: Sequence[LogRecord]) -> Position:
        after = writer.position
        writer.append(records)
        self._tried = _Tried(after, records)
        position = writer.commit()
        self._landed(position)
        return position

    def _landed(self, end: Position, where: Durable = Durable.LOG) -> None:
        self._at, self._tried = end, None
        self._follower.landed(where)

    def _forget(self) -> None:
        self._at = self._tried = None
        self._follower.lose()
