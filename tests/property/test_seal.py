"""Sealing as one pure function: bytes in, sealed bytes out, the same bytes back; and nothing else ever passes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, strategies as st

from knowngood.core.errors import Damaged, UsageError
from knowngood.seal.chunker import Chunker, ChunkSizes
from knowngood.seal.codec import decode, encode
from knowngood.seal.frame import (
    HEADER_BYTES,
    Contents,
    FrameKind,
    lengths_table,
    read_frame,
    read_header,
    seal_frame,
    split_chunks,
)
from knowngood.seal.keys import parse_recovery_text, recovery_text
from knowngood.seal.names import Namer

KEY, KEY_ID = AESGCM(b"k" * 32), b"i" * 16
NAMER = Namer.from_secret(b"n" * 32)
CHECK = slice(48, 64)

# Compressible, incompressible and mixed content, with more weight on lengths around the borders.
contents = st.one_of(
    st.binary(max_size=3000),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=40), st.integers(0, 200)),
    st.builds(bytes.__add__, st.binary(max_size=500), st.builds(bytes, st.integers(0, 5000))),
)


def sealed(chunks: list[bytes], sequence: int) -> bytes:
    names = b"".join(NAMER.chunk(each) for each in chunks)
    payload = chunks[0] if len(chunks) == 1 else lengths_table([len(each) for each in chunks]) + b"".join(chunks)
    return b"".join(seal_frame(Contents(FrameKind.DATA, names, b"", payload, payload.__eq__), KEY, KEY_ID, sequence))


@given(st.binary(max_size=20_000), st.integers(1, 5))
def test_content_comes_back_whole(data: bytes, group: int) -> None:
    """Cut, name, group, seal; then read, open, split and join."""
    left = memoryview(data)

    def fill(view: memoryview) -> int:
        nonlocal left
        count = min(len(view), len(left))
        view[:count], left = left[:count], left[count:]
        return count

    chunks = [bytes(each) for each in Chunker(ChunkSizes(64, 256, 1024), NAMER.seed).cut(fill)]
    groups = [chunks[at : at + group] for at in range(0, len(chunks), group)]
    frames = [sealed(each, sequence) for sequence, each in enumerate(groups)]
    opened: dict[bytes, bytes] = {}
    for raw in frames:
        frame = read_frame(raw)
        found = split_chunks(frame.names, frame.open(KEY))
        assert all(NAMER.chunk(content) == name for name, content in found.items())
        opened |= {name: bytes(content) for name, content in found.items()}
    assert b"".join(opened[NAMER.chunk(each)] for each in chunks) == data


@given(contents, st.integers(0, 1 << 30), st.data())
def test_any_flipped_bit_is_found(payload: bytes, sequence: int, choice: st.DataObject) -> None:
    raw = bytearray(sealed([payload], sequence))
    bit = choice.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged):
        read_frame(raw)


def test_every_single_bit_of_a_frame_counts() -> None:
    """With the checksum made right again, as an attacker would, the authentication still finds every bit."""
    payload, refs = b"some content", b"r" * 32
    contents = Contents(FrameKind.PAGE, b"n" * 32, refs, payload, payload.__eq__)
    whole = b"".join(seal_frame(contents, KEY, KEY_ID, 3))
    for bit in range(8 * len(whole)):
        raw = bytearray(whole)
        raw[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged):
            read_frame(raw)
        if bit // 8 in range(*CHECK.indices(64)):
            continue
        raw[CHECK] = blake3(raw[:48] + raw[HEADER_BYTES:]).digest()[:16]
        with pytest.raises(Exception, match=r".") as told:
            read_frame(raw).open(KEY)
        assert told.value.__class__.__name__ in ("Damaged", "Unsupported")


@given(st.binary(max_size=300))
def test_random_bytes_are_no_frame(data: bytes) -> None:
    for start in (b"", b"KGF1"):
        with pytest.raises(Damaged):
            read_frame(start + data)
        with suppress(Damaged):
            read_header(start + data)


@given(st.integers(0, 255), st.binary(max_size=2000), st.integers(0, 5000))
def test_decoding_gives_exactly_the_length_or_damage(codec: int, data: bytes, length: int) -> None:
    with suppress(Damaged):
        assert len(decode(codec, data, length)) == length


@given(contents, st.integers(-3, 3))
def test_packed_content_has_one_length(data: bytes, off: int) -> None:
    codec, packed = encode(data)
    if off == 0:
        assert decode(codec, packed, len(data)) == data
    elif len(data) + off >= 0:
        with pytest.raises(Damaged):
            decode(codec, packed, len(data) + off)


@given(st.lists(st.binary(max_size=50), min_size=2, max_size=8), st.binary(max_size=60))
def test_splitting_fills_the_payload_or_is_damage(chunks: list[bytes], junk: bytes) -> None:
    names = b"".join(bytes([n]) * 32 for n in range(len(chunks)))
    payload = lengths_table([len(each) for each in chunks]) + b"".join(chunks)
    assert [bytes(each) for each in split_chunks(names, payload).values()] == chunks
    with suppress(Damaged):
        assert sum(map(len, split_chunks(names, junk).values())) == len(junk) - 4 * len(chunks)


@given(st.binary(min_size=32, max_size=32))
def test_every_recovery_key_survives_being_written_down(secret: bytes) -> None:
    text = recovery_text(secret)
    assert parse_recovery_text(text) == secret
    assert parse_recovery_text(text.lower().replace("-", "\n")) == secret


@given(st.text(max_size=80))
def test_no_text_breaks_the_parsing_of_recovery_keys(text: str) -> None:
    with suppress(UsageError):
        parse_recovery_text(text)
