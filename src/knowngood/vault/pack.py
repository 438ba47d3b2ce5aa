"""Packs: frames in one immutable object that is named by the hash of its bytes (docs/format.md, section Packs)."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged
from knowngood.core.ids import ID_BYTES, NAME_BYTES
from knowngood.core.sizes import KIB
from knowngood.seal.frame import (
    HEADER_BYTES,
    MAGIC as FRAME_MAGIC,
    Frame,
    FrameHeader,
    FrameKind,
    plain_frame,
    read_frame,
    read_header,
)
from knowngood.seal.keys import PrivateKey, PublicKey

MAGIC = b"KGPK"
VERSION = 1
_HEAD = struct.Struct("<4sHBxIIQ8x")
HEAD_BYTES = _HEAD.size
_HEAD_LIMIT = 64 << 20


class PackKind(IntEnum):
    """What a pack's frames are: content, the pages of trees (kept apart so that browsing reads little), or a log."""

    DATA = 1
    PAGES = 2
    SEGMENT = 3


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a name's frame lies in its pack. Bytes."""

    name: bytes
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class SealedPack:
    """A finished pack, ready to land."""

    kind: PackKind
    name: bytes
    parts: list[Buffer]
    size: int
    placed: list[Placed]


def key_purpose(vault_id: bytes) -> bytes:
    """What a content key is bound to when it is sealed."""
    return b"knowngood content key " + vault_id


@dataclass(frozen=True, slots=True)
class ContentKey:
    """The random key of one pack, and its form sealed to the vault's public key."""

    key: AESGCM
    key_id: bytes
    frame: list[Buffer]

    @classmethod
    def generate(cls, public: PublicKey, vault_id: bytes) -> ContentKey:
        """A fresh key. Once this object is gone, only the private key brings it back."""
        secret = os.urandom(32)
        sealed = public.seal(secret, key_purpose(vault_id))
        key_id = blake3(sealed).digest()[:ID_BYTES]
        return cls(AESGCM(secret), key_id, plain_frame(FrameKind.KEY, public.fingerprint, sealed, key_id))


def open_content_key(frame: Frame, private: PrivateKey, vault_id: bytes) -> AESGCM:
    """The content key in a KEY frame. Raises Damaged, Locked."""
    return AESGCM(private.having(frame.names).open(bytes(frame.body), key_purpose(vault_id)))


def build_pack(kind: PackKind, keys: list[list[Buffer]], frames: list[list[Buffer]]) -> SealedPack:
    """Lay key frames and frames one after the other and name the result."""
    head_length = HEAD_BYTES + sum(len(part) for frame in keys for part in frame)
    parts: list[Buffer] = [_HEAD.pack(MAGIC, VERSION, kind, len(keys), head_length, 0)]
    for frame in keys:
        parts.extend(frame)
    placed: list[Placed] = []
    at = head_length
    for frame in frames:
        length = sum(len(part) for part in frame)
        names = bytes(frame[1])
        placed.extend(Placed(names[n : n + NAME_BYTES], at, length) for n in range(0, len(names), NAME_BYTES))
        parts.extend(part for part in frame if len(part))
        at += length
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return SealedPack(kind, hasher.digest(), parts, at, placed)


def frame_parts(raw: bytes) -> list[Buffer]:
    """A sealed frame, as it was read, in the parts that `build_pack` takes. Raises Damaged."""
    header = read_header(raw)
    names = HEADER_BYTES + NAME_BYTES * header.names
    return [
        raw[:HEADER_BYTES],
        raw[HEADER_BYTES:names],
        raw[names : header.head_bytes],
        memoryview(raw)[header.head_bytes :],
    ]


ReadRange = Callable[[int, int], bytes]
"""(offset, length) → bytes of a pack."""


@dataclass(frozen=True, slots=True)
class PackHead:
    """What a pack says of itself; `size` counts its header and its keys."""

    kind: PackKind
    keys: int
    size: int


def pack_head(read: ReadRange) -> PackHead:
    """The head of a pack. Raises Damaged."""
    return _parse_head(read(0, HEAD_BYTES))


def _parse_head(start: bytes) -> PackHead:
    if len(start) < HEAD_BYTES:
        raise Damaged("a pack is cut off in its header")
    magic, version, kind, count, head_length, _ = _HEAD.unpack_from(start)
    known = magic == MAGIC and version == VERSION and kind in tuple(PackKind)
    if not known or not HEAD_BYTES <= head_length <= _HEAD_LIMIT:
        raise Damaged("this is no pack, or one of a newer format")
    return PackHead(PackKind(kind), count, head_length)


def read_keys(read: ReadRange) -> dict[bytes, bytes]:
    """The KEY frames of a pack, as they lie there, by key id.

    A damaged one is left out: the others still open what is sealed with them. They speak for themselves, so that a
    damaged head does not matter.
    """
    start = read(0, 8 * KIB)
    try:
        size = _parse_head(start).size
    except Damaged:
        size = len(start)
    if size > len(start):
        start = read(0, size)
    keys: dict[bytes, bytes] = {}
    for at, frame in _intact(start[:size]):
        if frame.header.kind == FrameKind.KEY:
            keys[frame.header.key_id] = start[at : at + frame.header.total_bytes]
    return keys


def _intact(data: bytes) -> Iterator[tuple[int, Frame]]:
    """(offset, frame) of every frame whose bytes are as they were written, wherever it begins."""
    view = memoryview(data)
    at = data.find(FRAME_MAGIC)
    while at >= 0:
        try:
            frame = read_frame(view[at:])
            yield at, frame
            at += frame.header.total_bytes
        except Damaged:
            at += 1
        at = data.find(FRAME_MAGIC, at)


@dataclass(frozen=True, slots=True)
class Walked:
    """A frame met while walking a pack: everything but its body."""

    offset: int
    header: FrameHeader
    names: bytes
    refs: bytes


def walk_pack(read: ReadRange, size: int) -> Iterator[Walked]:
    """The frames of a pack in order, without their bodies and without any key. Raises Damaged at the first bad byte."""
    at = pack_head(read).size
    if at > size:
        raise Damaged("a pack is cut off in its head")
    while at < size:
        header = read_header(read(at, HEADER_BYTES))
        if at + header.total_bytes > size:
            raise Damaged("a pack is cut off")
        plain = read(at + HEADER_BYTES, header.head_bytes - HEADER_BYTES) if header.names + header.refs else b""
        split = NAME_BYTES * header.names
        yield Walked(at, header, plain[:split], plain[split:])
        at += header.total_bytes


def salvage_pack(data: bytes) -> Iterator[Walked]:
    """The intact frames of a damaged pack, but for its keys. What is damaged is left out, however it came about."""
    for at, frame in _intact(data):
        if frame.header.kind != FrameKind.KEY:
            yield Walked(at, frame.header, frame.names, frame.refs)
