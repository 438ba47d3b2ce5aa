"""LOG payloads: what goes in comes out, as the text says; whatever else comes is an error of ours."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import assume, given, strategies as st

from knowngood.core.errors import Damaged, KnowngoodError, Unsupported
from knowngood.core.log import NO_FRAME, Form, LogRecord, Operation
from knowngood.tree.block import ROW
from knowngood.tree.log import LogDraft, log_records, read_log_head
from tests.format.reference import read_log

TIMELINE = bytes(range(16))
numbers = st.one_of(st.sampled_from([0, 1, 127, 128, 1 << 32, 1 << 61]), st.integers(0, 1 << 61))
strings = st.binary(max_size=40)
rows = st.one_of(st.just(b""), st.binary(min_size=ROW.size, max_size=ROW.size))
names = st.sampled_from([bytes([n]) * 32 for n in range(5)])


@st.composite
def changes(draw: st.DrawFn) -> LogRecord:
    """Any record, of number 0."""
    form = draw(st.sampled_from(Form))
    data = {Form.BYTES: strings, Form.DELTA: st.binary(min_size=1, max_size=40), Form.CHUNK: names}
    body = draw(data.get(form, st.just(b"")))
    operation = draw(st.one_of(st.sampled_from(Operation), st.integers(14, 1 << 40)))
    is_mark = operation == Operation.MARK
    return LogRecord(
        sequence=0,
        time_ns=draw(st.integers(-(1 << 62), 1 << 62)),
        operation=operation,
        path=draw(strings),
        second=draw(st.binary(min_size=16, max_size=16) if is_mark else strings),
        offset=draw(numbers),
        length=len(body) if form == Form.BYTES else draw(numbers),
        form=form,
        data=body,
        row=draw(rows),
        value=draw(st.integers(0, (1 << 64) - 1)),
    )


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[LogRecord], bytes]:
    """Consecutive records, and the name of the frame before."""
    first = draw(numbers)
    found = draw(st.lists(changes(), min_size=1, max_size=8))
    records = [msgspec.structs.replace(each, sequence=first + place) for place, each in enumerate(found)]
    return records, draw(st.one_of(st.just(NO_FRAME), st.just(b"p" * 32)))


def packed(records: list[LogRecord], previous: bytes = NO_FRAME) -> tuple[bytes, bytes]:
    draft = LogDraft(TIMELINE, records[0].sequence)
    for record in records:
        draft.add(record)
    refs, payload = draft.finish(previous)
    assert draft.size == len(payload)
    assert draft.references == len(refs) // 32
    return refs, payload


@given(logs())
def test_what_goes_in_comes_out(log: tuple[list[LogRecord], bytes]) -> None:
    records, previous = log
    refs, payload = packed(records, previous)
    assert list(log_records(refs, payload)) == records
    head, plain = read_log(refs, payload)
    assert plain == [msgspec.structs.asdict(record) for record in records]
    assert (head["timeline"], head["first"], head["previous"]) == (TIMELINE, records[0].sequence, previous)
    named = [record.data for record in records if record.form == Form.CHUNK]
    assert refs == b"".join(dict.fromkeys(named))


@given(logs())
def test_trailing_defaults_are_left_out_and_more_is_ignored(log: tuple[list[LogRecord], bytes]) -> None:
    refs, payload = packed(log[0][:1], log[1])
    values = msgspec.msgpack.decode(payload[68:])
    assert len(values) == 3 or values[-1] not in (b"", 0) or (len(values) == 9 and values[-1] == 0)
    full = [*values, *(b"", b"", 0, 0, 0, b"", b"", 0)[len(values) - 3 :], "more", 7]
    body = msgspec.msgpack.encode(full)
    assert list(log_records(refs, payload[:64] + struct.pack("<I", len(body)) + body)) == log[0][:1]


def read_all(refs: bytes, payload: bytes) -> list[LogRecord] | None:
    try:
        return list(log_records(refs, payload))
    except KnowngoodError as wrong:
        assert isinstance(wrong, Damaged | Unsupported)
        return None


@given(logs(), st.data())
def test_whatever_comes_is_a_log_or_an_error_of_ours(log: tuple[list[LogRecord], bytes], data: st.DataObject) -> None:
    refs, payload = packed(*log)
    at = data.draw(st.integers(0, len(payload) - 1))
    bad = data.draw(st.sampled_from([b"", b"\xff", b"\xc1", b"\x00\x00", b"\xcf" + b"\xff" * 8]))
    read_all(refs, payload[:at] + bad + payload[at + data.draw(st.integers(0, 9)) :])
    assert read_all(refs, payload[:at]) is None
    assert read_all(refs, payload + b"\0") is None


@given(st.binary(max_size=200), st.binary(max_size=64))
def test_random_bytes_are_an_error_of_ours(payload: bytes, refs: bytes) -> None:
    assert read_all(refs, payload) is None
    head = struct.pack("<16sQII32s", TIMELINE, 0, 1, 1, NO_FRAME)
    read_all(refs, head + payload)


@given(logs(), st.sampled_from(["sequence", "offset", "length", "value", "operation"]))
def test_impossible_numbers_are_refused(log: tuple[list[LogRecord], bytes], name: str) -> None:
    draft = LogDraft(TIMELINE, log[0][0].sequence)
    for number in (-1, 1 << 64):
        with pytest.raises(Unsupported):
            draft.add(msgspec.structs.replace(log[0][0], **{name: number}))
    assert draft.count == 0


@given(changes())
def test_data_has_to_fit_its_form(record: LogRecord) -> None:
    wrong = msgspec.structs.replace(record, data=record.data + b"x")
    assume(record.form != Form.DELTA)
    with pytest.raises(Unsupported):
        LogDraft(TIMELINE, 0).add(wrong)


def test_flags_that_are_not_known_are_refused() -> None:
    _, payload = packed([LogRecord(sequence=0, time_ns=0, operation=1)])
    with pytest.raises(Unsupported):
        read_log_head(payload[:28] + struct.pack("<I", 5) + payload[32:])


def test_an_unknown_form_ends_reading_before_its_record() -> None:
    first = LogRecord(sequence=0, time_ns=0, operation=1)
    _, payload = packed([first, LogRecord(sequence=1, time_ns=0, operation=1, form=Form.ZEROS)])
    assert payload[-1] == Form.ZEROS
    found = log_records(b"", payload[:-1] + b"\x09")
    assert next(found) == first
    with pytest.raises(Unsupported):
        next(found)
