"""Commits: the records that alone make anything visible (docs/format.md, section Commits).

The plain part lets a vault without keys collect, check and copy: ids, roots, receive times. The hidden part says what
it all is called; it is sealed to the vault's public key and bound to the plain part.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Annotated

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidTag

from knowngood.core.errors import Damaged
from knowngood.core.malformed import MALFORMED
from knowngood.core.model import Checkpoint, Judgement, Mark, Point
from knowngood.seal.codec import decode, encode
from knowngood.seal.frame import RAW_LIMIT, read_frame
from knowngood.seal.keys import PrivateKey, PublicKey
from knowngood.vault.pack import ContentKey, open_content_key

MAGIC = b"KGC1"
_HEAD = struct.Struct("<4sIIII")
_CHECK_BYTES = 32


class PlainCheckpoint(msgspec.Struct, frozen=True, tag="checkpoint"):
    """A checkpoint as a vault without keys sees it."""

    id: bytes
    timeline: bytes
    root: bytes


class PlainPoint(msgspec.Struct, frozen=True, tag="point"):
    """A point as a vault without keys sees it."""

    id: bytes
    service: bytes
    marks: tuple[Mark, ...]


class Expiry(msgspec.Struct, frozen=True, tag="expiry"):
    """Points that are hidden, and collected after the undo window."""

    points: tuple[bytes, ...]
    undo_ns: int


class Undo(msgspec.Struct, frozen=True, tag="undo"):
    """Points that are brought back."""

    points: tuple[bytes, ...]


_Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class PlainSegment(msgspec.Struct, frozen=True, tag="segment"):
    """A segment of a timeline's log. `references` counts those of all its frames: 0 spares looking for them."""

    timeline: bytes
    pack: bytes
    first: _Number
    count: _Number
    previous: bytes
    last: bytes
    references: _Number

    @property
    def end(self) -> int:
        """The number of the record after its last one."""
        return self.first + self.count


class FoldedSegment(PlainSegment, frozen=True, tag="folded"):
    """A segment with the frames of several that lie wholly between its numbers, and count no more."""


class Thinned(msgspec.Struct, frozen=True, tag="thinned"):
    """Segments that lie wholly between two sequence numbers are hidden, and collected after the undo window."""

    timeline: bytes
    first: _Number
    end: _Number
    undo_ns: _Number


class Unthinned(msgspec.Struct, frozen=True, tag="unthinned"):
    """Such segments are brought back."""

    timeline: bytes
    first: _Number
    end: _Number


class Fence(msgspec.Struct, frozen=True, tag="fence"):
    """The session can commit no more."""


Record = PlainCheckpoint | PlainPoint | Expiry | Undo | PlainSegment | FoldedSegment | Thinned | Unthinned | Fence


class Commit(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one session made visible at once. `about` are points of which only the hidden part speaks: without them, it
    says nothing."""

    session: bytes
    number: int
    received_ns: int
    records: tuple[Record, ...]
    about: tuple[bytes, ...] = ()


class Hidden(msgspec.Struct, frozen=True, omit_defaults=True):
    """What only the holder of the private key can read of a commit. `naming` outlives the key files in this way."""

    checkpoints: tuple[Checkpoint, ...] = ()
    points: tuple[Point, ...] = ()
    naming: bytes = b""
    judgements: tuple[Judgement, ...] = ()


_commit_decoder = msgspec.msgpack.Decoder(Commit)
_hidden_decoder = msgspec.msgpack.Decoder(Hidden)


def wrap_plain(body: bytes) -> bytes:
    """Bytes with a checksum that finds any flipped bit."""
    return body + blake3(body).digest()


def unwrap_plain(data: bytes) -> bytes:
    """The bytes. Raises Damaged."""
    body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if len(data) < _CHECK_BYTES or blake3(body).digest() != check:
        raise Damaged("a record of the vault is damaged", hint="run: knowngood vault check")
    return body


def encode_commit(commit: Commit, hidden: Hidden | None, public: PublicKey, vault_id: bytes) -> bytes:
    """The bytes of a commit object. Raises Damaged when it would not read back as what it says."""
    plain = msgspec.msgpack.encode(commit)
    if _read_plain(plain) != commit:
        raise Damaged("a commit does not read back as what was to be written", hint="test this machine's memory")
    key_frame = sealed = b""
    raw = 0
    if hidden is not None:
        key = ContentKey.generate(public, vault_id)
        text = msgspec.msgpack.encode(hidden)
        codec, packed = encode(text)
        sealed = bytes([codec]) + key.key.encrypt(bytes(12), packed, plain + bytes([codec]))
        key_frame = b"".join(key.frame)
        raw = len(text)
    head = _HEAD.pack(MAGIC, len(plain), len(key_frame), len(sealed), raw)
    return wrap_plain(head + plain + key_frame + sealed)


@dataclass(frozen=True, slots=True)
class SealedCommit:
    """A commit as read: the plain part, and the hidden part still closed."""

    commit: Commit
    _plain: bytes
    _key_frame: bytes
    _sealed: bytes
    _raw: int

    @property
    def has_hidden(self) -> bool:
        """Whether there is a hidden part at all."""
        return bool(self._sealed)

    def open(self, private: PrivateKey, vault_id: bytes) -> Hidden:
        """The hidden part. Raises Damaged."""
        if not self._sealed:
            return Hidden()
        key = open_content_key(read_frame(self._key_frame), private, vault_id)
        try:
            packed = key.decrypt(bytes(12), self._sealed[1:], self._plain + self._sealed[:1])
            return _hidden_decoder.decode(decode(self._sealed[0], packed, self._raw))
        except (InvalidTag, *MALFORMED) as wrong:
            raise Damaged(f"a commit's hidden part cannot be read: {type(wrong).__name__}") from None


def _read_plain(plain: bytes) -> Commit:
    try:
        return _commit_decoder.decode(plain)
    except MALFORMED:
        raise Damaged("a commit cannot be read") from None


def decode_commit(data: bytes, session: bytes | None = None, number: int | None = None) -> SealedCommit:
    """Parse a commit object; with `session` and `number`, also that it is the one its key says. Raises Damaged."""
    body = unwrap_plain(data)
    try:
        magic, in_plain, in_key, in_sealed, raw = _HEAD.unpack_from(body)
        if magic != MAGIC or len(body) != _HEAD.size + in_plain + in_key + in_sealed or raw > RAW_LIMIT:
            raise Damaged("this is no commit, or one of a newer format")
        at = _HEAD.size
        plain = body[at : at + in_plain]
        commit = _read_plain(plain)
    except struct.error:
        raise Damaged("a commit cannot be read") from None
    if (session is not None and session != commit.session) or (number is not None and number != commit.number):
        raise Damaged("a commit lies under another commit's key")
    key_end = at + in_plain + in_key
    return SealedCommit(commit, plain, body[at + in_plain : key_end], body[key_end:], raw)
