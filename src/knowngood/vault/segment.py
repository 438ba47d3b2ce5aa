"""Segments: packs of LOG frames (docs/format.md, section Log frames and segments). One timeline, one part of its chain.

Frames are sealed like all others. A content key serves many segments in a row, each of which carries it: to replay a
day of small segments then takes few private-key operations. Its frames are numbered over all of them.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from blake3 import blake3

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged, NotFound
from knowngood.core.ids import NAME_BYTES, short
from knowngood.core.log import LogRecord
from knowngood.core.ports import Store
from knowngood.seal.frame import Contents, FrameKind, read_frame, seal_frame
from knowngood.seal.keys import PublicKey
from knowngood.seal.names import Namer
from knowngood.tree.log import LogHead, log_records, read_log_head
from knowngood.vault.layout import pack_key
from knowngood.vault.opener import Opener
from knowngood.vault.pack import ContentKey, PackKind, SealedPack, Walked, build_pack, pack_head, walk_pack
from knowngood.vault.record import PlainSegment

KEY_FRAMES = 1024  # how many frames one content key seals


class LogSealer:
    """Seals LOG frames, and lays them into segments."""

    def __init__(self, public: PublicKey, vault_id: bytes, namer: Namer) -> None:
        self._public = public
        self._vault_id = vault_id
        self._namer = namer
        self._key: ContentKey | None = None
        self._sequence = 0
        self._keys: dict[bytes, list[Buffer]] = {}  # those of the frames that wait
        self._frames: list[list[Buffer]] = []

    def seal(self, refs: bytes, payload: bytes) -> bytes:
        """Seal one frame, which then waits for its segment; return its name. Raises Damaged, see `seal_frame`."""
        if self._key is None or self._sequence == KEY_FRAMES:
            self._key, self._sequence = ContentKey.generate(self._public, self._vault_id), 0
        sequence, self._sequence = self._sequence, self._sequence + 1  # never twice, also when something fails
        name = self._namer.log(refs, payload)
        contents = Contents(FrameKind.LOG, name, refs, payload, payload.__eq__)
        self._frames.append(seal_frame(contents, self._key.key, self._key.key_id, sequence))
        self._keys[self._key.key_id] = self._key.frame
        return name

    def take(self) -> tuple[dict[bytes, list[Buffer]], list[list[Buffer]]]:
        """The frames that wait, in order, and those of their content keys by key id."""
        keys, frames = self._keys, self._frames
        self._keys, self._frames = {}, []
        return keys, frames

    def drop(self) -> None:
        """Forget the frames that wait. Their numbers are never used again."""
        self.take()

    def segment(self) -> SealedPack:
        """The segment of all frames that wait."""
        keys, frames = self.take()
        return build_pack(PackKind.SEGMENT, list(keys.values()), frames)


@dataclass(frozen=True, slots=True)
class LogFrame:
    """A LOG frame that was opened and proven."""

    name: bytes
    head: LogHead
    refs: bytes
    payload: bytes

    def records(self) -> Iterator[LogRecord]:
        """Its records in order. Raises Damaged, Unsupported, after those before."""
        return log_records(self.refs, self.payload)


def walk_segment(store: Store, pack: bytes) -> Iterator[Walked]:
    """The frames of a segment without their bodies and without any key. Raises NotFound, Damaged."""
    return _walk(store.view(pack_key(PackKind.SEGMENT, pack)), pack)


def _walk(view: bytes | mmap.mmap, pack: bytes) -> Iterator[Walked]:
    head = pack_head(lambda offset, length: view[offset : offset + length])
    if head.kind != PackKind.SEGMENT:
        raise Damaged(f"segment {short(pack)} is a pack of another kind")
    for frame in walk_pack(lambda offset, length: view[offset : offset + length], len(view)):
        if frame.header.kind != FrameKind.LOG or frame.header.names != 1:
            raise Damaged(f"segment {short(pack)} holds something else than a log")
        yield frame


def segment_refs(store: Store, segment: PlainSegment) -> Iterator[bytes]:
    """The references of each frame, laid end to end, without any key. Raises NotFound, Damaged."""
    if not segment.references:
        return
    count, name = 0, b""
    for frame in walk_segment(store, segment.pack):
        count, name = count + frame.header.refs, frame.names
        yield frame.refs
    if (count, name) != (segment.references, segment.last):
        raise Damaged(f"segment {short(segment.pack)} is not what its commit says")


def holds_all(store: Store, folded: PlainSegment, parts: Iterable[PlainSegment]) -> bool:
    """Whether a segment is there, byte for byte as its name says, and has the frames of all these parts."""
    try:
        view = store.view(pack_key(PackKind.SEGMENT, folded.pack))
        names = [frame.names for frame in _walk(view, folded.pack)]
    except (NotFound, Damaged):
        return False
    if blake3(view).digest() != folded.pack or not names or names[-1] != folded.last:
        return False
    ends = {folded.previous, *names}
    return all(part.last in ends and part.previous in ends for part in parts)


def open_segment(store: Store, segment: PlainSegment, opener: Opener, namer: Namer) -> Iterator[LogFrame]:
    """The frames of a segment, each proven by its name and by its place in the chain.

    Memory: one frame. Raises NotFound, Locked, Unsupported; Damaged where something is not what was written, or not
    what the commit says of it.
    """
    key = pack_key(PackKind.SEGMENT, segment.pack)
    view = store.view(key)
    at, previous, references = segment.first, segment.previous, 0
    for walked in _walk(view, segment.pack):
        frame = read_frame(view[walked.offset : walked.offset + walked.header.total_bytes], checked=False)
        payload = opener.open(frame, key)
        name = namer.log(frame.refs, payload)
        if name != frame.names:
            raise Damaged(f"a frame of segment {short(segment.pack)} does not match its name")
        head = read_log_head(payload)
        if (head.timeline, head.first, head.previous) != (segment.timeline, at, previous):
            raise Damaged(f"a frame of segment {short(segment.pack)} is not the one that comes next")
        at, previous, references = head.end, name, references + len(frame.refs) // NAME_BYTES
        yield LogFrame(name, head, frame.refs, payload)
    if (at, previous, references) != (segment.end, segment.last, segment.references):
        raise Damaged(f"segment {short(segment.pack)} is not what its commit says")
