"""Spooling: while the vault does not take them, changes are sealed on this machine and wait in its spool.

The content of chunks lies in a file without a name until it is known which of them the records refer to: only those are
kept. No vault is asked, so content that it has already is kept as well; when it lands, it is not stored again.
A checkpoint can wait as well: what has changed since an earlier one is kept of it, and all of its chunks count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from knowngood.core.buffers import Buffer
from knowngood.core.errors import NoSpace
from knowngood.core.ids import Name
from knowngood.core.log import NO_FRAME, Form, LogRecord
from knowngood.core.model import Position
from knowngood.core.ports import FillBuffer
from knowngood.flow.scratch import FileScratch
from knowngood.seal.chunker import Chunker, ChunkSizes
from knowngood.seal.frame import Contents, FrameKind, seal_frame
from knowngood.seal.names import Namer
from knowngood.vault import group as groups
from knowngood.vault.log_frames import LogFramer
from knowngood.vault.pack import ContentKey
from knowngood.vault.record import PlainSegment
from knowngood.vault.segment import KEY_FRAMES, LogSealer
from knowngood.vault.spool import Spool, SpooledBase
from knowngood.vault.vault import Vault


class SpoolSink:
    """Takes the chunks of one tick (port ChunkSink). Raises NoSpace beyond `limit` bytes. Pages are named only: what a
    log refers to are chunks."""

    def __init__(self, namer: Namer, sizes: ChunkSizes, scratch: FileScratch, limit: int) -> None:
        self._namer = namer
        self._sizes = sizes
        self._scratch = scratch
        self._left = limit
        self._places: dict[bytes, tuple[int, int]] = {}

    def add(self, data: Buffer) -> Name:
        """Take one chunk."""
        name = self._namer.chunk(data)
        if name not in self._places:
            self._keep(name, data)
        return name

    def _keep(self, name: bytes, data: Buffer) -> None:
        length = len(memoryview(data))
        if length > self._left:
            raise NoSpace("what changed at once is more than may wait for the vault")
        self._left -= length
        self._places[name] = self._scratch.put(data), length

    def name(self, data: Buffer) -> Name:
        """The name of a chunk."""
        return self._namer.chunk(data)

    def page(self, refs: bytes, body: bytes) -> Name:
        """The name of a page."""
        return self._namer.page(refs, body)

    def known(self, name: Name) -> bool:
        """Whether it was taken here."""
        return name in self._places

    def cut(self, read_into: FillBuffer) -> Iterator[memoryview]:
        """Chunks of a stream."""
        return Chunker(self._sizes, self._namer.seed).cut(read_into)

    def flush(self) -> None:
        """Nothing: it is the spool that makes them durable."""

    def contents(self, wanted: Iterable[bytes]) -> Iterator[Contents]:
        """What goes into frames of these chunks, those of them that were taken here."""
        group = groups.Group(self._namer)
        for name in wanted:
            if name not in self._places:
                continue
            handle, length = self._places[name]
            data = self._scratch.get(handle, 0, length)
            if length >= groups.ALONE_FROM:
                yield groups.alone(self._namer, name, data)
                continue
            group.add(name, data)
            if group.full and (full := group.end()):
                yield full
        if rest := group.end():
            yield rest


class BaseSink(SpoolSink):
    """Takes a checkpoint: its pages as well as its chunks."""

    def __init__(self, namer: Namer, sizes: ChunkSizes, scratch: FileScratch, limit: int) -> None:
        super().__init__(namer, sizes, scratch, limit)
        self._pages: dict[bytes, int] = {}  # how many bytes of each are references

    def page(self, refs: bytes, body: bytes) -> Name:
        """Take one page."""
        name = self._namer.page(refs, body)
        if name not in self._places:
            self._keep(name, refs + body)
            self._pages[name] = len(refs)
        return name

    def content(self) -> Iterator[Contents]:
        """What goes into frames of all chunks."""
        return self.contents(name for name in self._places if name not in self._pages)

    def pages(self) -> Iterator[Contents]:
        """What goes into frames of all pages."""
        for name, refs in self._pages.items():
            handle, length = self._places[name]
            data = bytes(self._scratch.get(handle, 0, length))
            yield Contents(FrameKind.PAGE, name, data[:refs], data[refs:], data[refs:].__eq__)


class Spooler:
    """Seals the ticks of one timeline into its spool. Its keys are gone when the process ends; the private one opens
    what they sealed."""

    def __init__(self, vault: Vault, timeline: bytes, spool: Spool, folder: Callable[[], str]) -> None:
        self._vault = vault
        self._timeline = timeline
        self._spool = spool
        self._folder = folder
        self._sealer = LogSealer(vault.writer.public, vault.id, vault.writer.namer)
        self._key: ContentKey | None = None
        self._sequence = 0

    def keep(self, after: Position, records_of: Callable[[SpoolSink], Sequence[LogRecord]]) -> tuple[int, Position]:
        """Keep one tick, whose records follow a position. Returns how many there were, and the position after them.

        Durable when this returns. Raises NoSpace when there is no room; what `records_of` raises.
        """
        with FileScratch(self._folder) as scratch:
            sink = SpoolSink(*self._into(scratch))
            records = records_of(sink)
            if not records:
                return 0, after
            part, keys, log = self._framed(after, records)
            wanted = dict.fromkeys(each.data for each in records if each.form == Form.CHUNK)
            data: Iterable[list[Buffer]] = ()
            if any(sink.known(Name(name)) for name in wanted):
                data = self._sealed(sink.contents(wanted), self._content_key(keys))
            self._spool.append(part, records[-1].time_ns, keys, data, log)
        return len(records), Position(part.end, part.last)

    def keep_base(
        self, first: int, base_of: Callable[[BaseSink], tuple[Sequence[LogRecord], SpooledBase]]
    ) -> tuple[int, Position]:
        """Keep a checkpoint, and the records that lead up to it: they begin a new chain, at this number.

        How many there were, and the position after them. Durable, and raises, as `keep`.
        """
        with FileScratch(self._folder) as scratch:
            sink = BaseSink(*self._into(scratch))
            records, base = base_of(sink)
            part, keys, log = self._framed(Position(first, NO_FRAME), records)
            key = self._content_key(keys)
            data, pages = self._sealed(sink.content(), key), self._sealed(sink.pages(), key)
            self._spool.append(part, records[-1].time_ns, keys, data, log, pages=pages, base=base)
        return len(records), Position(part.end, part.last)

    def _into(self, scratch: FileScratch) -> tuple[Namer, ChunkSizes, FileScratch, int]:
        return self._vault.writer.namer, self._vault.descriptor.sizes, scratch, self._spool.limit - self._spool.bytes

    def _framed(
        self, after: Position, records: Sequence[LogRecord]
    ) -> tuple[PlainSegment, dict[bytes, list[Buffer]], list[list[Buffer]]]:
        """The frames of records, the keys that they take, and what a commit has to say of them."""
        framer = LogFramer(self._sealer, self._timeline, after)
        try:
            for record in records:
                framer.add(record)
                if framer.full:
                    framer.end_frame()
            framer.end_frame()
            part = framer.take()
        finally:
            keys, log = self._sealer.take()
        assert part is not None
        return part, keys, log

    def _content_key(self, keys: dict[bytes, list[Buffer]]) -> ContentKey:
        """The key of a tick's content, which is now among its keys."""
        if self._key is None or self._sequence >= KEY_FRAMES:
            self._key, self._sequence = ContentKey.generate(self._vault.writer.public, self._vault.id), 0
        keys[self._key.key_id] = self._key.frame
        return self._key

    def _sealed(self, contents: Iterable[Contents], key: ContentKey) -> Iterator[list[Buffer]]:
        for each in contents:
            sequence, self._sequence = self._sequence, self._sequence + 1  # never twice, also when something fails
            yield seal_frame(each, key.key, key.key_id, sequence)
