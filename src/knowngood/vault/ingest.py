"""From chunks to landed packs: names and deduplicates at once, seals in worker threads, lands packs behind them.

Memory is bounded by what is under way: unsealed bytes, packs being filled, packs being written.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from knowngood.core.buffers import Buffer
from knowngood.core.errors import KnowngoodError
from knowngood.core.ids import Name
from knowngood.core.ports import FillBuffer
from knowngood.core.progress import Progress
from knowngood.core.sizes import MIB
from knowngood.seal.chunker import Chunker, ChunkSizes
from knowngood.seal.frame import Contents, FrameKind, seal_frame
from knowngood.seal.names import Namer
from knowngood.vault import group as groups
from knowngood.vault.pack import ContentKey, PackKind, build_pack
from knowngood.vault.run import make_row
from knowngood.vault.session import Session

PACK_RAW_BYTES = 32 * MIB
UNSEALED_BYTES = 32 * MIB
ROWS_IN_MEMORY = 1 << 17
OPEN_PACKS = 4  # being filled or being written: the bound on sealed bytes in memory
SEALERS = 2
LANDERS = 2  # one pack is named and written while the disk is asked to keep another


@dataclass(slots=True)
class _Draft:
    """A pack being filled. Frames are sealed out of order; each has its number from the start."""

    kind: PackKind
    key: ContentKey
    raw: int = 0
    sequence: int = 0
    waiting: int = 0
    closed: bool = False
    frames: list[list[Buffer]] = field(default_factory=list)


class Ingest:
    """The sink of one session (port ChunkSink). `add` and `page` may be called from one thread at a time."""

    def __init__(self, session: Session, namer: Namer, sizes: ChunkSizes, progress: Progress) -> None:
        self._session = session
        self._namer = namer
        self._sizes = sizes
        self._progress = progress
        self._sealers = ThreadPoolExecutor(SEALERS, "seal")
        self._landers = ThreadPoolExecutor(LANDERS, "land")
        self._state = threading.Condition()
        self._unsealed = 0
        self._drafts_open = 0
        self._failure: BaseException | None = None
        self._drafts: dict[PackKind, _Draft] = {}
        self._group = groups.Group(namer)
        self._new: set[bytes] = set()  # names added since the last published run
        self._rows: list[bytes] = []
        self._packs: dict[bytes, int] = {}
        self.landed_bytes = 0

    def add(self, data: Buffer) -> Name:
        """Take one chunk; see the port."""
        self._raise_failure()
        name = self._namer.chunk(data)
        if self.known(name):
            return name
        self._remember(name)
        if len(data) >= groups.ALONE_FROM:
            self._submit(PackKind.DATA, groups.alone(self._namer, name, data))
            return name
        self._group.add(name, bytes(data))  # a view would keep the whole block that it was cut from
        if self._group.full:
            self._end_group()
        return name

    def name(self, data: Buffer) -> Name:
        """The name of a chunk; see the port."""
        return self._namer.chunk(data)

    def page(self, refs: bytes, body: bytes) -> Name:
        """Take one page; see the port."""
        name = self._namer.page(refs, body)
        if not self.known(name):
            self._remember(name)
            self._submit(PackKind.PAGES, Contents(FrameKind.PAGE, name, refs, body, body.__eq__))
        return name

    def known(self, name: Name) -> bool:
        """Whether the vault has it, or will have it when this session is flushed."""
        return name in self._new or self._session.index.known(name)

    def cut(self, read_into: FillBuffer) -> Iterator[memoryview]:
        """Chunks of a stream."""
        return Chunker(self._sizes, self._namer.seed).cut(read_into)

    def flush(self) -> None:
        """Land everything and publish its index run. Raises what went wrong in the threads."""
        self._end_group()
        for draft in list(self._drafts.values()):
            self._close(draft)
        self._drafts.clear()
        with self._state:
            self._state.wait_for(lambda: self._failure is not None or not self._drafts_open)
        self._raise_failure()
        self._publish()
        self._new.clear()

    def cancel(self, why: KnowngoodError) -> None:
        """Whoever adds, or waits, is told so from now on; from any thread."""
        with self._state:
            self._failure = self._failure or why
            self._state.notify_all()

    def close(self) -> None:
        """End the threads. What has landed need not land again in the next session; the rest is forgotten."""
        self._sealers.shutdown(cancel_futures=True)
        self._landers.shutdown(cancel_futures=True)
        with suppress(KnowngoodError):  # after a failure, which is on its way up already
            self._publish()

    def _publish(self) -> None:
        if self._rows:
            self._session.publish(self._packs, self._rows)
            self._rows, self._packs = [], {}

    def _remember(self, name: bytes) -> None:
        if len(self._new) >= ROWS_IN_MEMORY:
            self.flush()
        self._new.add(name)

    def _end_group(self) -> None:
        if contents := self._group.end():
            self._submit(PackKind.DATA, contents)

    def _submit(self, pack: PackKind, contents: Contents) -> None:
        draft = self._drafts.get(pack)
        if draft is None:
            draft = _Draft(pack, ContentKey.generate(self._session.public, self._session.vault_id))
            self._drafts[pack] = draft
            with self._state:
                self._state.wait_for(lambda: self._failure is not None or self._drafts_open < OPEN_PACKS)
                self._drafts_open += 1
            self._raise_failure()
        size = len(contents.payload)
        with self._state:
            self._state.wait_for(lambda: self._failure is not None or self._unsealed < UNSEALED_BYTES)
            self._unsealed += size
            draft.waiting += 1
        self._raise_failure()
        draft.raw += size
        sequence, draft.sequence = draft.sequence, draft.sequence + 1
        if draft.raw >= PACK_RAW_BYTES:
            draft.closed = True
            del self._drafts[pack]
        done = self._sealers.submit(seal_frame, contents, draft.key.key, draft.key.key_id, sequence)
        done.add_done_callback(lambda sealed: self._sealed(draft, size, sealed))

    def _close(self, draft: _Draft) -> None:
        with self._state:
            draft.closed = True
            if draft.waiting:
                return
        self._landers.submit(self._land, draft)

    def _sealed(self, draft: _Draft, size: int, done: Future[list[Buffer]]) -> None:
        with self._state:
            self._unsealed -= size
            draft.waiting -= 1
            wrong = CancelledError() if done.cancelled() else done.exception()
            if wrong is None:
                draft.frames.append(done.result())
            else:
                self._failure = self._failure or wrong
            finished = draft.closed and not draft.waiting and self._failure is None
            self._state.notify_all()
        if finished:
            self._landers.submit(self._land, draft)

    def _land(self, draft: _Draft) -> None:
        try:
            pack = build_pack(draft.kind, [draft.key.frame], draft.frames)
            draft.frames = []
            self._session.land(pack)
            rows = [make_row(each.name, pack.name, each.offset, each.length) for each in pack.placed]
            with self._state:
                self._rows.extend(rows)
                self._packs[pack.name] = pack.kind
                self._drafts_open -= 1
                self.landed_bytes += pack.size
                self._progress.landed_bytes = self.landed_bytes
                self._state.notify_all()
        except BaseException as wrong:  # noqa: BLE001 - handed to the thread that waits
            with self._state:
                self._failure = self._failure or wrong
                self._state.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
