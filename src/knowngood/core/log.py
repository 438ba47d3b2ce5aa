"""The log's vocabulary: one record is one change of a component (docs/format.md, section Log frames and segments)."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from knowngood.core.ids import NAME_BYTES

NO_FRAME = bytes(NAME_BYTES)
"""What the first frame of a chain calls the frame before it."""


class Operation(IntEnum):
    """What a record does at replay."""

    WRITE = 1
    TRUNCATE = 2
    CREATE = 3
    LINK = 4
    UNLINK = 5
    RENAME = 6
    MODE = 7
    OWNER = 8
    XATTR = 9
    FLAGS = 10
    MARK = 11
    GAP = 12
    TIMES = 13


class Form(IntEnum):
    """What the data of a record is."""

    NONE = 0
    BYTES = 1  # the bytes themselves
    DELTA = 2  # zstd of the XOR with what was there before
    CHUNK = 3  # the name of a chunk in the vault
    ZEROS = 4  # `length` zero bytes, which may become a hole


class Gap(IntEnum):
    """Why changes were lost: the `value` of a GAP record."""

    OVERFLOW = 1
    NOT_RUNNING = 2
    OTHER = 3


class LogRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One change. Paths are components joined by NUL, b"" for the root. Bytes; moments in nanoseconds.

    `row` is empty, or the 48-byte row of `path` after the change. `data` of form CHUNK is the chunk's 32-byte name.
    """

    sequence: int
    time_ns: int
    operation: int
    path: bytes = b""
    second: bytes = b""
    offset: int = 0
    length: int = 0
    form: int = Form.NONE
    data: bytes = b""
    row: bytes = b""
    value: int = 0
