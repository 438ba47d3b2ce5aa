"""Reads a vault with its private key: names → pages and chunks, each proven against its name."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged, KnowngoodError, NotFound
from knowngood.core.ids import Name, short
from knowngood.core.ports import Store
from knowngood.core.sizes import MIB
from knowngood.seal.frame import FrameKind, read_frame, split_chunks
from knowngood.seal.keys import PrivateKey
from knowngood.seal.names import Namer
from knowngood.vault.epoch import latest_epoch
from knowngood.vault.index import Index
from knowngood.vault.layout import pack_key
from knowngood.vault.opener import Opener
from knowngood.vault.run import Location

CACHE_BYTES = 64 * MIB


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """A frame's contents by name, a page's references, the bytes all this takes, and which frame it is."""

    where: tuple[bytes, int]
    contents: dict[bytes, Buffer]
    refs: bytes
    size: int


class Reader:
    """Pages and chunks by name (port PageSource). Safe to use from many threads; a frame is opened once for all."""

    def __init__(self, store: Store, index: Index, private: PrivateKey, namer: Namer, vault_id: bytes) -> None:
        self._store = store
        self._index = index
        self._epoch = -1  # at which the index was opened again
        self._opener = Opener(store, private, vault_id)
        self._namer = namer
        self._lock = threading.Lock()
        self._frames: OrderedDict[tuple[bytes, int], Future[_Opened]] = OrderedDict()
        self._frame_bytes = 0
        self._by_name: dict[bytes, _Opened] = {}  # what the frames at hand hold: most chunks lie beside the last one
        self._latest: _Opened | None = None

    def chunk(self, name: Name) -> Buffer:
        """A chunk's content. Raises NotFound, Damaged."""
        return self._opened(name).contents[name]

    def page(self, name: Name) -> tuple[bytes, bytes]:
        """A page's references and body. Raises NotFound, Damaged."""
        opened = self._opened(name)
        return opened.refs, bytes(opened.contents[name])

    def _opened(self, name: bytes) -> _Opened:
        at_hand = self._by_name.get(name)
        if at_hand is None:
            return self._search(name)
        if at_hand is not self._latest:
            self._used(at_hand)
        return at_hand

    def _used(self, opened: _Opened) -> None:
        with self._lock:
            self._latest = opened
            if opened.where in self._frames:
                self._frames.move_to_end(opened.where)

    def _search(self, name: bytes) -> _Opened:
        failure: KnowngoodError | None = None
        while True:
            for location in self._index.locate(name):
                try:
                    opened = self._at(location)
                    if name in opened.contents:
                        return opened
                    failure = Damaged(f"pack {short(location.pack)} does not hold what the index says")
                except KnowngoodError as wrong:  # whatever it is, another copy may do
                    failure = wrong
            if not self._look_again():
                break
        raise failure or NotFound(
            f"the vault has no chunk {name.hex()[:16]}", hint="run: knowngood vault rebuild, then vault check"
        )

    def _look_again(self) -> bool:
        """Open the index anew: a collector may have moved the frame. False when there was no collector since."""
        epoch = latest_epoch(self._store)
        if epoch.number == self._epoch:
            return False
        self._epoch, self._index = epoch.number, Index.open(self._store, epoch)
        return True

    def _at(self, location: Location) -> _Opened:
        where = location.pack, location.offset
        mine: Future[_Opened] = Future()
        with self._lock:
            found = self._frames.setdefault(where, mine)
            self._frames.move_to_end(where)
        if found is not mine:
            return found.result()
        try:
            opened = self._open(location, where)
        except BaseException as wrong:
            with self._lock:
                if self._frames.get(where) is mine:
                    del self._frames[where]
            mine.set_exception(wrong)
            raise
        with self._lock:  # under the lock, a frame that is done is also counted, and the other way round
            mine.set_result(opened)
            if self._frames.get(where) is mine:
                self._by_name.update(dict.fromkeys(opened.contents, opened))
                self._make_room(opened.size)
        return opened

    def _make_room(self, size: int) -> None:
        self._frame_bytes += size
        while self._frame_bytes > CACHE_BYTES and len(self._frames) > 1:
            _, oldest = self._frames.popitem(last=False)
            if oldest.done():
                self._drop(oldest.result())

    def _drop(self, opened: _Opened) -> None:
        self._frame_bytes -= opened.size
        if self._latest is opened:
            self._latest = None
        for name in opened.contents:
            if self._by_name.get(name) is opened:  # another frame may hold it too
                del self._by_name[name]

    def _open(self, location: Location, where: tuple[bytes, int]) -> _Opened:
        key = pack_key(location.pack_kind, location.pack)
        try:
            frame = read_frame(self._store.get(key, location.offset, location.length), checked=False)
            payload = self._opener.open(frame, key)
        except Damaged as wrong:
            raise Damaged(
                f"{wrong.message} (pack {short(location.pack)}, at byte {location.offset})",
                hint="run: knowngood vault check --read-data",
            ) from None
        if frame.header.kind == FrameKind.PAGE:
            self._prove(frame.names, self._namer.page(frame.refs, payload))
            return _Opened(where, {frame.names: payload}, frame.refs, len(payload))
        chunks = split_chunks(frame.names, payload)
        for name, data in chunks.items():
            self._prove(name, self._namer.chunk(data))
        return _Opened(where, dict(chunks), b"", len(payload))

    def _prove(self, name: bytes, computed: bytes) -> None:
        if name != computed:
            raise Damaged("content does not match its name")
