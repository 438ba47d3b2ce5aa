"""Keys: a vault's key pair (hybrid ML-KEM-768 with X25519, RFC 9180 HPKE), passphrases, and the recovery key.

A writer holds the public half and seals content keys to it; it cannot open what it has sealed. Everything private
follows from a 32-byte recovery key, so that a sheet of paper brings a vault back.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from knowngood.core.errors import Damaged, Locked, UsageError
from knowngood.seal.names import derive

_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_KEM_CONTEXT = "knowngood 2026-11 recovery key to ML-KEM-768 seed"
_DH_CONTEXT = "knowngood 2026-11 recovery key to X25519 key"
_MLKEM_PUBLIC = 1184
_CHECK_LETTERS = 4


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public half: enough to seal."""

    raw: bytes  # 1184 bytes of ML-KEM-768, then 32 bytes of X25519

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that name this key."""
        return blake3(self.raw).digest()

    def seal(self, secret: bytes, purpose: bytes) -> bytes:
        """Encrypt a short secret to this key, bound to `purpose`."""
        mlkem_part = mlkem.MLKEM768PublicKey.from_public_bytes(self.raw[:_MLKEM_PUBLIC])
        dh_part = x25519.X25519PublicKey.from_public_bytes(self.raw[_MLKEM_PUBLIC:])
        return _SUITE.encrypt(secret, hpke.MLKEM768X25519PublicKey(mlkem_part, dh_part), info=purpose)


class PrivateKey:
    """The private half, made from the 32-byte recovery key."""

    def __init__(self, recovery_key: bytes) -> None:
        self.recovery_key = recovery_key
        seed = derive(recovery_key, _KEM_CONTEXT + " d") + derive(recovery_key, _KEM_CONTEXT + " z")
        kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed)
        exchange = x25519.X25519PrivateKey.from_private_bytes(derive(recovery_key, _DH_CONTEXT))
        self._key = hpke.MLKEM768X25519PrivateKey(kem, exchange)
        self.public = PublicKey(kem.public_key().public_bytes_raw() + exchange.public_key().public_bytes_raw())
        self.previous: tuple[PrivateKey, ...] = ()  # the keys that this one replaced, newest first

    @classmethod
    def generate(cls) -> PrivateKey:
        """A new random key."""
        return cls(os.urandom(32))

    def having(self, fingerprint: bytes) -> PrivateKey:
        """This key or the previous one with this fingerprint. Raises Locked."""
        for each in (self, *self.previous):
            if each.public.fingerprint == fingerprint:
                return each
        raise Locked(
            f"this was sealed to another key ({fingerprint.hex()[:16]})", hint="give that key with --recovery-key-file"
        )

    def open(self, sealed: bytes, purpose: bytes) -> bytes:
        """What was sealed to the public half. Raises Damaged."""
        try:
            return _SUITE.decrypt(sealed, self._key, info=purpose)
        except (InvalidTag, ValueError):
            raise Damaged("a sealed key does not open with this vault's private key") from None


@dataclass(frozen=True, slots=True)
class PassphraseLock:
    """A secret under a passphrase: Argon2id (RFC 9106), then AES-256-GCM. Times and memory are kept with it."""

    salt: bytes
    sealed: bytes
    iterations: int = 3
    lanes: int = 4
    memory_kib: int = 256 * 1024

    @classmethod
    def close(cls, secret: bytes, passphrase: bytes) -> PassphraseLock:
        """Lock a secret."""
        lock = cls(os.urandom(16), b"")
        return cls(lock.salt, AESGCM(lock._stretch(passphrase)).encrypt(bytes(12), secret, b"knowngood"))

    def open(self, passphrase: bytes) -> bytes:
        """The secret. Raises Locked when the passphrase is wrong."""
        try:
            return AESGCM(self._stretch(passphrase)).decrypt(bytes(12), self.sealed, b"knowngood")
        except InvalidTag:
            raise Locked(
                "the passphrase is wrong, or the key file is damaged",
                hint="try again; or use the recovery key from the kit with --recovery-key-file",
            ) from None

    def _stretch(self, passphrase: bytes) -> bytes:
        bounded = self.iterations <= 64 and self.memory_kib <= 4 << 20 and self.lanes <= 64
        if not bounded:
            raise Damaged("a key file asks for an absurd amount of work")
        return Argon2id(
            salt=self.salt, length=32, iterations=self.iterations, lanes=self.lanes, memory_cost=self.memory_kib
        ).derive(passphrase)


def _checksum(secret: bytes) -> str:
    return base64.b32encode(blake3(secret, derive_key_context="knowngood 2026-11 kit checksum").digest())[
        :_CHECK_LETTERS
    ].decode()


def recovery_text(recovery_key: bytes) -> str:
    """The recovery key as people copy it: groups of four letters, the last one a checksum."""
    letters = base64.b32encode(recovery_key).decode().rstrip("=") + _checksum(recovery_key)
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))


def parse_recovery_text(text: str) -> bytes:
    """Read it back, forgiving spaces, case and the digits people mistake. Raises UsageError."""
    letters = "".join(text.upper().replace("0", "O").replace("1", "I").replace("8", "B").split()).replace("-", "")
    try:
        secret = base64.b32decode(letters[:-_CHECK_LETTERS] + "====")
    except ValueError:
        secret = b""
    if len(secret) != 32 or _checksum(secret) != letters[-_CHECK_LETTERS:]:
        raise UsageError("this is not a recovery key, or a letter of it is wrong", hint="compare it with the kit")
    return secret
