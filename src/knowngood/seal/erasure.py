"""Erasure codes: Reed-Solomon over GF(2^8), with the standard library alone.

Any number of lanes of equal length are protected by a few shards: shard j is, byte by byte, the sum over all lanes n of
coefficient(j, n) times the lane. Any lanes that are lost come back from as many shards and the other lanes. The
coefficients are a Cauchy matrix (Blömer et al., ICSI TR-95-048), each column divided by its first element: any square
part of it can be inverted, and shard 0 is a plain XOR.

Speed comes from two native operations: `bytes.translate` multiplies every byte by a constant, and XOR of whole numbers
adds. Together they do more than 500 MB/s for two shards on one core; docs/performance.md has the measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

SHARD_LIMIT = 16
LANE_LIMIT = 240
_POLYNOMIAL = 0x11D


def _powers() -> tuple[list[int], list[int]]:
    powers, logarithms, value = [0] * 510, [0] * 256, 1
    for at in range(255):
        powers[at] = powers[at + 255] = value
        logarithms[value] = at
        value <<= 1
        if value & 0x100:
            value ^= _POLYNOMIAL
    return powers, logarithms


_POWERS, _LOGARITHMS = _powers()


def multiply(one: int, other: int) -> int:
    """The product of two elements."""
    return _POWERS[_LOGARITHMS[one] + _LOGARITHMS[other]] if one and other else 0


def inverse(element: int) -> int:
    """What times the element is 1. Raises ZeroDivisionError."""
    if not element:
        raise ZeroDivisionError("0 has no inverse")
    return _POWERS[255 - _LOGARITHMS[element]]


def coefficient(shard: int, lane: int) -> int:
    """By what a lane is multiplied in a shard. `shard` is below 16, `lane` below 240."""
    place = SHARD_LIMIT + lane
    return multiply(place, inverse(place ^ shard))


@lru_cache(256)
def _table(factor: int) -> bytes:
    return bytes(multiply(factor, value) for value in range(256))


def scaled(data: bytes, factor: int) -> int:
    """Every byte of the data times a factor, as one number; sums are XORs of such numbers."""
    return int.from_bytes(data if factor == 1 else data.translate(_table(factor)), "little")


def solution(shards: Sequence[int], lanes: Sequence[int]) -> list[list[int]]:
    """How lost lanes follow from as many shards: by what the shards, without the other lanes, are multiplied.

    One row per lost lane, one factor per shard (Gauss-Jordan on a part of the matrix).
    """
    size = len(lanes)
    rows = [
        [*(coefficient(shard, lane) for lane in lanes), *(int(at == number) for at in range(size))]
        for number, shard in enumerate(shards)
    ]
    for at in range(size):
        pivot = next(row for row in range(at, size) if rows[row][at])
        rows[at], rows[pivot] = rows[pivot], rows[at]
        factor = inverse(rows[at][at])
        rows[at] = [multiply(each, factor) for each in rows[at]]
        for row in range(size):
            if row != at and (factor := rows[row][at]):
                rows[row] = [each ^ multiply(factor, above) for each, above in zip(rows[row], rows[at], strict=True)]
    return [row[size:] for row in rows]
