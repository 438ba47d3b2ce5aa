"""Repacking: copy the frames that are still needed into new packs, sealed as they are; no key takes part in that.

Where the private key is at hand, groups of which only a part is needed are sifted on the way (sift.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged, Exists, KnowngoodError, Locked, StoreFailed
from knowngood.core.ports import Store
from knowngood.core.progress import Progress
from knowngood.core.sizes import MIB
from knowngood.seal.frame import Contents, Frame, read_frame, seal_frame
from knowngood.seal.keys import PublicKey
from knowngood.vault.layout import pack_key
from knowngood.vault.mark import Life, Marker
from knowngood.vault.merge import put_run
from knowngood.vault.pack import ContentKey, PackKind, build_pack, frame_parts, read_keys
from knowngood.vault.run import PACK_PREFIX, make_row
from knowngood.vault.sift import Sifter

PACK_BYTES = 32 * MIB
ROWS_IN_MEMORY = 1 << 17
_SEALERS = 2  # so many groups are being sealed while the next ones are opened


@dataclass
class Moved:
    """Where the copied frames lie now. Bytes."""

    packs: dict[bytes, int] = field(default_factory=dict)
    runs: list[bytes] = field(default_factory=list)
    copied_bytes: int = 0
    spared: set[bytes] = field(default_factory=set)  # packs that could not be copied from, and have to stay
    _rows: set[bytes] = field(default_factory=set)

    def place(self, store: Store, rows: Iterable[bytes], limit: int) -> None:
        """Take rows; put an index run when there are more than `limit`."""
        self._rows.update(rows)
        if len(self._rows) > limit:
            self.runs.append(put_run(store, self.packs, sorted(self._rows)))
            self._rows.clear()


@dataclass(frozen=True, slots=True, repr=False)
class Sifting:
    """What it takes to open groups and to seal others: chunks go in at one end of `sifter` and out at the other."""

    sifter: Sifter
    public: PublicKey
    vault_id: bytes


class _Copy:
    """A new pack being gathered."""

    def __init__(
        self,
        store: Store,
        kind: int,
        moved: Moved,
        marker: Marker,
        sifting: Sifting | None,
        sealers: ThreadPoolExecutor,
    ) -> None:
        self._store = store
        self._kind = PackKind(kind)
        self._moved = moved
        self._marker = marker
        self._sifting = sifting
        self._keys: dict[bytes, list[Buffer]] = {}
        self._frames: list[list[Buffer]] = []
        self._bytes = 0
        self._own: ContentKey | None = None  # of the frames that are sealed here
        self._sequence = 0
        self._sealers = sealers
        self._sealing: deque[Future[list[Buffer]]] = deque()  # with the key of the pack that is being gathered

    def add(self, pack: bytes, frames: dict[int, Life]) -> None:
        """Take what is needed out of these frames of a pack.

        Raises Damaged when one is not intact, Locked: the pack has to stay then, and what was copied lies twice.
        """
        key = pack_key(self._kind, pack)
        keys = read_keys(lambda offset, length: self._store.get(key, offset, length))
        for offset, life in frames.items():
            if read_frame(self._store.get(key, offset, life.length)).header.key_id not in keys:
                raise Damaged("a frame's content key is missing from its pack")
        for offset, life in sorted(frames.items()):
            raw = self._store.get(key, offset, life.length)
            frame = read_frame(raw)
            if self._sifting and life.needed < frame.header.names:
                self._sift(self._sifting, frame, pack, offset)
                continue
            self._take_key(frame.header.key_id, [keys[frame.header.key_id]])
            self._take(frame_parts(raw))

    def _sift(self, sifting: Sifting, frame: Frame, pack: bytes, offset: int) -> None:
        prefix = pack[:PACK_PREFIX]
        needed = sifting.sifter.needed(
            frame, pack_key(self._kind, pack), lambda name: self._marker.is_needed(name, prefix, offset)
        )
        for contents in sifting.sifter.regroup(needed):
            self._seal(sifting, contents)

    def _seal(self, sifting: Sifting, contents: Contents) -> None:
        if self._own is None:
            self._own, self._sequence = ContentKey.generate(sifting.public, sifting.vault_id), 0
        sequence, self._sequence = self._sequence, self._sequence + 1
        self._take_key(self._own.key_id, self._own.frame)
        sealed = self._sealers.submit(seal_frame, contents, self._own.key, self._own.key_id, sequence)
        self._sealing.append(sealed)
        if len(self._sealing) > _SEALERS:
            self._take(self._sealed())

    def _sealed(self) -> list[Buffer]:
        """The first of those that are being sealed. Where that fails, chunks of any pack before are lost with it: none
        of these may go."""
        try:
            return self._sealing.popleft().result()
        except Damaged as wrong:
            raise KnowngoodError(wrong.message, hint=wrong.hint) from None

    def _take(self, frame: list[Buffer]) -> None:
        self._frames.append(frame)
        self._bytes += sum(map(len, frame))
        if self._bytes >= PACK_BYTES:
            self._put()

    def _take_key(self, key_id: bytes, frame: list[Buffer]) -> None:
        if key_id not in self._keys:
            self._keys[key_id] = frame
            self._bytes += sum(map(len, frame))  # many small packs bring more keys than content along

    def end(self) -> None:
        """Put all that was taken."""
        if self._sifting:
            for contents in self._sifting.sifter.rest():
                self._seal(self._sifting, contents)
        self._put()

    def _put(self) -> None:
        while self._sealing:
            self._frames.append(self._sealed())
        if not self._frames:
            return
        pack = build_pack(self._kind, list(self._keys.values()), self._frames)
        with suppress(Exists):  # an interrupted collection had copied just these frames
            self._store.put(pack_key(pack.kind, pack.name), pack.parts)
            self._moved.copied_bytes += pack.size
        self._moved.packs[pack.name] = pack.kind
        rows = (make_row(each.name, pack.name, each.offset, each.length) for each in pack.placed)
        self._moved.place(self._store, rows, ROWS_IN_MEMORY)
        self._keys, self._frames, self._bytes, self._own = {}, [], 0, None


def repack(
    store: Store, marker: Marker, packs: dict[bytes, int], progress: Progress, sifting: Sifting | None = None
) -> Moved:
    """Copy what is needed of `packs` (name → kind) elsewhere, and put index runs that tell of the copies.

    The old packs are left as they are. One that is damaged is spared: what it holds stays as readable as it is.
    """
    moved = Moved()
    with ThreadPoolExecutor(_SEALERS, "reseal") as sealers:
        for kind in sorted(set(packs.values())):
            copy = _Copy(store, kind, moved, marker, sifting, sealers)
            _copy_all(copy, sorted(pack for pack, its in packs.items() if its == kind), marker, moved, progress)
    moved.place(store, (), 0)
    return moved


def _copy_all(copy: _Copy, chosen: list[bytes], marker: Marker, moved: Moved, progress: Progress) -> None:
    for start in range(0, len(chosen), 256):
        some = chosen[start : start + 256]
        live = marker.live_frames({pack[:PACK_PREFIX] for pack in some})
        for pack in some:
            try:
                copy.add(pack, live.get(pack[:PACK_PREFIX], {}))
            except (Damaged, StoreFailed, Locked):
                moved.spared.add(pack)
            progress.bytes += sum(life.length for life in live.get(pack[:PACK_PREFIX], {}).values())
    copy.end()
