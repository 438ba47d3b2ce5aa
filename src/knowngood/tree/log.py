"""The payload of a LOG frame: a head and records, one per change (docs/format.md, section Log frames and segments)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from knowngood.core.errors import Damaged, Unsupported
from knowngood.core.ids import NAME_BYTES
from knowngood.core.log import NO_FRAME, Form, LogRecord, Operation
from knowngood.core.malformed import MALFORMED
from knowngood.core.sizes import MIB
from knowngood.tree.block import ROW

HEAD = struct.Struct("<16sQII32s")
BEGINS = 1  # flag: the frame begins a chain
HAS_GAP = 2  # flag: one of its records is a gap
RECORD_LIMIT = 16 * MIB
_LENGTH = struct.Struct("<I")
_MARK_BYTES = 16
_NUMBER_LIMIT = (1 << 63) - 1
_NUMBERS = 1 << 64
_FORMS = tuple(map(int, Form))
_NONE, _BYTES, _DELTA, _CHUNK, _ZEROS = _FORMS  # plain numbers compare faster, and every record is looked at
_MARK, _GAP = int(Operation.MARK), int(Operation.GAP)
_TRAILING: tuple[Any, ...] = (b"", b"", 0, 0, 0, b"", b"", 0)  # the defaults of all elements after the first three

_Number = Annotated[int, msgspec.Meta(ge=0)]


class _Wire(msgspec.Struct, array_like=True, frozen=True):
    """A record as it is stored."""

    sequence: _Number
    time_ns: int
    operation: _Number
    path: bytes = b""
    second: bytes = b""
    offset: _Number = 0
    length: _Number = 0
    form: _Number = 0
    data: bytes | _Number = b""
    row: bytes = b""
    value: _Number = 0


_decoder = msgspec.msgpack.Decoder(_Wire)


def fault(record: LogRecord) -> str:
    """Why a record is none; empty when it is one. Its sequence number is judged by its neighbours."""
    if not 0 <= record.sequence <= _NUMBER_LIMIT or not -_NUMBER_LIMIT <= record.time_ns <= _NUMBER_LIMIT:
        return "its number or its time is impossible"
    offset, length = record.offset, record.length
    if not (0 <= offset < _NUMBERS and 0 <= length < _NUMBERS) or not (
        0 <= record.operation < _NUMBERS and 0 <= record.value < _NUMBERS
    ):
        return "a number is negative or too large"
    if offset + length > _NUMBER_LIMIT:
        return "it ends beyond the largest possible file"
    if len(record.row) not in (0, ROW.size):
        return "its row has a wrong length"
    if record.operation == _MARK and len(record.second) != _MARK_BYTES:
        return "its mark has a wrong length"
    return _wrong_data(record)


def _wrong_data(record: LogRecord) -> str:
    form, length = record.form, len(record.data)
    if form == _BYTES:
        fine = length == record.length
    elif form in (_NONE, _ZEROS):
        fine = length == 0
    else:
        fine = length == NAME_BYTES if form == _CHUNK else form == _DELTA and length > 0
    return "" if fine else "its data does not fit its form"


@dataclass(frozen=True, slots=True)
class LogHead:
    """What a LOG frame says of itself. `previous` names the frame before it; zero when it begins a chain."""

    timeline: bytes
    first: int
    count: int
    flags: int
    previous: bytes

    @property
    def end(self) -> int:
        """The number of the record after its last one."""
        return self.first + self.count

    @property
    def begins(self) -> bool:
        """Whether it begins a chain."""
        return bool(self.flags & BEGINS)


class LogDraft:
    """Records of one timeline on their way into a frame."""

    def __init__(self, timeline: bytes, first: int) -> None:
        self._timeline = timeline
        self.first = first  # the number of its first record
        self._parts: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._gap = 0
        self.size = HEAD.size  # bytes of the payload so far

    @property
    def count(self) -> int:
        """How many records there are."""
        return len(self._parts) // 2

    @property
    def end(self) -> int:
        """The number of the record that comes next."""
        return self.first + self.count

    @property
    def references(self) -> int:
        """How many chunks they refer to."""
        return len(self._numbers)

    def add(self, record: LogRecord) -> None:
        """Take the next record. Raises Unsupported, and takes nothing, when it is none or does not come next."""
        reason = fault(record)
        if not reason and record.sequence != self.end:
            reason = f"it has number {record.sequence}, and {self.end} comes next"
        if reason:
            raise Unsupported(f"a log record cannot be stored: {reason}")
        data: bytes | int = record.data
        if record.form == Form.CHUNK:
            data = self._numbers.get(record.data, len(self._numbers))
        values = [
            record.sequence,
            record.time_ns,
            record.operation,
            record.path,
            record.second,
            record.offset,
            record.length,
            record.form,
            data,
            record.row,
            record.value,
        ]
        while len(values) > 3 and values[-1] == _TRAILING[len(values) - 4]:
            values.pop()
        body = msgspec.msgpack.encode(values)
        if len(body) > RECORD_LIMIT:
            raise Unsupported(f"a log record of {len(body)} bytes is too large", hint="split the change")
        if record.form == Form.CHUNK:
            self._numbers.setdefault(record.data, len(self._numbers))
        self._parts += (_LENGTH.pack(len(body)), body)
        self._gap |= HAS_GAP * (record.operation == Operation.GAP)
        self.size += _LENGTH.size + len(body)

    def finish(self, previous: bytes) -> tuple[bytes, bytes]:
        """References and payload of the frame, which follows the frame `previous` (NO_FRAME: begins a chain)."""
        flags = self._gap | BEGINS * (previous == NO_FRAME)
        head = HEAD.pack(self._timeline, self.first, self.count, flags, previous)
        return b"".join(self._numbers), b"".join((head, *self._parts))


def read_log_head(payload: bytes) -> LogHead:
    """The head of a payload. Raises Damaged, Unsupported for unknown flags."""
    if len(payload) < HEAD.size:
        raise Damaged("a log frame is cut off")
    head = LogHead(*HEAD.unpack_from(payload))
    if head.flags & ~(BEGINS | HAS_GAP):
        raise Unsupported("a log frame has flags that this version does not know", hint="install a newer knowngood")
    if not 0 < head.count <= len(payload) // 8 or head.end > _NUMBER_LIMIT:
        raise Damaged("a log frame states an impossible number of records")
    if head.begins != (head.previous == NO_FRAME):
        raise Damaged("a log frame does not say what comes before it")
    return head


def log_records(refs: bytes, payload: bytes) -> Iterator[LogRecord]:
    """The records of a LOG frame in order.

    Raises Damaged where the first bad one begins, or Unsupported for a form of data that this version does not know:
    after the records before it.
    """
    head, view = read_log_head(payload), memoryview(payload)
    at, gap = HEAD.size, 0
    for number in range(head.first, head.end):
        if at + _LENGTH.size > len(payload):
            raise Damaged("a log frame holds fewer records than it says")
        (length,) = _LENGTH.unpack_from(payload, at)
        at += _LENGTH.size
        if length > len(payload) - at:
            raise Damaged("a log record is cut off")
        record = _record(view[at : at + length], number, refs)
        at += length
        gap |= HAS_GAP * (record.operation == _GAP)
        yield record
    if at != len(payload) or gap != head.flags & HAS_GAP:
        raise Damaged("a log frame does not hold what its head says")


def _record(body: memoryview, number: int, refs: bytes) -> LogRecord:
    try:
        wire = _decoder.decode(body)
    except MALFORMED as wrong:
        raise Damaged(f"a log record cannot be read: {wrong}") from None
    if wire.form not in _FORMS:
        raise Unsupported(
            f"log record {number} has data of the unknown form {wire.form}", hint="install a newer knowngood"
        )
    data = wire.data
    if (wire.form == _CHUNK) != isinstance(data, int):
        raise Damaged(f"log record {number} has data that does not fit its form")
    if isinstance(data, int):
        if NAME_BYTES * (data + 1) > len(refs):
            raise Damaged(f"log record {number} refers to a chunk that its frame does not name")
        data = refs[NAME_BYTES * data : NAME_BYTES * (data + 1)]
    record = LogRecord(
        sequence=wire.sequence,
        time_ns=wire.time_ns,
        operation=wire.operation,
        path=wire.path,
        second=wire.second,
        offset=wire.offset,
        length=wire.length,
        form=wire.form,
        data=data,
        row=wire.row,
        value=wire.value,
    )
    reason = fault(record) or ("" if wire.sequence == number else "its number is not its place")
    if reason:
        raise Damaged(f"log record {number} cannot be read: {reason}")
    return record
