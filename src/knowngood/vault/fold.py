"""Folding: many small segments of a log become a large one. The frames are copied as they are; no key takes part.

1. the new segment lands, and is read back
2. its commit says that it stands for all that lies between its numbers
3. only then, and while nobody else is in the vault who might still look for them, the old commits go, and then the old
   segments; or else a later folding, or a collection, takes them away

Cut anywhere, the log is whole: between 2 and 3 it is there twice, and everybody takes the new one. Whoever folds is
alone (an exclusive session), so no two new segments ever overlap by halves. What is thinned is left as it is: its undo
window has to end first. So is the newest segment, which says where the log ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged, NotFound
from knowngood.core.ids import NAME_BYTES
from knowngood.core.log import NO_FRAME
from knowngood.core.progress import Progress
from knowngood.core.sizes import MIB
from knowngood.seal.frame import read_frame
from knowngood.vault.catalog import Catalog
from knowngood.vault.epoch import latest_epoch
from knowngood.vault.layout import SEGMENTS, name_in, pack_key
from knowngood.vault.pack import PackKind, SealedPack, build_pack, frame_parts, read_keys
from knowngood.vault.parity.keep import release
from knowngood.vault.record import FoldedSegment, PlainSegment, decode_commit
from knowngood.vault.segment import holds_all, walk_segment
from knowngood.vault.session import Session, list_sessions
from knowngood.vault.vault import Vault

FOLD_FROM = 64
"""So many small segments in a row are worth it: fewer, and what is folded would be folded again too often."""

FULL_BYTES = 4 * MIB
"""A segment of this size is not folded any more."""

LARGEST_BYTES = 8 * MIB
_AT_ONCE = 64  # commits that go together, and then their segments


@dataclass
class Folded:
    """What folding did: `segments` became `into` others; `deleted` ones are gone. `waiting` ones are to go later."""

    segments: int = 0
    into: int = 0
    deleted: int = 0
    waiting: int = 0


def chosen(sizes: Sequence[int]) -> list[range]:
    """Of the sizes of small segments in a row, oldest first: which ones become one.

    The newest FOLD_FROM go, and those before them that are not larger than all that go already. So every byte is copied
    about as often as its segment doubles, and what stays are segments of ever greater sizes: a dozen at most.
    """
    if len(sizes) < FOLD_FROM:
        return []
    start = len(sizes) - FOLD_FROM
    total = sum(sizes[start:])
    while start and sizes[start - 1] <= total:
        start -= 1
        total += sizes[start]
    groups: list[range] = []
    held = 0
    for at in range(start, len(sizes)):
        if not groups or held + sizes[at] > LARGEST_BYTES:
            groups.append(range(at, at))
            held = 0
        groups[-1] = range(groups[-1].start, at + 1)
        held += sizes[at]
    return [each for each in groups if len(each) > 1]


def fold(
    vault: Vault, catalog: Catalog, progress: Progress, timeline: bytes | None = None, most: int | None = None
) -> Folded:
    """Fold the logs of a vault, or one of them, and take away what earlier foldings left: `most` commits at once, for
    who has little time. Nothing happens where nothing is worth it, nor in a vault that was made before there was
    folding.

    Raises Busy when somebody else keeps the vault in order, Fenced; what the store raises. It may be cut anywhere.
    """
    if not vault.folds:
        return Folded()
    catalog.follow(vault.store, None, vault.id)
    logs = [each for each in catalog.log.timelines() if timeline in (None, each)]
    if not any(catalog.log.replaced(each) or catalog.log.count(each) > FOLD_FROM for each in logs):
        return Folded()
    with vault.session("fold", without_index=True, exclusive=True) as session:
        return _Folding(vault, session, catalog, progress).run(logs, most)


class _Folding:
    def __init__(self, vault: Vault, session: Session, catalog: Catalog, progress: Progress) -> None:
        self._vault = vault
        self._store = vault.store
        self._session = session
        self._catalog = catalog
        self._progress = progress
        self._done = Folded()
        self._bad: set[bytes] = set()  # segments of which a frame is damaged: they stay as they are

    def run(self, logs: list[bytes], most: int | None) -> Folded:
        self._progress.enter("folding logs")
        self._catalog.follow(self._store, None, self._vault.id, settled=True)
        if self._catalog.damaged():
            return self._done  # one of them may hide a part of a log
        epoch = latest_epoch(self._store)
        self._going = {*epoch.condemned, *(pack for pack, _ in epoch.deleted)}
        self._bad |= set(epoch.purged)
        self._sizes = {name_in(each.key): each.size for each in self._store.list(SEGMENTS)}
        for timeline in logs:
            while not all(self._merge(group) for group in list(self._groups(timeline))):
                pass  # a damaged one was found, and parts the row
        self._take_away([each for timeline in logs for each in self._catalog.log.replaced(timeline)], most)
        return self._done

    # ------------------------------------------------------------------------------------------------------ merging

    def _groups(self, timeline: bytes) -> Iterator[list[PlainSegment]]:
        for row in self._rows(timeline):
            for numbers in chosen([self._sizes[each.pack] for each in row]):
                yield [row[at] for at in numbers]

    def _rows(self, timeline: bytes) -> Iterator[list[PlainSegment]]:
        """Small segments, each of which continues the one before."""
        newest = self._catalog.log.newest(timeline)
        row: list[PlainSegment] = []
        for each in self._catalog.log.covering(timeline, 0):
            size = self._sizes.get(each.pack, FULL_BYTES)
            small = size < FULL_BYTES and each != newest and each.pack not in self._bad
            follows = bool(row) and (each.first, each.previous) == (row[-1].end, row[-1].last)
            if row and not (small and follows and each.previous != NO_FRAME):
                yield row
                row = []
            if small:
                row.append(each)
        if row:
            yield row

    def _merge(self, group: list[PlainSegment]) -> bool:
        """Put one in the place of several. False when one of them cannot be read."""
        keys: dict[bytes, list[Buffer]] = {}
        frames: list[list[Buffer]] = []
        for each in group:
            try:
                frames += self._frames(each, keys)
            except (Damaged, NotFound):
                self._bad.add(each.pack)
                return False
        pack = build_pack(PackKind.SEGMENT, list(keys.values()), frames)
        if pack.name not in self._going:
            self._put(pack, group)
        elif len(group) > 2:  # an interrupted folding left just this one, and it may vanish at any time
            return self._merge(group[:-1])
        return True

    def _frames(self, segment: PlainSegment, keys: dict[bytes, list[Buffer]]) -> Iterator[list[Buffer]]:
        """The frames of a segment, each of them proven; their content keys are added to `keys`."""
        raw = self._store.get(pack_key(PackKind.SEGMENT, segment.pack))
        there = read_keys(lambda offset, length: raw[offset : offset + length])
        last, references = b"", 0
        for walked in walk_segment(self._store, segment.pack):
            part = raw[walked.offset : walked.offset + walked.header.total_bytes]
            frame = read_frame(part)
            if frame.header.key_id not in there:
                raise Damaged("a frame's content key is missing from its segment")
            keys.setdefault(frame.header.key_id, [there[frame.header.key_id]])
            last, references = frame.names, references + len(frame.refs) // NAME_BYTES
            yield frame_parts(part)
        if (last, references) != (segment.last, segment.references):
            raise Damaged("a segment is not what its commit says")

    def _put(self, pack: SealedPack, group: list[PlainSegment]) -> None:
        first, last = group[0], group[-1]
        whole = FoldedSegment(
            first.timeline,
            pack.name,
            first.first,
            last.end - first.first,
            first.previous,
            last.last,
            sum(each.references for each in group),
        )
        self._session.land(pack)
        if not holds_all(self._store, whole, group):
            raise Damaged("a segment does not read back as it was written", hint="test the vault's disk")
        self._session.require_announced()
        self._vault.commit_records(self._session, self._catalog, (whole,))
        self._done.segments += len(group)
        self._done.into += 1
        self._progress.bytes += pack.size

    # ------------------------------------------------------------------------------------------------- taking away

    def _take_away(self, replaced: list[tuple[str, PlainSegment, PlainSegment]], most: int | None) -> None:
        """Delete what was folded, if nobody is here who may have looked before: readers would miss it, and a session
        whose commits go could not be fenced any more."""
        self._done.waiting = len(replaced)
        if any(card.id != self._session.id for card in list_sessions(self._store)):
            return
        inside: dict[PlainSegment, list[PlainSegment]] = {}
        held: dict[str, list[PlainSegment]] = {}
        for key, part, whole in replaced:
            inside.setdefault(whole, []).append(part)
            held.setdefault(key, []).append(part)
        kept = {each for whole, parts in inside.items() if not holds_all(self._store, whole, parts) for each in parts}
        sure = (
            (key, parts) for key, parts in held.items() if kept.isdisjoint(parts) and self._says_no_more(key, parts)
        )
        going = dict(islice(sure, most))
        parted = [pack_key(PackKind.SEGMENT, part.pack) for parts in going.values() for part in parts]
        release(self._session, [*going, *parted])
        for at in range(0, len(going), _AT_ONCE):
            keys = list(going)[at : at + _AT_ONCE]
            packs = [pack_key(PackKind.SEGMENT, part.pack) for key in keys for part in going[key]]
            self._session.delete(*keys)
            self._session.delete(*packs)
            self._done.deleted += len(packs)
            self._done.waiting -= len(packs)
        self._catalog.follow(self._store, None, self._vault.id)

    def _says_no_more(self, key: str, parts: list[PlainSegment]) -> bool:
        """Whether a commit holds these segments and nothing else."""
        packs = {each.pack for each in parts}
        with suppress(NotFound, Damaged):
            records = decode_commit(self._store.get(key)).commit.records
            return all(isinstance(each, PlainSegment) and each.pack in packs for each in records)
        return False
