"""What has to be done to one thing so that it becomes what was read: the records of its content and attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from knowngood.core.log import Form, LogRecord, Operation
from knowngood.kinds.files.follow.differences import Run
from knowngood.kinds.files.follow.known import Known
from knowngood.kinds.files.follow.reading import Got, Piece, laid
from knowngood.tree.block import Entry

Chunks = Callable[[Entry], Iterable[tuple[bytes, int]]]
"""Names and lengths of an entry's chunks."""

step = partial(LogRecord, sequence=0, time_ns=0)
"""A record whose number, moment and place are not said yet."""

_SIZE = slice(16, 24)  # in a row


@dataclass(slots=True)
class Fresh:
    """An entry as it was read just now."""

    entry: Entry
    got: Got
    read_ns: int

    @property
    def known(self) -> Known:
        """What is known of it when the log has it."""
        return Known(self.entry, self.read_ns, self.got.exact)


def creation(fresh: Fresh, chunks: Chunks) -> list[LogRecord]:
    """Something new."""
    entry, got = fresh.entry, fresh.got
    first = step(operation=Operation.CREATE, value=entry.extra.rdev)
    data = got.data if entry.is_file and not entry.extra.extents else entry.inline
    if data:
        first = step(operation=Operation.CREATE, length=len(data), form=Form.BYTES, data=data)
        rest: list[LogRecord] = []
    else:
        rest = _content(None, fresh, chunks)
    rest += _attributes(None, entry)
    # a row says the size after its record, and what content is to come is not there yet
    row = entry.row
    begins = row if not any(_is_content(each) for each in rest) else row[: _SIZE.start] + bytes(8) + row[_SIZE.stop :]
    return [replace(first, row=begins), *_ended(rest, row)]


def update(known: Known, fresh: Fresh, chunks: Chunks, *, content: bool, moved: bool = False) -> list[LogRecord]:
    """Something that stays. Without `content`, that is known to be the same; what `moved` has no row at replay."""
    steps = _content(known, fresh, chunks) if content else []
    steps += _attributes(known.entry, fresh.entry)
    row = fresh.entry.row
    if not steps and (moved or row != known.entry.row):
        steps = [step(operation=_operation(known.entry, fresh.entry))]
    return _ended(steps, row)


def _is_content(record: LogRecord) -> bool:
    return record.operation in (Operation.WRITE, Operation.TRUNCATE)


def _ended(steps: list[LogRecord], row: bytes) -> list[LogRecord]:
    """The last one says the row: what comes before it may be of another size."""
    return [*steps[:-1], replace(steps[-1], row=row)] if steps else []


def _operation(before: Entry, after: Entry) -> Operation:
    if before.mode != after.mode:
        return Operation.MODE
    if (before.uid, before.gid) != (after.uid, after.gid):
        return Operation.OWNER
    return Operation.TIMES


def _attributes(before: Entry | None, after: Entry) -> list[LogRecord]:
    old = dict(before.extra.xattrs) if before else {}
    new = dict(after.extra.xattrs)
    steps = [step(operation=Operation.XATTR, second=name) for name in sorted(old.keys() - new.keys())]
    for name, value in after.extra.xattrs:
        if old.get(name) != value:
            steps.append(step(operation=Operation.XATTR, second=name, length=len(value), form=Form.BYTES, data=value))
    if (before.extra.flags if before else 0) != after.extra.flags:
        steps.append(step(operation=Operation.FLAGS, value=after.extra.flags))
    return steps


# ----------------------------------------------------------------------------------------------------------- content


def _content(known: Known | None, fresh: Fresh, chunks: Chunks) -> list[LogRecord]:
    entry = fresh.entry
    exact = known is not None and known.exact and fresh.got.exact
    if not entry.is_file or (known and exact and _described(known.entry) == _described(entry)):
        return []
    size, old = entry.size, known.entry.size if known else 0
    steps = [_truncate(size)] if size < old else []
    if fresh.got.runs is not None:
        writes = [_run(each) for each in fresh.got.runs]
    else:
        writes = [*_holes(known, entry, min(size, old)), *_data(known, fresh, chunks)]
    end = max((each.offset + each.length for each in writes), default=0)
    if max(end, min(size, old)) < size:
        writes.append(_truncate(size))
    return steps + writes


def _described(entry: Entry) -> tuple[object, ...]:
    return entry.content, entry.refs, entry.inline, entry.size, entry.extra.lengths, entry.extra.extents


def _truncate(size: int) -> LogRecord:
    return step(operation=Operation.TRUNCATE, length=size)


def _run(run: Run) -> LogRecord:
    return step(operation=Operation.WRITE, offset=run.offset, length=run.length, form=run.form, data=run.data)


def _data(known: Known | None, fresh: Fresh, chunks: Chunks) -> Iterator[LogRecord]:
    entry, data = fresh.entry, fresh.got.data
    if data is None and entry.inline:
        data = entry.inline
    if data is not None:
        if data:
            yield step(operation=Operation.WRITE, length=len(data), form=Form.BYTES, data=data)
        return
    old = set(_pieces(known.entry, chunks)) if known and known.exact else set[Piece]()
    for piece in sorted((*_pieces(entry, chunks), *fresh.got.parts)):
        if piece not in old:
            yield step(operation=Operation.WRITE, offset=piece[0], length=piece[1], form=Form.CHUNK, data=piece[2])


def _pieces(entry: Entry, chunks: Chunks) -> Iterator[Piece]:
    """Those chunks of a file that lie in it as one piece."""
    for name, length, parts in laid(entry, chunks(entry)):
        if len(parts) == 1:
            yield parts[0][0], length, name


def _holes(known: Known | None, entry: Entry, upto: int) -> Iterator[LogRecord]:
    """Zeros where holes are now and data may have been."""
    if known is None or not entry.extra.extents:
        return
    at = 0
    for offset, length in (*entry.extents(), (entry.size, 0)):
        end = min(offset, upto)
        for low, high in _data_between(known, at, end):
            yield step(operation=Operation.WRITE, offset=low, length=high - low, form=Form.ZEROS)
        at = offset + length


def _data_between(known: Known, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where a part of a known file may hold data."""
    for offset, length in known.entry.extents() if known.exact else [(0, known.entry.size)]:
        low, high = max(start, offset), min(end, offset + length)
        if low < high:
            yield low, high
