"""From the spool into the vault: what waited becomes a part of the log as it is, if it continues it exactly.

Nothing is opened and nothing is sealed again: frames are laid into packs. Many ticks share a segment and a commit. What
does not fit is not made to fit: whoever asked is told, and the log gets a gap. A tick that makes a checkpoint begins a
new chain, so that it fits wherever the log ends; its segment and the point that has the checkpoint are one commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged
from knowngood.core.ids import NAME_BYTES, Name
from knowngood.core.log import NO_FRAME
from knowngood.core.model import Checkpoint, Point, Position
from knowngood.core.sizes import MIB
from knowngood.seal.frame import Frame, FrameKind, read_frame
from knowngood.vault.catalog import Catalog
from knowngood.vault.pack import PackKind, SealedPack, build_pack, frame_parts
from knowngood.vault.record import PlainSegment
from knowngood.vault.run import make_row
from knowngood.vault.session import Session
from knowngood.vault.spool import Spool, SpooledBase, SpooledTick
from knowngood.vault.vault import Vault

SEGMENT_BYTES = 8 * MIB
PACK_BYTES = 32 * MIB
_PACKS = {FrameKind.DATA: PackKind.DATA, FrameKind.PAGE: PackKind.PAGES}


@dataclass(frozen=True, slots=True)
class SpoolLanded:
    """How many records are in the log now that were not before; how many never will be, and why. `follows`: the log
    ends now where the spool did."""

    records: int = 0
    dropped: int = 0
    reason: str = ""
    follows: bool = True


PointOf = Callable[[Checkpoint], Point]
"""The point that has a checkpoint which waited."""


def land_spool(spool: Spool, vault: Vault, session: Session, catalog: Catalog, point_of: PointOf) -> SpoolLanded:
    """Add what waits to the log of its timeline, in a session that was opened for that, and empty the spool.

    Memory: a pack of 32 MiB, and a segment. Raises what the store raises, and Fenced: then the spool is as it was, or
    shorter, and this can be called again, also when nobody knows whether the last commit came about.
    """
    catalog.follow(vault.store, None, vault.id, settled=True)  # what is in the log already need not wait any more
    newest = catalog.log.newest(spool.timeline)
    end = Position(newest.end, newest.last) if newest else Position(0, NO_FRAME)
    waiting = list(spool.ticks)
    start = _start(waiting, end)
    landing, done, reason = _Landing(spool, vault, session, catalog, point_of), 0, ""
    dropped = _count(waiting[:start]) if start and waiting[start - 1].after != end else 0
    if dropped or (waiting and start is None):
        reason = "the log in the vault does not end where what waited here begins"
    follows = start is not None
    for tick in waiting[start or 0 :]:
        if not follows and tick.base is None:
            dropped += tick.part.count
            continue
        try:
            landing.take(tick)
            done, follows = done + tick.part.count, True
        except Damaged as wrong:
            landing.commit()
            dropped, reason, follows = dropped + tick.part.count, wrong.message, False
    landing.commit()
    spool.clear()
    return SpoolLanded(done, dropped, reason, follows)


def _start(ticks: list[SpooledTick], end: Position) -> int | None:
    """The number of the first one after the end of the log; None when it ends in none of their places. Some may be in
    it already."""
    for at, tick in enumerate(ticks):
        if tick.before == end or (tick.base is not None and tick.part.first >= end.sequence):
            return at
    return len(ticks) if not ticks or ticks[-1].after == end else None


def _count(ticks: list[SpooledTick]) -> int:
    return sum(each.part.count for each in ticks)


class _Landing:
    """Gathers frames of ticks into packs and segments."""

    def __init__(self, spool: Spool, vault: Vault, session: Session, catalog: Catalog, point_of: PointOf) -> None:
        self._spool = spool
        self._vault = vault
        self._session = session
        self._catalog = catalog
        self._point_of = point_of
        self._content: dict[PackKind, list[bytes]] = {PackKind.DATA: [], PackKind.PAGES: []}
        self._content_bytes = 0
        self._placed: dict[bytes, int] = {}  # packs that have landed, and their rows
        self._rows: list[bytes] = []
        self._names: set[bytes] = set()  # of the chunks that have landed, or will have
        self._log: list[bytes] = []
        self._log_bytes = 0
        self._part: PlainSegment | None = None

    def take(self, tick: SpooledTick) -> None:
        """One more tick. Raises Damaged, and takes nothing, when it cannot be a part of the log."""
        if tick.base is not None:
            self.commit()
            self._require_relied(tick.base)
        log: list[bytes] = []
        for kind, body in self._spool.read(tick):
            if kind == FrameKind.LOG:
                log.append(body)
            else:
                self._take_content(_PACKS[kind], body)
        self._require_whole(tick, [read_frame(each, checked=False) for each in log])
        self._log += log
        self._log_bytes += sum(map(len, log))
        part = self._part or replace(tick.part, count=0, references=0)
        self._part = replace(
            part,
            count=part.count + tick.part.count,
            last=tick.part.last,
            references=part.references + tick.part.references,
        )
        if tick.base is not None:
            self.commit(replace(tick.base.checkpoint, position=tick.after))
        elif self._log_bytes >= SEGMENT_BYTES:
            self.commit()

    def _require_relied(self, base: SpooledBase) -> None:
        """What it has not itself has to be there, and to stay there."""
        if base.relies and base.relies not in self._catalog.trusted_checkpoints(self._session.epoch.purged):
            raise Damaged("the checkpoint that it goes on from is not kept any more")

    def _require_whole(self, tick: SpooledTick, log: list[Frame]) -> None:
        last = log[-1].names if log else b""
        if last != tick.part.last or sum(each.header.refs for each in log) != tick.part.references:
            raise Damaged("what waited here is not what was written")
        for name in (name for each in log for name in _names(each.refs)):
            if name not in self._names and not self._session.index.known(Name(name)):
                raise Damaged("content that a change needs is neither here nor in the vault")

    def _take_content(self, pack: PackKind, body: bytes) -> None:
        names = [name for name in _names(read_frame(body, checked=False).names) if name not in self._names]
        if all(self._session.index.known(Name(name)) for name in names):
            return
        self._names.update(names)
        self._content[pack].append(body)
        self._content_bytes += len(body)
        if self._content_bytes >= PACK_BYTES:
            self._land_content()

    def _land_content(self) -> None:
        for kind, frames in self._content.items():
            if not frames:
                continue
            pack = self._pack(kind, frames)
            self._content[kind] = []
            self._session.land(pack)
            self._placed[pack.name] = pack.kind
            self._rows += (make_row(each.name, pack.name, each.offset, each.length) for each in pack.placed)
        self._content_bytes = 0

    def _pack(self, kind: PackKind, frames: list[bytes]) -> SealedPack:
        keys = dict.fromkeys(read_frame(each, checked=False).header.key_id for each in frames)
        heads: list[list[Buffer]] = [[self._key(key)] for key in keys]
        return build_pack(kind, heads, [frame_parts(each) for each in frames])

    def _key(self, key: bytes) -> bytes:
        if key not in self._spool.keys:
            raise Damaged("the content key of what waited here is missing")
        return self._spool.keys[key]

    def commit(self, base: Checkpoint | None = None) -> None:
        """Make all that was taken visible: content, its run, the segment, the commit; and the point of a base."""
        if self._part is None:
            return
        self._land_content()
        if self._rows:
            self._session.publish(self._placed, self._rows)
            self._placed, self._rows = {}, []
        pack = self._pack(PackKind.SEGMENT, self._log)
        self._session.land(pack)
        self._session.require_announced()
        records, hidden = (), None
        if base is not None:
            records, hidden = self._vault.records_of(self._point_of(base), (base,))
        segment = replace(self._part, pack=pack.name)
        self._vault.commit_records(self._session, self._catalog, (segment, *records), hidden)
        end, self._part = self._part.end, None
        self._log, self._log_bytes = [], 0
        self._spool.forget(end)


def _names(laid: bytes) -> Iterator[bytes]:
    return (laid[at : at + NAME_BYTES] for at in range(0, len(laid), NAME_BYTES))
