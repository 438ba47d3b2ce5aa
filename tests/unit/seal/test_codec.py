"""Compression: what shrinks is packed, what does not is stored, and nothing expands beyond what was said."""

from __future__ import annotations

import random
import sys

import pytest

from knowngood.core.errors import Damaged
from knowngood.seal.codec import Codec, decode, encode

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SOME = random.Random(7)


@pytest.mark.parametrize("size", [0, 1, 100, 65536, 300_000])
def test_what_shrinks_is_packed_and_comes_back(size: int) -> None:
    data = b"abcdefgh" * (size // 8) + b"x" * (size % 8)
    codec, packed = encode(data)
    assert codec == (Codec.ZSTD if size >= 100 else Codec.STORED)
    assert decode(codec, packed, size) == data


@pytest.mark.parametrize("size", [1, 1000, 65535, 65536, 300_000])
def test_what_does_not_shrink_is_stored_as_it_is(size: int) -> None:
    data = SOME.randbytes(size)
    codec, packed = encode(data)
    assert codec == Codec.STORED
    assert decode(codec, packed, size) == data


def test_something_compressible_among_randomness_is_found() -> None:
    data = SOME.randbytes(20_000) + bytes(80_000)
    assert encode(data)[0] == Codec.ZSTD


def test_a_wrong_length_shows() -> None:
    packed = zstd.compress(bytes(1000), 3)
    for length in (0, 1, 999, 1001, 5000):
        with pytest.raises(Damaged):
            decode(Codec.ZSTD, packed, length)
        with pytest.raises(Damaged):
            decode(Codec.STORED, bytes(1000), length)


def test_a_bomb_expands_no_further_than_its_header_said() -> None:
    """A gibibyte of zeros in about 33 KB: no more than what was announced is ever made."""
    compressor = zstd.ZstdCompressor(3)
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(1024)) + compressor.flush()
    made = 0
    real = zstd.ZstdDecompressor

    class Counting:
        def __init__(self) -> None:
            self._inner = real()

        def decompress(self, data: bytes, max_length: int = -1) -> bytes:
            nonlocal made
            piece = self._inner.decompress(data, max_length)
            made += len(piece)
            return piece

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("knowngood.seal.codec.zstd.ZstdDecompressor", Counting)
        with pytest.raises(Damaged):
            decode(Codec.ZSTD, bomb, 1000)
    assert made <= 1001


@pytest.mark.parametrize("data", [b"", b"not zstd", zstd.compress(bytes(1000), 3)[:-3], b"\x28\xb5\x2f\xfd"])
def test_what_does_not_decompress_is_damage(data: bytes) -> None:
    with pytest.raises(Damaged):
        decode(Codec.ZSTD, data, 1000)


def test_an_unknown_codec_is_damage() -> None:
    with pytest.raises(Damaged):
        decode(2, b"data", 4)
