"""Sifting: with the private key, the chunks of a group that are still needed are taken out of it and grouped anew.

Without the key a frame goes or stays as a whole, and a group lives for as long as one of its chunks does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged
from knowngood.core.ids import NAME_BYTES
from knowngood.seal.frame import Contents, Frame, split_chunks
from knowngood.seal.names import Namer
from knowngood.vault import group as groups

OpenFrame = Callable[[Frame, str], bytes]
"""The payload of a frame of the pack that lies under a key. Raises Damaged, Locked."""


class Sifter:
    """Gathers chunks out of old groups. Memory: one opened group, and one that grows."""

    def __init__(self, namer: Namer, open_frame: OpenFrame) -> None:
        self._namer = namer
        self._open = open_frame
        self._group = groups.Group(namer)

    def needed(self, frame: Frame, key: str, is_needed: Callable[[bytes], bool]) -> list[tuple[bytes, Buffer]]:
        """The chunks of a frame that are needed, each proven by its name. Raises Damaged, Locked."""
        chunks = split_chunks(frame.names, self._open(frame, key))
        found: list[tuple[bytes, Buffer]] = []
        for at in range(0, len(frame.names), NAME_BYTES):
            name = frame.names[at : at + NAME_BYTES]
            if is_needed(name):
                data = chunks[name]
                if self._namer.chunk(data) != name:
                    raise Damaged("content does not match its name")
                found.append((name, bytes(data)))  # a view would keep the whole group
        return found

    def regroup(self, chunks: list[tuple[bytes, Buffer]]) -> Iterator[Contents]:
        """Take chunks; give the frames that have become full."""
        for name, data in chunks:
            if len(data) >= groups.ALONE_FROM:
                yield groups.alone(self._namer, name, data)
                continue
            self._group.add(name, data)
            if self._group.full and (contents := self._group.end()):
                yield contents

    def rest(self) -> Iterator[Contents]:
        """The last frame, if anything waits for it."""
        if contents := self._group.end():
            yield contents
