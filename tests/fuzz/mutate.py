"""Strange input: what is valid, changed at places where formats keep numbers, lengths and kinds."""

from __future__ import annotations

import random
from collections.abc import Sequence

_NUMBERS = (0, 1, 2, 7, 8, 31, 32, 127, 128, 255, 256, 4095, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1,
            1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip
_LONGEST = 1 << 17


def mutated(samples: Sequence[bytes], some: random.Random) -> bytes:
    """One of the samples, changed in one to four ways."""
    data = bytearray(some.choice(samples))
    for _ in range(some.choice((1, 1, 1, 2, 3, 4))):
        some.choice(_WAYS)(data, samples, some)
        del data[_LONGEST:]
    return bytes(data)


def _place(data: bytearray, some: random.Random) -> int:
    """Anywhere, and more often in front, where heads are."""
    return some.randrange(min(len(data), some.choice((16, 96, len(data)))) or 1) if data else 0


def _flip(data: bytearray, _: Sequence[bytes], some: random.Random) -> None:
    if data:
        data[_place(data, some)] ^= 1 << some.randrange(8)


def _byte(data: bytearray, _: Sequence[bytes], some: random.Random) -> None:
    if data:
        data[_place(data, some)] = some.choice((0, 1, 0x7F, 0x80, 0xFF, some.randrange(256)))


def _number(data: bytearray, _: Sequence[bytes], some: random.Random) -> None:
    size, order = some.choice((1, 2, 4, 4, 8)), some.choice(("little", "little", "big"))
    at = _place(data, some)
    at -= at % size * some.choice((0, 1))
    old = int.from_bytes(data[at : at + size], "big" if order == "big" else "little")
    new = some.choice((some.choice(_NUMBERS), old + 1, old - 1, old * 2, len(data), len(data) - at))
    data[at : at + size] = (new % (1 << 8 * size)).to_bytes(size, "big" if order == "big" else "little")


def _cut(data: bytearray, _: Sequence[bytes], some: random.Random) -> None:
    del data[_place(data, some) :]


def _drop(data: bytearray, _: Sequence[bytes], some: random.Random) -> None:
    at = _place(data, some)
    del data[at : at + some.choice((1, 4, 8, 32, some.randrange(200)))]


def _repeat(data: bytearray, _: Sequence[bytes], some: random.Random) -> None:
    at = _place(data, some)
    data[at:at] = data[at : at + some.randrange(1, 200)] * some.choice((1, 1, 2, 50))


def _insert(data: bytearray, _: Sequence[bytes], some: random.Random) -> None:
    at = _place(data, some)
    data[at:at] = some.choice((bytes(some.randrange(64)), some.randbytes(some.randrange(64)), b"\xff" * 16))


def _splice(data: bytearray, samples: Sequence[bytes], some: random.Random) -> None:
    other = some.choice(samples)
    at, start = _place(data, some), some.randrange(len(other) or 1)
    data[at : at + some.randrange(100)] = other[start : start + some.randrange(200)]


_WAYS = (_flip, _byte, _number, _number, _number, _cut, _drop, _repeat, _insert, _splice)
