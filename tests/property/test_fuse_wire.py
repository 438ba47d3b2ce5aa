"""Messages to a FUSE server, of any bytes: a request or a refusal, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, strategies as st

from knowngood.wire.fuse import replies
from knowngood.wire.fuse.opcodes import Opcode
from knowngood.wire.fuse.replies import Attributes, Directory
from knowngood.wire.fuse.requests import HEADER, Malformed, Request, parse

RECORDED = Path(__file__).parents[1] / "unit" / "wire" / "requests.json"
GOLDEN = [bytes.fromhex(each["message"]) for each in json.loads(RECORDED.read_text())]
numbers = st.integers(0, (1 << 64) - 1)
small = st.integers(0, (1 << 32) - 1)
times = st.integers(-(1 << 62), 1 << 62)


def _parsed(data: bytes, agreed: int = 0) -> Request | None:
    try:
        return parse(memoryview(data), agreed)
    except Malformed:
        return None


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Never anything but Malformed."""
    _parsed(data)


@given(
    st.sampled_from(list(Opcode)) | st.integers(0, 1 << 32 - 1), st.binary(max_size=200), st.integers(0, 30), numbers
)
def test_any_body(opcode: int, body: bytes, extensions: int, agreed: int) -> None:
    """With a header that is right."""
    header = HEADER.pack(HEADER.size + len(body), opcode, 1, 2, 3, 4, 5, extensions, 0)
    request = _parsed(header + body, agreed)
    assert request is None or request.opcode == opcode


@given(st.sampled_from(GOLDEN), st.data())
def test_harmed_messages(message: bytes, data: st.DataObject) -> None:
    """Real ones, cut off, drawn out, or with bytes that differ."""
    harmed = bytearray(message)
    for _ in range(data.draw(st.integers(1, 4))):
        harmed[data.draw(st.integers(0, len(harmed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(harmed)))
    _parsed(bytes(harmed))
    assert _parsed(message[:cut]) is None or cut == len(message)
    assert _parsed(message + b"\0" * 8) is None


@given(
    st.builds(Attributes, numbers, numbers, numbers, times, times, times, *[st.integers(0, (1 << 32) - 1)] * 4, numbers)
)
def test_attributes_of_any_values(found: Attributes) -> None:
    """All that a checkpoint can hold fits."""
    assert len(replies.attributes(found)) == 88
    assert len(replies.entry(1, found, 0, 1)) == 128


@given(st.lists(st.binary(min_size=1, max_size=255)), st.integers(0, 2000), st.booleans())
def test_directories_never_exceed_what_was_asked_for(names: list[bytes], size: int, plus: bool) -> None:
    """And what was taken is a beginning of the names."""
    directory = Directory(size)
    taken = 0
    for name in names:
        if not directory.add(name, 1, 0, 1, Directory.unknown() if plus else None):
            break
        taken += 1
    whole = b"".join(directory.parts)
    assert len(whole) <= size
    assert len(whole) % 8 == 0
    assert all(name in whole for name in names[:taken])
