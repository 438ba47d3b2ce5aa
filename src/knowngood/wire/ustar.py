"""Headers of tar archives as PostgreSQL writes them: ustar, sizes of 8 GiB and more in base 256 (POSIX.1-1988; GNU)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from knowngood.core.errors import Damaged

BLOCK = 512
END = bytes(BLOCK)


class Type(Enum):
    """What a member is."""

    FILE = b"0"
    LINK = b"2"
    FOLDER = b"5"


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `path` is inside the archive, without `.` and `..`; `size` is that of the content that follows."""

    path: bytes
    type: Type
    size: int
    mode: int
    mtime: int

    @property
    def padding(self) -> int:
        """Bytes after the content."""
        return -self.size % BLOCK


def parse(block: bytes) -> Member:
    """A header. Raises Damaged for anything that is not exactly one, or leads out of the archive."""
    if len(block) != BLOCK or block[257:262] != b"ustar":
        raise Damaged("an archive of the server is no tar archive")
    if sum(block) - sum(block[148:156]) + 8 * 32 != _number(block[148:156]):
        raise Damaged("a header in an archive of the server does not match its checksum")
    try:
        kind = Type(block[156:157])
    except ValueError:
        raise Damaged("an archive of the server has a member that is neither file, link nor folder") from None
    size = _number(block[124:136]) if kind is Type.FILE else 0
    mode = _number(block[100:108]) & 0o7777
    return Member(_path(block), kind, size, mode, _number(block[136:148]))


def _path(block: bytes) -> bytes:
    name, prefix = _text(block[:100]), _text(block[345:500])
    whole = prefix + b"/" + name if prefix else name
    parts = [each for each in whole.split(b"/") if each not in (b"", b".")]
    if whole.startswith(b"/") or b".." in parts:
        raise Damaged("an archive of the server has a path that leads out of it")
    return b"/".join(parts)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = _text(field).strip()
    if digits.strip(b"01234567"):
        raise Damaged("a header in an archive of the server has a number that is none")
    return int(digits or b"0", 8)
