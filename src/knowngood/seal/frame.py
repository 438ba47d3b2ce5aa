"""The sealed frame: a plain header, plain names, and a body that only the holder of the private key can open.

Layout (docs/format.md, section Frames). The header, the names and the references are authenticated with the body, so
that nothing can be moved from one frame to another; `check` covers every byte, so that a scrub needs no key.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged, Unsupported
from knowngood.core.ids import NAME_BYTES
from knowngood.core.sizes import MIB
from knowngood.seal.codec import decode, encode

MAGIC = b"KGF1"
_HEADER = struct.Struct("<4sBBHIIIII16s16s")
HEADER_BYTES = _HEADER.size + 4  # four reserved bytes, zero
_CHECK_AT = HEADER_BYTES - 16
TAG_BYTES = 16
RAW_LIMIT = 64 * MIB
NAMES_LIMIT = 1 << 17


class FrameKind(IntEnum):
    """What a frame holds."""

    DATA = 1  # one or more chunks of content
    PAGE = 2  # one page of a tree
    KEY = 3  # a content key, sealed to the vault's public key
    LOG = 4  # log records of a timeline


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The plain part of a frame. `stored` counts the body's bytes on disk, `raw` those of the payload."""

    kind: int
    codec: int
    flags: int
    sequence: int
    names: int
    refs: int
    raw: int
    stored: int
    key_id: bytes
    check: bytes

    @property
    def head_bytes(self) -> int:
        """Bytes before the body: header, names and references."""
        return HEADER_BYTES + NAME_BYTES * (self.names + self.refs)

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole frame."""
        return self.head_bytes + self.stored

    def pack(self) -> bytes:
        """The 64 bytes on disk."""
        plain = _HEADER.pack(
            MAGIC,
            self.kind,
            self.codec,
            self.flags,
            self.sequence,
            self.names,
            self.refs,
            self.raw,
            self.stored,
            self.key_id,
            self.check,
        )
        return plain[: _CHECK_AT - 4] + bytes(4) + plain[_CHECK_AT - 4 :]


def read_header(head: Buffer) -> FrameHeader:
    """Parse 64 bytes and bound every length in them. Raises Damaged."""
    head = bytes(memoryview(head)[:HEADER_BYTES])
    if len(head) < HEADER_BYTES:
        raise Damaged("a frame is cut off in its header")
    magic, *fields = _HEADER.unpack(head[: _CHECK_AT - 4] + head[_CHECK_AT:])
    if magic != MAGIC:
        raise Damaged("no frame begins here")
    header = FrameHeader(*fields)
    if header.raw > RAW_LIMIT or header.stored > RAW_LIMIT + TAG_BYTES or header.names + header.refs > NAMES_LIMIT:
        raise Damaged("a frame's header states impossible lengths")
    return header


def _nonce(sequence: int) -> bytes:
    return sequence.to_bytes(12, "little")


def _check(head: bytes, parts: Sequence[Buffer]) -> bytes:
    hasher = blake3(head[:_CHECK_AT])
    for part in parts:
        hasher.update(part)
    return hasher.digest()[:16]


def lengths_table(lengths: Sequence[int]) -> bytes:
    """What precedes the chunks in the payload of a frame that holds several of them."""
    return struct.pack(f"<{len(lengths)}I", *lengths)


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes into a frame: names and references laid end to end, the payload, and how to prove a payload."""

    kind: FrameKind
    names: bytes
    refs: bytes
    payload: Buffer
    prove: Callable[[bytes], bool]  # whether bytes are this payload; a hash, where comparing would hold the GIL


def seal_frame(contents: Contents, key: AESGCM, key_id: bytes, sequence: int) -> list[Buffer]:
    """Compress, encrypt and frame a payload; then open it again and prove it before it is trusted.

    A (key, sequence) pair must never be used twice. Returns the parts of the frame in order. Raises Damaged when what
    was sealed does not open to what went in (bad memory, a bad codec); Unsupported when it is too large for a frame.
    """
    names, refs, payload = contents.names, contents.refs, contents.payload
    raw = len(memoryview(payload))
    if raw > RAW_LIMIT or len(names) + len(refs) > NAME_BYTES * NAMES_LIMIT:
        raise Unsupported("what was to be stored is larger than one frame can hold")
    codec, packed = encode(payload)
    plain = FrameHeader(
        kind=contents.kind,
        codec=codec,
        flags=0,
        sequence=sequence,
        names=len(names) // NAME_BYTES,
        refs=len(refs) // NAME_BYTES,
        raw=raw,
        stored=len(memoryview(packed)) + TAG_BYTES,
        key_id=key_id,
        check=bytes(16),
    ).pack()
    bound = plain[:_CHECK_AT] + names + refs
    body = key.encrypt(_nonce(sequence), packed, bound)
    if not contents.prove(decode(codec, key.decrypt(_nonce(sequence), body, bound), raw)):
        raise Damaged("a frame did not open to what was sealed", hint="test this machine's memory")
    return [plain[:_CHECK_AT] + _check(plain, (names, refs, body)), names, refs, body]


def plain_frame(kind: FrameKind, names: bytes, body: bytes, key_id: bytes) -> list[Buffer]:
    """A frame whose body is already sealed in another way (content keys)."""
    plain = FrameHeader(kind, 0, 0, 0, len(names) // NAME_BYTES, 0, len(body), len(body), key_id, bytes(16)).pack()
    return [plain[:_CHECK_AT] + _check(plain, (names, body)), names, body]


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame as read: its header, its plain names and references, its closed body."""

    header: FrameHeader
    names: bytes
    refs: bytes
    body: memoryview
    bound: bytes

    def open(self, key: AESGCM) -> bytes:
        """The payload. Raises Damaged when a bit differs from what was sealed, Unsupported for unknown flags."""
        if self.header.flags:
            raise Unsupported("a frame has flags that this version does not know", hint="install a newer knowngood")
        try:
            packed = key.decrypt(_nonce(self.header.sequence), self.body, self.bound)
        except InvalidTag:
            raise Damaged("a frame does not match its authentication tag") from None
        return decode(self.header.codec, packed, self.header.raw)


def read_frame(data: Buffer, *, checked: bool = True) -> Frame:
    """Split a frame. With `checked`, compare its checksum first. Raises Damaged."""
    view = memoryview(data)
    header = read_header(view)
    if len(view) < header.total_bytes:
        raise Damaged("a frame is cut off")
    names_end = HEADER_BYTES + NAME_BYTES * header.names
    head = bytes(view[: header.head_bytes])
    body = view[header.head_bytes : header.total_bytes]
    if checked and _check(head, (head[HEADER_BYTES:], body)) != header.check:
        raise Damaged("a frame's checksum is wrong")
    bound = head[:_CHECK_AT] + head[HEADER_BYTES:]
    return Frame(header, head[HEADER_BYTES:names_end], head[names_end:], body, bound)


def split_chunks(names: bytes, payload: bytes) -> dict[bytes, memoryview]:
    """The chunks of an opened DATA frame, by name. Raises Damaged."""
    count = len(names) // NAME_BYTES
    view = memoryview(payload)
    if count == 1:
        return {names: view}
    if len(view) < 4 * count:
        raise Damaged("a frame of several chunks has no table of lengths")
    chunks: dict[bytes, memoryview] = {}
    at = 4 * count
    for index, length in enumerate(struct.unpack_from(f"<{count}I", payload)):
        chunks[names[NAME_BYTES * index : NAME_BYTES * (index + 1)]] = view[at : at + length]
        at += length
    if at != len(view):
        raise Damaged("the chunks of a frame do not fill it")
    return chunks
