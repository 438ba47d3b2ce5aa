"""The stream of mariabackup: chunks of several files, one after the other, in bounded memory (xbstream format 1)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from zlib import crc32

from knowngood.core.errors import Damaged

_MAGIC = b"XBSTCK01"
_HEAD = struct.Struct("<8sBcI")
_PAYLOAD = struct.Struct("<QQI")
_PATH_BYTES = 512
_LARGEST = 64 << 20  # mariabackup sends 10 MiB at most
_PAYLOAD_TYPE, _END_TYPE = b"P", b"E"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a file, which follows the one before it; `data` None: the file is whole."""

    path: bytes
    data: bytes | None


def chunks(read: Callable[[int], bytes]) -> Iterator[Chunk]:
    """The chunks of a stream; `read` gives exactly so many bytes, fewer only at the end. Raises Damaged."""
    lengths: dict[bytes, int] = {}
    while head := read(_HEAD.size):
        if len(head) < _HEAD.size:
            raise Damaged("the stream of mariabackup is cut off")
        magic, _, kind, length = _HEAD.unpack(head)
        if magic != _MAGIC or length > _PATH_BYTES or kind not in (_PAYLOAD_TYPE, _END_TYPE):
            raise Damaged("mariabackup sends something that is not known here")
        path = _path(_exactly(read, length))
        if kind == _END_TYPE:
            lengths.pop(path, None)
            yield Chunk(path, None)
            continue
        size, offset, checksum = _PAYLOAD.unpack(_exactly(read, _PAYLOAD.size))
        if size > _LARGEST or offset != lengths.get(path, 0):
            raise Damaged(f"mariabackup does not send {path.decode(errors='replace')} in order")
        data = _exactly(read, size)
        if crc32(data) != checksum:
            raise Damaged(f"a chunk of {path.decode(errors='replace')} has a wrong checksum")
        lengths[path] = offset + size
        yield Chunk(path, data)
    if lengths:
        raise Damaged("the stream of mariabackup ends too early")


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) != size:
        raise Damaged("the stream of mariabackup is cut off")
    return data


def _path(path: bytes) -> bytes:
    """A path that stays where it belongs."""
    path = path.removeprefix(b"./")
    if not path or b"\0" in path or any(part in (b"", b".", b"..") for part in path.split(b"/")):
        raise Damaged("mariabackup sends a file without a proper path")
    return path
