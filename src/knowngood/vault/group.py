"""Groups: small chunks that are sealed together, in one frame (docs/decisions/0006)."""

from __future__ import annotations

from knowngood.core.buffers import Buffer
from knowngood.core.sizes import KIB, MIB
from knowngood.seal.frame import Contents, FrameKind, lengths_table
from knowngood.seal.names import Namer

GROUP_BYTES = 2 * MIB
GROUP_CHUNKS = 4096
ALONE_FROM = 256 * KIB


class Group:
    """Chunks on their way into a frame. Memory: GROUP_BYTES, and one chunk more."""

    def __init__(self, namer: Namer) -> None:
        self._namer = namer
        self._chunks: list[tuple[bytes, Buffer]] = []
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether it is time to end it."""
        return self._bytes >= GROUP_BYTES or len(self._chunks) >= GROUP_CHUNKS

    def add(self, name: bytes, data: Buffer) -> None:
        """Take a small chunk, which must not change any more."""
        self._chunks.append((name, data))
        self._bytes += len(data)

    def end(self) -> Contents | None:
        """What goes into the frame; None when there is nothing. The next group begins."""
        chunks, self._chunks, self._bytes = self._chunks, [], 0
        if not chunks:
            return None
        if len(chunks) == 1:
            return alone(self._namer, *chunks[0])
        names = b"".join(name for name, _ in chunks)
        payload = b"".join([lengths_table([len(data) for _, data in chunks]), *(data for _, data in chunks)])
        return Contents(FrameKind.DATA, names, b"", payload, payload.__eq__)


def alone(namer: Namer, name: bytes, data: Buffer) -> Contents:
    """A frame's contents for a chunk that has a frame to itself."""
    # Comparing a view takes longer than hashing it, and holds the GIL.
    return Contents(FrameKind.DATA, name, b"", data, lambda opened: namer.chunk(opened) == name)
