"""Logs for tests: records of every kind by chance, and a small vault's log with what it has to hold."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from knowngood.core.log import Form, Gap, LogRecord, Operation
from knowngood.core.model import Checkpoint, Point, Position
from knowngood.core.progress import Progress
from knowngood.testing.vaults import SmallVault
from knowngood.tree.block import ROW
from knowngood.vault import log_frames, log_writer
from knowngood.vault.log_reader import START, LogReader, Until
from knowngood.vault.log_writer import LogWriter

TIMELINE = b"timeline of logs"
SECOND = 10**9


def records(some: random.Random, first: int, count: int, chunks: Sequence[bytes] = ()) -> list[LogRecord]:
    """Changes of every sort, a second apart, none of them a gap or a mark."""
    return [_record(some, number, chunks) for number in range(first, first + count)]


def _record(some: random.Random, number: int, chunks: Sequence[bytes]) -> LogRecord:
    form = some.choice([each for each in Form if chunks or each != Form.CHUNK])
    data = {Form.BYTES: some.randbytes(some.randrange(300)), Form.DELTA: some.randbytes(20)}.get(form, b"")
    if form == Form.CHUNK:
        data = some.choice(chunks)
    operation = some.choice([each for each in Operation if each not in (Operation.GAP, Operation.MARK)])
    return LogRecord(
        sequence=number,
        time_ns=number * SECOND,
        operation=operation,
        path=some.choice([b"", b"file", b"folder\0file"]),
        second=some.choice([b"", b"other"]),
        offset=some.choice([0, 1 << 40]),
        length=len(data) if form == Form.BYTES else some.choice([0, 5000]),
        form=form,
        data=data,
        row=some.choice([b"", bytes(ROW.size)]),
        value=some.choice([0, 7]),
    )


def mark(number: int, identifier: bytes) -> LogRecord:
    """A mark's record."""
    return LogRecord(sequence=number, time_ns=number * SECOND, operation=Operation.MARK, second=identifier)


def no_point(base: Checkpoint) -> Point:
    """No point: nothing that waits is a checkpoint."""
    raise AssertionError(f"nobody made the checkpoint {base.id.hex()}")


def gap(number: int) -> LogRecord:
    """A record that says that something was lost before it."""
    return LogRecord(sequence=number, time_ns=number * SECOND, operation=Operation.GAP, value=Gap.OVERFLOW)


@contextmanager
def small_segments(frame: int = 300, segment: int = 1500) -> Iterator[None]:
    """While this lasts, writers make many little frames and segments. Bytes."""
    with patch.object(log_frames, "FRAME_BYTES", frame), patch.object(log_writer, "SEGMENT_BYTES", segment):
        yield


class SmallLog:
    """One timeline of a small vault, and the `truth` that was acknowledged."""

    def __init__(self, small: SmallVault, timeline: bytes = TIMELINE) -> None:
        self.small = small
        self.timeline = timeline
        self.truth: list[LogRecord] = []

    def write(self, *batches: list[LogRecord], anew: bool = False) -> Position:
        """Commit each batch, all in one session; the position after the last one."""
        with self.writer(anew=anew) as writer:
            position = writer.commit()
            for batch in batches:
                writer.append(batch)
                position = writer.commit()
                self.truth += batch
        return position

    @contextmanager
    def writer(self, *, anew: bool = False) -> Iterator[LogWriter]:
        """A writer in a session of its own."""
        with self.small.vault.session("follow", timelines=(self.timeline,)) as session:
            yield LogWriter(self.small.vault, session, self.small.catalog, self.timeline, anew=anew)

    def land(self, contents: list[bytes]) -> list[bytes]:
        """Chunks that are durable, and that nothing needs yet."""
        with self.small.vault.session("land") as session, self.small.vault.ingest(session, Progress()) as sink:
            names = [bytes(sink.add(each)) for each in contents]
            sink.flush()
        return names

    def read(self, after: Position = START, until: Until | None = None) -> list[LogRecord]:
        """What the log holds. Raises what reading raises."""
        self.small.follow()
        return list(self.reader().records(self.timeline, after, until))

    def reader(self) -> LogReader:
        """A reader."""
        return LogReader(self.small.vault, self.small.catalog, self.small.private)

    def thin(self, first: int, end: int, undo_ns: int = 0) -> None:
        """Hide a part."""
        with self.small.vault.session("thin", freeing=True) as session:
            self.small.vault.thin(session, self.small.catalog, self.timeline, first, end, undo_ns)

    def unthin(self, first: int, end: int) -> None:
        """Bring a part back."""
        with self.small.vault.session("unthin") as session:
            self.small.vault.unthin(session, self.small.catalog, self.timeline, first, end)

    def bounds(self) -> list[int]:
        """Where segments begin, and where the last one ends."""
        self.small.follow()
        found = self.small.catalog.log.within(self.timeline, 0, 1 << 62)
        return [each.first for each in found] + [each.end for each in found[-1:]]
