"""Distance to the limit: how fast the codecs alone are, one thread, on the same data.

    python -m bench.codecs [--mib 256] [--cores 2]

What protecting a byte costs at the least is the sum of its parts: read, cut, name,
compress, encrypt, hash for storage. The rate of the parts, times the cores, is the
limit no program that uses these codecs can pass.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pyfastcdc import FastCDC

from bench.content import Content

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_KIB, _MIB = 1 << 10, 1 << 20
_LEVEL = 3
_WORTH = 0.97
_NONCE = bytes(12)
Blocks = list[bytes]


@dataclass
class Part:
    """One step: its rate over the bytes it is given, and how many of those there are per byte of data."""

    name: str
    rate: float
    share: float

    @property
    def cost(self) -> float:
        """Seconds per byte of the original data."""
        return self.share / self.rate


def _rate(work: Callable[[], object], size: int, repeats: int) -> float:
    """Bytes per second, the best of some runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return size / best


def _each(call: Callable[[bytes], object], blocks: Iterable[bytes]) -> Callable[[], None]:
    """The work of calling something on every block, keeping nothing."""

    def work() -> None:
        for block in blocks:
            call(block)

    return work


def data_sets(size: int) -> dict[str, bytes]:
    """Text, half text and half random, and random bytes."""
    maker, rng = Content(1), random.Random("codecs")
    kinds = {"text": maker.text, "mixed": maker.mixed, "half": maker.half, "random": maker.noise}
    piece = 64 * _KIB
    return {name: b"".join(make(rng, piece) for _ in range(max(1, size // piece))) for name, make in kinds.items()}


def _read(data: bytes, repeats: int) -> float:
    """Rate of reading a file which is in the page cache."""
    buffer = bytearray(8 * _MIB)
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(data)

        def work() -> None:
            file.seek(0)
            while file.readinto(buffer):
                pass

        return _rate(work, len(data), repeats)


def parts(data: bytes, repeats: int) -> tuple[list[Part], list[Part], float]:
    """The parts of protecting and of recovering the data, and its compression ratio."""
    cdc = FastCDC(512 * _KIB, min_size=512 * _KIB, max_size=4 * _MIB, seed=1)
    chunks = [data[cut.offset : cut.offset + cut.length] for cut in cdc.cut_buf(data)]
    packed = [zstd.compress(chunk, _LEVEL) for chunk in chunks]
    share = sum(map(len, packed)) / len(data)
    shrinks = share < _WORTH
    kept = packed if shrinks else chunks
    share = share if shrinks else 1.0
    cipher, key = AESGCM(bytes(32)), bytes(32)
    sealed = [cipher.encrypt(_NONCE, block, None) for block in kept]
    size, small = len(data), sum(map(len, kept))

    def speed(call: Callable[[bytes], object], blocks: Blocks, total: int) -> float:
        return _rate(_each(call, blocks), total, repeats)

    name = Part("name (blake3 keyed)", speed(lambda block: blake3(block, key=key).digest(), chunks, size), 1.0)
    hashed = Part("hash for storage (blake3)", speed(lambda block: blake3(block).digest(), sealed, small), share)
    there = [
        Part("read from the page cache", _read(data, repeats), 1.0),
        Part("cut (pyfastcdc)", _rate(lambda: list(cdc.cut_buf(data)), size, repeats), 1.0),
        name,
        Part("encrypt (AES-256-GCM)", speed(partial(_seal, cipher), kept, small), share),
        hashed,
    ]
    back = [hashed, Part("decrypt (AES-256-GCM)", speed(partial(_open, cipher), sealed, small), share), name]
    if shrinks:
        compress = speed(lambda block: zstd.compress(block, _LEVEL), chunks, size)
        there.insert(3, Part(f"compress (zstd {_LEVEL})", compress, 1.0))
        back.append(Part("decompress (zstd)", speed(zstd.decompress, packed, size), 1.0))
    return there, back, share


def _seal(cipher: AESGCM, block: bytes) -> bytes:
    return cipher.encrypt(_NONCE, block, None)


def _open(cipher: AESGCM, block: bytes) -> bytes:
    return cipher.decrypt(_NONCE, block, None)


def show(title: str, found: list[Part], cores: int) -> None:
    """Print the parts, their sum and the limit over all cores."""
    print(f"\n| {title} | GB/s | share of bytes | ns/KiB |\n|---|---:|---:|---:|")
    for part in found:
        print(f"| {part.name} | {part.rate / 1e9:.2f} | {part.share:.2f} | {part.cost * 1024e9:.0f} |")
    cost = sum(part.cost for part in found)
    print(f"| all parts, one core | {1 / cost / 1e9:.2f} | | {cost * 1024e9:.0f} |")
    print(f"| all parts, {cores} cores | {cores / cost / 1e9:.2f} | | {cost * 1024e9 / cores:.0f} |")


def main() -> None:
    """Measure every kind of data and print the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=128, help="how much data of each kind")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for name, data in data_sets(options.mib * _MIB).items():
        there, back, share = parts(data, options.repeats)
        print(f"\n### {name}: {len(data) / 1e6:.0f} MB, kept as {share:.2f} of it")
        show(f"protect {name}", there, options.cores)
        show(f"recover {name}", back, options.cores)


if __name__ == "__main__":
    main()
