"""Compression: zstd, with a cheap test that stores what would not shrink."""

from __future__ import annotations

import sys
from enum import IntEnum

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged
from knowngood.core.sizes import KIB

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 3
_SAMPLE = 4 * KIB
_PROBE_FROM = 64 * KIB  # below this, compressing is cheaper than wondering
_WORTH = 0.97


class Codec(IntEnum):
    """How a frame's payload was encoded before encryption."""

    STORED = 0
    ZSTD = 1


def _looks_random(data: memoryview) -> bool:
    """True when four samples, spread over the data, hardly shrink at zstd's fastest level."""
    step = (len(data) - _SAMPLE) // 3
    sample = b"".join(data[at * step : at * step + _SAMPLE] for at in range(4))
    return len(zstd.compress(sample, -1)) > _WORTH * len(sample)


def encode(data: Buffer) -> tuple[Codec, Buffer]:
    """Compress, or return the data as it is when that saves less than 3 %."""
    view = memoryview(data)
    if len(view) >= _PROBE_FROM and _looks_random(view):
        return Codec.STORED, view
    packed = zstd.compress(view, LEVEL)
    return (Codec.ZSTD, packed) if len(packed) < _WORTH * len(view) else (Codec.STORED, view)


def decode(codec: int, data: Buffer, length: int) -> bytes:
    """The original `length` bytes. Raises Damaged; never makes more than `length` bytes."""
    if codec == Codec.STORED:
        plain = bytes(data)
    elif codec == Codec.ZSTD:
        try:
            plain = _expand(data, length)
        except zstd.ZstdError as wrong:
            raise Damaged(f"a frame does not decompress: {wrong}") from None
    else:
        raise Damaged(f"a frame has the unknown codec {codec}", hint="a newer knowngood may know it")
    if len(plain) != length:
        raise Damaged(f"a frame holds {len(plain)} bytes, its header says {length}")
    return plain


def _expand(data: Buffer, length: int) -> bytes:
    expander = zstd.ZstdDecompressor()
    plain = expander.decompress(data, max_length=length)
    while not expander.eof and not expander.needs_input and len(plain) < length:
        plain += expander.decompress(b"", max_length=length - len(plain))
    if not expander.eof and len(plain) >= length and expander.decompress(b"", max_length=1):
        raise Damaged(f"a frame expands beyond the {length} bytes its header says")
    return plain
