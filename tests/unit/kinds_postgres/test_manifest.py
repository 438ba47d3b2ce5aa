"""The manifest of a base: it says what was sent, and whether it is whole itself."""

from __future__ import annotations

import hashlib

import pytest

from knowngood.core.errors import Damaged
from knowngood.kinds.postgres.base import claimed


def manifest(files: str, *, own: str = "") -> bytes:
    """As a server writes it."""
    text = f'{{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n{files}\n],\n"WAL-Ranges": [],\n'
    return f'{text}"Manifest-Checksum": "{own or hashlib.sha256(text.encode()).hexdigest()}"}}\n'.encode()


FILE = '{ "Path": "base/1/2619", "Size": 1, "Checksum-Algorithm": "SHA256", "Checksum": "00ff" }'
ENCODED = '{ "Encoded-Path": "ff41", "Size": 1, "Checksum-Algorithm": "SHA256", "Checksum": "01" }'


def test_files_and_their_sums() -> None:
    """Also those whose names are no text."""
    assert claimed(manifest(f"{FILE},\n{ENCODED}")) == {b"base/1/2619": b"\0\xff", b"\xffA": b"\1"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        manifest(FILE, own="0" * 64),
        manifest(FILE)[:-3],
        manifest(FILE).replace(b"2619", b"2618"),
        manifest('{ "Path": 7 }'),
        manifest('{ "Path": "x", "Checksum": "zz" }'),
    ],
)
def test_one_that_is_not_whole(data: bytes) -> None:
    """The one error."""
    with pytest.raises(Damaged, match="manifest"):
        claimed(data)
