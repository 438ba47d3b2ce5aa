"""A vault in memory: the two ports between a kind and a vault, with their semantics and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from knowngood.core.buffers import Buffer
from knowngood.core.errors import NotFound
from knowngood.core.ids import NAME_BYTES, Name
from knowngood.core.ports import FillBuffer
from knowngood.seal.chunker import Chunker, ChunkSizes
from knowngood.seal.names import Namer


@dataclass
class MemoryVault:
    """What has landed. Both sides share it; `forget` plays the collector."""

    namer: Namer = field(default_factory=lambda: Namer.from_secret(bytes(32)))
    chunks: dict[Name, bytes] = field(default_factory=dict)
    pages: dict[Name, tuple[bytes, bytes]] = field(default_factory=dict)

    def forget(self, name: Name) -> None:
        """Remove one chunk or page."""
        self.chunks.pop(name, None)
        self.pages.pop(name, None)

    def complete(self, root: Name) -> bool:
        """Whether all that a root page refers to, directly and through other pages, is here."""
        ahead = [root]
        seen: set[Name] = set()
        while ahead:
            name = ahead.pop()
            if name in seen or name in self.chunks:
                continue
            if name not in self.pages:
                return False
            seen.add(name)
            refs = self.pages[name][0]
            ahead += [Name(refs[at : at + NAME_BYTES]) for at in range(0, len(refs), NAME_BYTES)]
        return True


class MemorySink:
    """A ChunkSink. What was added lands in the vault at `flush`; `crash` loses what has not.

    Counters tell what the caller did: `added` chunks and `paged` pages since the sink was made, whether new or not.
    """

    def __init__(self, vault: MemoryVault | None = None, sizes: ChunkSizes | None = None) -> None:
        self.vault = vault or MemoryVault()
        self.added: list[Name] = []
        self.paged: list[Name] = []
        self.asked: list[Name] = []
        self.flushes = 0
        self._chunker = Chunker(sizes or ChunkSizes(), self.vault.namer.seed)
        self._chunks: dict[Name, bytes] = {}
        self._pages: dict[Name, tuple[bytes, bytes]] = {}

    def add(self, data: Buffer) -> Name:
        """Take one chunk."""
        name = self.vault.namer.chunk(data)
        self._chunks[name] = bytes(data)
        self.added.append(name)
        return name

    def name(self, data: Buffer) -> Name:
        """The name of a chunk."""
        return self.vault.namer.chunk(data)

    def page(self, refs: bytes, body: bytes) -> Name:
        """Take one tree page."""
        name = self.vault.namer.page(refs, body)
        self._pages[name] = (bytes(refs), bytes(body))
        self.paged.append(name)
        return name

    def known(self, name: Name) -> bool:
        """Whether it has landed or is under way."""
        self.asked.append(name)
        places = (self._chunks, self._pages, self.vault.chunks, self.vault.pages)
        return any(name in place for place in places)

    def cut(self, read_into: FillBuffer) -> Iterator[memoryview]:
        """Cut a stream into chunks."""
        return self._chunker.cut(read_into)

    def flush(self) -> None:
        """Land what was added."""
        self.vault.chunks.update(self._chunks)
        self.vault.pages.update(self._pages)
        self.crash()
        self.flushes += 1

    def crash(self) -> None:
        """Lose what has not landed."""
        self._chunks, self._pages = {}, {}


class MemoryPages:
    """A PageSource over a vault in memory."""

    def __init__(self, vault: MemoryVault) -> None:
        self._vault = vault

    def page(self, name: Name) -> tuple[bytes, bytes]:
        """References and body of a page. Raises NotFound."""
        if name not in self._vault.pages:
            raise NotFound(f"there is no page {name.hex()[:8]}")
        return self._vault.pages[name]

    def chunk(self, name: Name) -> Buffer:
        """Content of a chunk. Raises NotFound."""
        if name not in self._vault.chunks:
            raise NotFound(f"there is no chunk {name.hex()[:8]}")
        return self._vault.chunks[name]


class MemoryScratch:
    """A Scratch: what was put, under its number."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def put(self, data: Buffer) -> int:
        """Take some bytes."""
        self.kept.append(bytes(data))
        return len(self.kept) - 1

    def get(self, handle: int, offset: int, length: int) -> bytes:
        """Bytes of what was put."""
        return self.kept[handle][offset : offset + length]
