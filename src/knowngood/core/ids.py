"""Identifiers: random 16-byte ids, 32-byte names of content, and their spellings."""

from __future__ import annotations

import secrets
from typing import NewType

Name = NewType("Name", bytes)
"""32 bytes that name content: a keyed BLAKE3 hash."""

NAME_BYTES = 32
ID_BYTES = 16


def new_id() -> bytes:
    """16 random bytes."""
    return secrets.token_bytes(ID_BYTES)


def short(identifier: bytes) -> str:
    """The first eight hex digits: what people see and type."""
    return identifier.hex()[:8]
