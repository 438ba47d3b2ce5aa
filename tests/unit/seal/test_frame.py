"""Frames: bounds, authentication, several chunks, and the refusal to make what could not be read."""

from __future__ import annotations

import struct

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from knowngood.core.errors import Damaged, Unsupported
from knowngood.seal.frame import (
    HEADER_BYTES,
    NAMES_LIMIT,
    RAW_LIMIT,
    Contents,
    FrameHeader,
    FrameKind,
    lengths_table,
    plain_frame,
    read_frame,
    read_header,
    seal_frame,
    split_chunks,
)

KEY, KEY_ID = AESGCM(bytes(32)), b"k" * 16
A, B = b"a" * 32, b"b" * 32


def sealed(names: bytes = A, refs: bytes = b"", payload: bytes = b"payload", *, sequence: int = 0) -> bytes:
    contents = Contents(FrameKind.DATA, names, refs, payload, payload.__eq__)
    return b"".join(seal_frame(contents, KEY, KEY_ID, sequence))


def head(**changes: int) -> bytes:
    fields = {"kind": 1, "codec": 0, "flags": 0, "sequence": 0, "names": 1, "refs": 0, "raw": 1, "stored": 17}
    return FrameHeader(**(fields | changes), key_id=KEY_ID, check=bytes(16)).pack()


def test_a_frame_gives_back_what_was_sealed() -> None:
    frame = read_frame(sealed(refs=B + A, sequence=7))
    assert (frame.names, frame.refs, frame.header.sequence, frame.header.key_id) == (A, B + A, 7, KEY_ID)
    assert frame.open(KEY) == b"payload"


def test_every_sequence_number_gives_other_bytes() -> None:
    assert len({sealed(sequence=n)[-23:] for n in range(50)}) == 50


def test_names_references_and_header_belong_to_the_body() -> None:
    """With its checksum made right again, a frame whose plain part was changed still does not open."""
    whole = read_frame(sealed(refs=B))
    for names, refs, sequence in ((B, B, 0), (A, A, 0), (A + B, b"", 0), (A, B, 1)):
        other = read_frame(sealed(names, refs, sequence=sequence))
        moved = type(other)(other.header, other.names, other.refs, whole.body, other.bound)
        with pytest.raises(Damaged):
            moved.open(KEY)


def test_another_key_does_not_open_a_frame() -> None:
    with pytest.raises(Damaged):
        read_frame(sealed()).open(AESGCM(b"x" * 32))


def test_a_codec_that_lies_is_found_before_anything_is_stored() -> None:
    contents = Contents(FrameKind.DATA, A, b"", b"payload", lambda opened: opened == b"what it should be")
    with pytest.raises(Damaged) as told:
        seal_frame(contents, KEY, KEY_ID, 0)
    assert "memory" in told.value.hint


@pytest.mark.parametrize("length", range(HEADER_BYTES + 32 + 7 + 16))
def test_a_frame_that_is_cut_off_anywhere_is_damage(length: int) -> None:
    with pytest.raises(Damaged):
        read_frame(sealed()[:length])


@pytest.mark.parametrize(
    "changes",
    [
        {"raw": RAW_LIMIT + 1},
        {"stored": RAW_LIMIT + 17},
        {"names": NAMES_LIMIT + 1, "refs": 0},
        {"names": 0, "refs": NAMES_LIMIT + 1},
        {"names": NAMES_LIMIT, "refs": 1},
        {"names": (1 << 32) - 1, "refs": (1 << 32) - 1},
    ],
    ids=str,
)
def test_impossible_lengths_are_refused_before_anything_is_read(changes: dict[str, int]) -> None:
    with pytest.raises(Damaged, match="impossible"):
        read_header(head(**changes))


def test_the_largest_lengths_are_accepted() -> None:
    header = read_header(head(raw=RAW_LIMIT, stored=RAW_LIMIT + 16, names=1, refs=NAMES_LIMIT - 1))
    assert header.head_bytes == 64 + 32 * NAMES_LIMIT


def test_what_could_not_be_read_is_not_made() -> None:
    """A directory of large files once had more references than a frame may have: it sealed, and could not be opened."""
    with pytest.raises(Unsupported):
        sealed(refs=bytes(32 * NAMES_LIMIT))
    with pytest.raises(Unsupported):
        sealed(payload=bytes(RAW_LIMIT + 1))
    assert read_frame(sealed(refs=bytes(32 * (NAMES_LIMIT - 1)))).open(KEY) == b"payload"


def test_a_body_shorter_than_its_tag_is_damage() -> None:
    for stored in range(17):
        frame = read_frame(head(raw=0, stored=stored, names=0) + bytes(stored), checked=False)
        with pytest.raises(Damaged):
            frame.open(KEY)


def test_flags_of_the_future_are_refused() -> None:
    frame = read_frame(head(flags=1, names=0) + bytes(17), checked=False)
    with pytest.raises(Unsupported):
        frame.open(KEY)


def test_a_scrub_reads_key_frames_as_any_other() -> None:
    raw = bytearray(b"".join(plain_frame(FrameKind.KEY, A, b"sealed elsewhere", KEY_ID)))
    assert bytes(read_frame(raw).body) == b"sealed elsewhere"
    raw[-1] ^= 1
    with pytest.raises(Damaged):
        read_frame(raw)


# ---------------------------------------------------------------------------------------------------- several chunks


def test_several_chunks_come_apart_again() -> None:
    chunks = [b"one", b"", b"three"]
    payload = lengths_table([len(each) for each in chunks]) + b"".join(chunks)
    names = [bytes([n]) * 32 for n in range(3)]
    found = split_chunks(b"".join(names), payload)
    assert [bytes(found[name]) for name in names] == chunks


def test_one_chunk_has_no_table() -> None:
    assert split_chunks(A, b"payload") == {A: b"payload"}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"1234567",
        lengths_table([1, 1]) + b"x",
        lengths_table([1, 1]) + b"xyz",
        struct.pack("<2I", 1, (1 << 32) - 1),
    ],
    ids=bytes.hex,
)
def test_chunks_that_do_not_fill_their_frame_are_damage(payload: bytes) -> None:
    with pytest.raises(Damaged):
        split_chunks(A + B, payload)
