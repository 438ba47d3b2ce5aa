"""Reads a timeline's log from a position on, proving the chain on the way: nothing is left out, nothing is put in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from knowngood.core.errors import Damaged, NotFound
from knowngood.core.log import NO_FRAME, LogRecord, Operation
from knowngood.core.model import Position
from knowngood.seal.keys import PrivateKey
from knowngood.vault.catalog import Catalog
from knowngood.vault.opener import Opener
from knowngood.vault.record import PlainSegment
from knowngood.vault.segment import LogFrame, open_segment
from knowngood.vault.vault import Vault

START = Position(0, NO_FRAME)
"""Before the first record of a timeline."""


@dataclass(frozen=True, slots=True)
class Until:
    """Where reading ends: before the first record later than a moment, before a number, or after a mark's record.

    The end of the log when nothing is given; whichever comes first when several are. Nanoseconds.
    """

    moment_ns: int | None = None
    sequence: int | None = None
    mark: bytes | None = None


class LogReader:
    """Reads logs. Memory: one frame. The session that it is used in keeps what it reads from being collected."""

    def __init__(self, vault: Vault, catalog: Catalog, private: PrivateKey) -> None:
        self._store = vault.store
        self._namer = vault.writer.namer
        self._opener = Opener(vault.store, private, vault.id)
        self._catalog = catalog
        self._vault_id = vault.id

    def records(self, timeline: bytes, after: Position = START, until: Until | None = None) -> Iterator[LogRecord]:
        """The records that follow a position, in order, each from a frame that was proven to be the next one.

        Raises NotFound where changes are missing (a gap, a new chain, thinned segments, a mark that never comes): the
        states from there to the next checkpoint cannot be made. Raises Damaged where the log is not what was written,
        Unsupported where a newer program wrote it. What was yielded before is good in each case.
        """
        until = until or Until()
        for frame in self._frames(timeline, after, until):
            for record in frame.records():
                if record.sequence < after.sequence:
                    continue
                if _ends_before(record, until):
                    return
                yield record
                if until.mark is not None and record.operation == Operation.MARK and record.second == until.mark:
                    return
        if until.mark is not None:
            raise NotFound("the log does not come to that mark")

    def _frames(self, timeline: bytes, after: Position, until: Until) -> Iterator[LogFrame]:
        chain = _Chain(after)
        for segment in self._catalog.log.covering(timeline, after.sequence, until.sequence):
            chain.expect(segment)
            frames = self.open(segment)
            try:
                frame = next(frames, None)
            except NotFound:
                if not self._was_folded(segment):
                    raise
                yield from self._frames(timeline, chain.position, until)
                return
            while frame is not None:
                if chain.take(frame):
                    yield frame
                frame = next(frames, None)

    def _was_folded(self, segment: PlainSegment) -> bool:
        """Whether a segment that is gone lies in another one now: the catalog was asked before that came about."""
        self._catalog.follow(self._store, None, self._vault_id)
        return not self._catalog.log.sees(segment.pack)

    def open(self, segment: PlainSegment) -> Iterator[LogFrame]:
        """The frames of one segment, proven. Raises NotFound, Damaged, Locked, Unsupported."""
        return open_segment(self._store, segment, self._opener, self._namer)


def _ends_before(record: LogRecord, until: Until) -> bool:
    if until.sequence is not None and record.sequence >= until.sequence:
        return True
    if record.operation == Operation.GAP:  # also one that is later than the moment: what was lost may be before it
        raise NotFound(
            f"changes were lost before record {record.sequence} of the log",
            hint="choose a moment before that, or one of a later checkpoint",
        )
    return until.moment_ns is not None and record.time_ns > until.moment_ns


class _Chain:
    """Where the chain stands: which number comes next, and which frame is the last."""

    def __init__(self, after: Position) -> None:
        self._after = after
        self._next = after.sequence
        self._last = b""
        self._begun = False

    @property
    def position(self) -> Position:
        """What comes next."""
        return Position(self._next, self._last) if self._begun else self._after

    def expect(self, segment: PlainSegment) -> None:
        """Raises NotFound when this segment is not the one that comes next, Damaged when it cannot be."""
        if segment.previous == NO_FRAME and (self._begun or segment.first > self._next):
            raise self._new(segment.first)
        if segment.first > self._next:
            raise self._missing()
        if self._begun and (segment.first, segment.previous) != (self._next, self._last):
            raise Damaged(f"two parts of the log claim the place of record {segment.first}")

    def _new(self, first: int) -> NotFound:
        return NotFound(
            f"a new chain of the log begins at record {first}: what happened before it is not known",
            hint="choose a moment before the end of the old one, or one of a later checkpoint",
        )

    def _missing(self) -> NotFound:
        return NotFound(f"record {self._next} of the log is not there any more", hint="choose a moment of a checkpoint")

    def take(self, frame: LogFrame) -> bool:
        """Whether a frame holds something that comes after the position. Raises Damaged when it is another log."""
        head, after = frame.head, self._after
        if head.end <= after.sequence:
            return False
        if not self._begun:
            before = frame.name if head.first < after.sequence else head.previous
            if before != after.frame:
                if head.begins and head.first == after.sequence:
                    raise self._new(head.first)
                raise Damaged("the position belongs to another history of this log")
        self._begun = True
        self._next, self._last = head.end, frame.name
        return True
