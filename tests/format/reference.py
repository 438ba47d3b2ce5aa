"""Parts of docs/format.md once more, as slowly and plainly as the text has them: the code is compared with these."""

from __future__ import annotations

import hashlib
import hmac
import struct
from math import floor, log2
from typing import Any

import msgspec
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

_MASK_BITS = """
    0000000001804110 0000000001803110 0000000018035100 0000001800035300 0000019000353000 0000590003530000
    0000d90003530000 0000d90103530000 0000d90303530000 0000d90313530000 0000d90f03530000 0000d90303537000
    0000d90703537000 0000d90707537000 0000d91707537000 0000d91747537000 0000d91767537000 0000d93767537000
    0000d93777537000 0000d93777577000 0000db3777577000
"""
MASK = {bits: int(text, 16) for bits, text in enumerate(_MASK_BITS.split(), 5)}


def gear(seed: int) -> list[int]:
    """Section 7: the table, made from MD5 and the seed."""
    tables = (hashlib.md5(bytes([value]) * 64).digest()[:8] for value in range(256))
    return [int.from_bytes(each, "big") ^ seed for each in tables]


def cut_lengths(data: bytes, minimum: int, average: int, maximum: int, seed: int) -> list[int]:
    """Section 7: the lengths of the chunks of some content."""
    table = gear(seed)
    bits = floor(log2(average) + 0.5)
    short, long = MASK[bits + 1], MASK[bits - 1]
    lengths: list[int] = []
    start = 0
    while start < len(data):
        left = len(data) - start
        length = left
        if left > minimum:
            length = end = min(left, maximum)
            centre = min(average, end) // 2 * 2
            value = 0
            for at in range(minimum // 2 * 2, end // 2 * 2):
                value = (2 * value + table[data[start + at]]) % 2**64
                if value & (short if at < centre else long) == 0:
                    length = at
                    break
        lengths.append(length)
        start += length
    return lengths


def derive(context: str, secret: bytes) -> bytes:
    """Section 4: 32 bytes from a secret."""
    return blake3(secret, derive_key_context=context).digest()


class Recipient:
    """Section 4: a key pair made from a recovery key, and HPKE with nothing but its parts."""

    SUITE = b"HPKE" + bytes.fromhex("647a00010002")

    def __init__(self, recovery_key: bytes) -> None:
        context = "knowngood 2026-11 recovery key to "
        self.seed = derive(context + "ML-KEM-768 seed d", recovery_key) + derive(
            context + "ML-KEM-768 seed z", recovery_key
        )
        self.scalar = derive(context + "X25519 key", recovery_key)
        self._kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(self.seed)
        self._exchange = x25519.X25519PrivateKey.from_private_bytes(self.scalar)
        self._mine = self._exchange.public_key().public_bytes_raw()
        self.public = self._kem.public_key().public_bytes_raw() + self._mine

    def open(self, sealed: bytes, purpose: bytes) -> bytes:
        """What was sealed to this key for a purpose."""
        ciphertext, ephemeral, body = sealed[:1088], sealed[1088:1120], sealed[1120:]
        exchanged = self._exchange.exchange(x25519.X25519PublicKey.from_public_bytes(ephemeral))
        parts = (self._kem.decapsulate(ciphertext), exchanged, ephemeral, self._mine, bytes.fromhex("5c2e2f2f5e5c"))
        shared = hashlib.sha3_256(b"".join(parts)).digest()
        context = b"\0" + self._extract(b"", b"psk_id_hash", b"") + self._extract(b"", b"info_hash", purpose)
        secret = self._extract(shared, b"secret", b"")
        key, nonce = self._expand(secret, b"key", context, 32), self._expand(secret, b"base_nonce", context, 12)
        return AESGCM(key).decrypt(nonce, body, b"")

    def _extract(self, salt: bytes, label: bytes, material: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + self.SUITE + label + material, "sha256")

    def _expand(self, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        info = length.to_bytes(2, "big") + b"HPKE-v1" + self.SUITE + label + context
        return HKDFExpand(SHA256(), length, info).derive(secret)


def input_bytes(length: int) -> bytes:
    """The content of the chunker's vectors: BLAKE3 in extended-output mode over a fixed text."""
    return blake3(b"knowngood chunker vector").digest(length=length)


def times(one: int, other: int) -> int:
    """Section 18: the product of two elements of GF(2^8), bit by bit."""
    product = 0
    while other:
        product ^= one if other & 1 else 0
        one = one << 1 ^ (0x11D if one & 0x80 else 0)
        other >>= 1
    return product


def factor(shard: int, lane: int) -> int:
    """Section 18: c(j, n)."""
    place = 16 + lane
    return times(place, next(each for each in range(256) if times(each, place ^ shard) == 1))


def shard_bytes(shard: int, lanes: list[bytes]) -> bytes:
    """Section 18: one shard of lanes of equal length."""
    out = bytearray(len(lanes[0]))
    for number, lane in enumerate(lanes):
        by = factor(shard, number)
        for at, byte in enumerate(lane):
            out[at] ^= times(byte, by)
    return bytes(out)


def read_parity(data: bytes) -> dict[str, Any]:
    """Section 18: a parity object in parts, its checks proven."""
    magic, version, number, shards, lanes, block, length, count, set_id, check, of_sums = struct.unpack_from(
        "<4sHBBHxxIQIxxxx32s32s32s", data
    )
    assert (magic, version) == (b"KGPY", 1)
    rows = data[128 : 128 + 64 * count]
    assert check == blake3(data[:64] + data[96:128] + rows).digest()
    fields = ("kind", "lane", "number", "offset", "size", "name", "session")
    listed = struct.iter_unpack("<BBxxIII32s16s", rows)
    members: list[dict[str, Any]] = [dict(zip(fields, row, strict=True)) for row in listed]
    ends = 128 + 64 * count + 4 * sum(-(-each["size"] // block) for each in members)
    sums, own = data[128 + 64 * count : ends], data[ends : ends + 4 * (length // block)]
    assert of_sums == blake3(sums + own).digest()
    assert set_id == blake3(struct.pack("<BHIQI", shards, lanes, block, length, count) + rows + sums).digest()
    shard = data[ends + len(own) :]
    assert len(shard) == length
    return {"number": number, "lanes": lanes, "block": block, "members": members, "sums": sums, "own": own,
            "shard": shard, "set": set_id}  # fmt: skip


LOG_ELEMENTS = (
    ("sequence", None), ("time_ns", None), ("operation", None), ("path", b""), ("second", b""), ("offset", 0),
    ("length", 0), ("form", 0), ("data", b""), ("row", b""), ("value", 0),
)  # fmt: skip


def log_name(naming: bytes, refs: bytes, payload: bytes) -> bytes:
    """Section 15: the name of a LOG frame."""
    key = derive("knowngood 2026-11 log name", naming)
    return blake3(struct.pack("<I", len(refs)) + refs + payload, key=key).digest()


def read_log(refs: bytes, payload: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Section 15: head and records of a LOG frame; the data of form 3 becomes the chunk's name."""
    fields = struct.unpack_from("<16sQII32s", payload)
    head: dict[str, Any] = dict(zip(("timeline", "first", "count", "flags", "previous"), fields, strict=True))
    at, found = 64, list[dict[str, Any]]()
    for place in range(head["count"]):
        (length,) = struct.unpack_from("<I", payload, at)
        values = msgspec.msgpack.decode(payload[at + 4 : at + 4 + length])
        at += 4 + length
        record: dict[str, Any] = dict(LOG_ELEMENTS)
        record.update(zip(record, values, strict=False))
        if record["form"] == 3:
            record["data"] = refs[32 * record["data"] : 32 * record["data"] + 32]
        assert record["sequence"] == head["first"] + place
        found.append(record)
    assert at == len(payload)
    assert (head["flags"] & 1 == 1) == (head["previous"] == bytes(32))
    assert (head["flags"] & 2 == 2) == any(record["operation"] == 12 for record in found)
    return head, found
