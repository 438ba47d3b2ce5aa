"""MariaDB's binary log as a primary sends it: single events in, bytes of its files out, as an unbroken chain.

Layout of events: MariaDB Knowledge Base, "Replication Protocol" (event header: time 4, type 1, server 4, size 4, next
position 4, flags 2; little endian; a CRC-32 behind each event when the log has checksums).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from zlib import crc32

from knowngood.core.errors import Damaged

MAGIC = b"\xfebin"
"""How each file of the log begins."""

LARGEST = 1 << 30
"""Bytes of an event; a server sends at most max_allowed_packet, which is smaller."""

_HEADER = struct.Struct("<IBIIIH")
_ROTATE, _FORMAT, _HEARTBEAT = 4, 15, 27
_IN_USE, _ARTIFICIAL = 0x1, 0x20
_CHECKSUM_BYTES = 4
_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the log: a file, and an offset in it."""

    file: str
    offset: int


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it stands in a file."""

    place: Place
    data: bytes


class Chain:
    """Takes events one after the other. Memory: none."""

    def __init__(self, start: Place, *, checksums: bool, born: int = 0) -> None:
        """`start` is where the first event is to stand; `checksums` whether events end with one.

        `born` is when the file was begun, as `born_of` tells: another file of the same name is no continuation.
        """
        self.end = start
        self._born = born
        self._checksums = checksums

    def feed(self, data: bytes) -> Event | None:
        """The event in its place; None for what only the protocol needs. Raises Damaged when the chain is broken."""
        if len(data) < _HEADER.size:
            raise Damaged("an event of the binary log is cut off")
        born, kind, _, size, after, flags = _HEADER.unpack_from(data)
        if size != len(data):
            raise Damaged("an event of the binary log is not as long as it says")
        self._check(data, kind, flags)
        if kind == _FORMAT:
            self._check_born(born, of_file=bool(after))
        if kind == _ROTATE and (flags & _ARTIFICIAL or not after):
            self._go_to(data)
            return None
        if kind == _HEARTBEAT or not after or flags & _ARTIFICIAL:
            return None
        place = Place(self.end.file, (after - size) % (1 << 32))
        if place != self.end:
            raise Damaged(f"the binary log does not go on at {self.end.file}:{self.end.offset}")
        self.end = Place(place.file, place.offset + size)
        return Event(place, data)

    def _check_born(self, born: int, *, of_file: bool) -> None:
        if of_file:
            self._born = born
        elif self._born and born != self._born:
            raise Damaged(f"the binary log was begun anew: {self.end.file} is another file than before")

    def _check(self, data: bytes, kind: int, flags: int) -> None:
        if not self._checksums:
            return
        body = data[:-_CHECKSUM_BYTES]
        if kind == _FORMAT and flags & _IN_USE:  # it was set after the checksum was made
            body = body[:17] + bytes([body[17] & ~_IN_USE]) + body[18:]
        if crc32(body) != int.from_bytes(data[-_CHECKSUM_BYTES:], "little"):
            raise Damaged(f"an event of the binary log after {self.end.file}:{self.end.offset} has a wrong checksum")

    def _go_to(self, data: bytes) -> None:
        """The primary says which file comes next, and from where it is going to send."""
        end = len(data) - (_CHECKSUM_BYTES if self._checksums else 0)
        name = data[_HEADER.size + 8 : end]
        if not name:
            raise Damaged("the binary log goes on in a file without a name")
        (offset,) = struct.unpack_from("<Q", data, _HEADER.size)
        if not 0 < len(name) <= _NAME_BYTES or b"/" in name or b"\0" in name or not name.isascii():
            raise Damaged("the binary log goes on in a file without a proper name")
        file = name.decode()
        if file != self.end.file:
            if offset != len(MAGIC):
                raise Damaged(f"the binary log goes on in the middle of {file}")
            self.end = Place(file, offset)
        elif offset != self.end.offset:
            raise Damaged(f"the binary log does not go on at {self.end.file}:{self.end.offset}")


def born_of(data: bytes) -> int | None:
    """When the file was begun whose first event this is; None for all others."""
    return int.from_bytes(data[:4], "little") if data[4] == _FORMAT else None
