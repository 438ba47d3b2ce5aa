"""Entries of a journal as bytes: what was done, checksummed, each after the one before.

A journal file begins with `MAGIC` and the number of its first entry (u64). An entry is a head `<IIIQ` (checksum, length
of its description, length of its data, number), then a MessagePack array, then the data. The checksum (CRC-32) is over
all of it that follows. Where one does not hold, the journal ends: it was torn.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum

import msgspec

from knowngood.core.buffers import Buffer
from knowngood.core.log import Form, LogRecord, Operation
from knowngood.core.malformed import MALFORMED
from knowngood.core.sizes import MIB
from knowngood.tree.block import ROW

MAGIC = b"KGJOURN1"
FILE_HEAD = struct.Struct("<8sQ")
HEAD = struct.Struct("<IIIQ")
DATA_LIMIT = 2 * MIB
"""Bytes of data of one entry."""
_TEXT_LIMIT = 64 * 1024
_REST = struct.Struct("<IIQ")
_WRITE, _BYTES = int(Operation.WRITE), int(Form.BYTES)
_CHECK = struct.Struct("<I")


class Special(IntEnum):
    """Entries that are no records of a log: their `operation`."""

    BEGINS = 200  # a server began to journal: what happened before it, and after the last entry, nobody saw
    VAGUE = 201  # something changed at `path`, and below it, in a way that records cannot tell
    LOST = 202  # nothing is journalled from here on; `second` says why
    ENDS = 203  # the server ended as it should


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One change as it was made: a log record (core/log.py) without its number there. `time_ns` is when it was made.

    That a name went also says, in `value`, of what mode that was which it stood for.
    """

    time_ns: int
    operation: int
    path: bytes = b""
    second: bytes = b""
    offset: int = 0
    length: int = 0
    form: int = Form.NONE
    row: bytes = b""
    value: int = 0
    data: bytes = b""

    def record(self, sequence: int) -> LogRecord:
        """It as a log has it."""
        return LogRecord(
            sequence=sequence,
            time_ns=self.time_ns,
            operation=self.operation,
            path=self.path,
            second=self.second,
            offset=self.offset,
            length=self.length,
            form=self.form,
            data=self.data,
            row=self.row,
            value=self.value if self.operation != Operation.UNLINK else 0,
        )


class Torn(Exception):
    """Here the journal ends: there is no whole entry."""


_Told = tuple[int, int, bytes, bytes, int, int, int, bytes, int]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Told)


Draft = tuple[_Told, Buffer]
"""An entry to be: the fields of `Entry` before its data, in order, and the data."""


def pack(number: int, draft: Draft) -> list[Buffer]:
    """The parts of an entry."""
    told, data = draft
    text = _encoder.encode(told)
    said = _REST.pack(len(text), len(data), number) + text
    check = zlib.crc32(said)
    if data:
        return [_CHECK.pack(zlib.crc32(data, check)) + said, data]
    return [_CHECK.pack(check) + said]


def unpack(buffer: Buffer, at: int, number: int) -> tuple[Entry, int]:
    """The entry of this number that begins at `at`, and where it ends. Raises Torn."""
    view = memoryview(buffer)
    begins = at + HEAD.size
    if len(view) < begins:
        raise Torn
    check, text_size, data_size, found = HEAD.unpack_from(view, at)
    end = begins + text_size + data_size
    if found != number or text_size > _TEXT_LIMIT or data_size > DATA_LIMIT or end > len(view):
        raise Torn
    if zlib.crc32(view[begins:end], zlib.crc32(view[at + 4 : begins])) != check:
        raise Torn
    try:
        told = _decoder.decode(view[begins : begins + text_size])
    except MALFORMED:
        raise Torn from None
    if len(told[7]) not in (0, ROW.size):
        raise Torn
    return Entry(*told, bytes(view[begins + text_size : end])), end


def written(time_ns: int, path: bytes, offset: int, row: bytes, data: Buffer) -> Draft:
    """An entry to be, of a write: what `draft` would say, sooner."""
    return (time_ns, _WRITE, path, b"", offset, len(data), _BYTES, row, 0), data


def draft(
    operation: int,
    time_ns: int,
    path: bytes = b"",
    *,
    second: bytes = b"",
    offset: int = 0,
    length: int = 0,
    form: int = Form.NONE,
    row: bytes = b"",
    value: int = 0,
    data: Buffer = b"",
) -> Draft:
    """An entry to be."""
    return (time_ns, int(operation), path, second, offset, length, int(form), row, value), data
