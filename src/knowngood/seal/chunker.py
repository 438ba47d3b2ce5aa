"""Content-defined chunking (FastCDC; Xia et al., USENIX ATC 2016 and TPDS 2020) over a stream read in blocks.

A cut depends only on the bytes since the cut before it, so cutting may begin anew at any earlier cut: that is what
lets an interrupted file continue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pyfastcdc import FastCDC

from knowngood.core.sizes import KIB, MIB


@dataclass(frozen=True, slots=True)
class ChunkSizes:
    """Bounds of a chunk in bytes. `average` steers the cut masks; the mean of these comes out at 1.15 MiB."""

    minimum: int = 256 * KIB
    average: int = 1 * MIB
    maximum: int = 4 * MIB


class Chunker:
    """Cuts byte streams at boundaries that depend on content and on a secret seed."""

    BLOCK = 8 * MIB

    def __init__(self, sizes: ChunkSizes, seed: int) -> None:
        self.sizes = sizes
        self._cdc = FastCDC(sizes.average, min_size=sizes.minimum, max_size=sizes.maximum, seed=seed)

    def cut(self, fill: Callable[[memoryview], int]) -> Iterator[memoryview]:
        """Yield the chunks of a stream in order.

        `fill` reads into the view it is given and returns how many bytes it wrote, 0 at the end. A yielded view stays
        valid for as long as it is held: each block is a buffer of its own.
        """
        carry = memoryview(b"")
        ended = False
        while not ended:
            block = memoryview(bytearray(len(carry) + self.BLOCK))
            block[: len(carry)] = carry
            end = len(carry)
            while end < len(block):
                count = fill(block[end:])
                if not count:
                    ended = True
                    break
                end += count
            block = block[:end].toreadonly()
            cuts = [(chunk.offset, chunk.length) for chunk in self._cdc.cut_buf(block)] if end else []
            # A cut that is made by the end of the block, and not by content, would move with the block size.
            keep = len(cuts) if ended else max(0, len(cuts) - 1)
            for offset, length in cuts[:keep]:
                yield block[offset : offset + length]
            carry = block[cuts[keep][0] :] if keep < len(cuts) else memoryview(b"")
