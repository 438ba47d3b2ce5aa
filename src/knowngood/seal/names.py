"""Names of content: keyed BLAKE3, one key per use, so that nobody without the keys can test for known content."""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

from knowngood.core.buffers import Buffer
from knowngood.core.ids import Name

_CHUNK_CONTEXT = "knowngood 2026-11 chunk name"
_PAGE_CONTEXT = "knowngood 2026-11 page name"
_LOG_CONTEXT = "knowngood 2026-11 log name"
_LABEL_CONTEXT = "knowngood 2026-11 timeline label"
_SEED_CONTEXT = "knowngood 2026-11 chunker seed"


def derive(secret: bytes, context: str) -> bytes:
    """32 bytes from a secret, for one use only (BLAKE3 key derivation)."""
    return blake3(secret, derive_key_context=context).digest()


@dataclass(frozen=True, slots=True, repr=False)
class Namer:
    """Computes names for one vault. Every field follows from the vault's 32-byte naming secret."""

    chunk_key: bytes
    page_key: bytes
    log_key: bytes
    label_key: bytes
    seed: int

    @classmethod
    def from_secret(cls, secret: bytes) -> Namer:
        """The namer of the vault whose naming secret this is."""
        return cls(
            chunk_key=derive(secret, _CHUNK_CONTEXT),
            page_key=derive(secret, _PAGE_CONTEXT),
            log_key=derive(secret, _LOG_CONTEXT),
            label_key=derive(secret, _LABEL_CONTEXT),
            seed=int.from_bytes(derive(secret, _SEED_CONTEXT)[:8], "little") >> 1,
        )

    def chunk(self, data: Buffer) -> Name:
        """The name of a chunk of content."""
        return Name(blake3(data, key=self.chunk_key).digest())

    def page(self, refs: Buffer, body: Buffer) -> Name:
        """The name of a page: over the names it refers to and its body."""
        return _of_two(self.page_key, refs, body)

    def log(self, refs: Buffer, payload: Buffer) -> Name:
        """The name of a LOG frame: over the names it refers to and its payload."""
        return _of_two(self.log_key, refs, payload)

    def label(self, *words: str) -> bytes:
        """A 16-byte identity for a timeline or service: stable, and meaningless to those without the key."""
        return blake3("\0".join(words).encode("utf-8", "surrogateescape"), key=self.label_key).digest()[:16]


def _of_two(key: bytes, refs: Buffer, body: Buffer) -> Name:
    hasher = blake3(key=key)
    hasher.update(len(memoryview(refs)).to_bytes(4, "little"))
    hasher.update(refs)
    hasher.update(body)
    return Name(hasher.digest())
