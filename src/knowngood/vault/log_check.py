"""Checking logs: is each chain whole, is every segment there and as it was written, is there all that it refers to?

No key is needed; with one, what each frame holds is compared with its name. What is damaged is told by timeline, and by
the moments between which its changes came to the vault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from knowngood.core.errors import KnowngoodError
from knowngood.core.ids import NAME_BYTES, short
from knowngood.core.log import NO_FRAME
from knowngood.core.ports import Store
from knowngood.vault.finding import Finding
from knowngood.vault.layout import pack_key
from knowngood.vault.pack import PackKind
from knowngood.vault.record import PlainSegment
from knowngood.vault.segment import LogFrame, walk_segment
from knowngood.vault.standing import Standing

Wrong = Callable[[bytes], str | None]


class LogCheck:
    """Checks the logs of a vault. `damaged` tells of segments that were read in full and found wanting."""

    def __init__(self, store: Store, opened: Callable[[PlainSegment], Iterator[LogFrame]] | None) -> None:
        self._store = store
        self._opened = opened
        self.damaged: dict[bytes, str] = {}

    def findings(self, standing: Standing, purged: set[bytes], wrong: Wrong) -> list[Finding]:
        """What is wrong with the segments that are not purged. `wrong` says why a chunk cannot be read, if it cannot.

        An empty reason says that it is missing.
        """
        found: list[Finding] = []
        for timeline, log in standing.logs().items():
            kept = [segment for segment in log if segment.pack not in purged]
            after = 0
            end, last = 0, NO_FRAME
            for segment in kept:
                received = standing.received[segment.pack]
                key = pack_key(PackKind.SEGMENT, segment.pack)
                reason = self._break(end, last, segment, standing.thinned.get(timeline, []))
                reasons = [("log", reason, True)] if reason else []
                reasons += (("segment", *each) for each in self._segment(segment, wrong))
                found += (
                    Finding(what, key, why, [], [timeline], after, received, lasting) for what, why, lasting in reasons
                )
                after, end, last = received, segment.end, segment.last
        return found

    @staticmethod
    def _break(end: int, last: bytes, segment: PlainSegment, thinned: list[tuple[int, int]]) -> str:
        """Why a segment does not continue the log that ends before number `end` with the frame `last`."""
        if segment.first < end:
            return f"it claims the place of record {segment.first}, which another segment holds"
        if segment.previous == NO_FRAME or (segment.first, segment.previous) == (end, last):
            return ""
        if segment.first == end:
            return f"it does not continue what comes before record {segment.first}"
        if _covered(end, segment.first, thinned):
            return ""
        return f"records {end} to {segment.first - 1}, which come before it, are missing, and nobody thinned them"

    def _segment(self, segment: PlainSegment, wrong: Wrong) -> Iterator[tuple[str, bool]]:
        """(reason, whether it lasts) of all that is wrong inside."""
        reason = self.damaged.get(segment.pack, "")
        lost: dict[bytes, str] = {}
        count, name = 0, b""
        try:
            for frame in walk_segment(self._store, segment.pack):
                count, name = count + frame.header.refs, frame.names
                refs = (frame.refs[at : at + NAME_BYTES] for at in range(0, len(frame.refs), NAME_BYTES))
                lost |= {ref: why or "missing" for ref in refs if (why := wrong(ref)) is not None}
            if (count, name) != (segment.references, segment.last):
                reason = reason or "it is not what its commit says"
            if self._opened is not None and not reason:
                for frame in self._opened(segment):
                    for _ in frame.records():
                        pass
        except KnowngoodError as failure:
            reason = reason or failure.message
        if reason:
            yield reason, True
        for ref, why in sorted(lost.items()):
            yield f"chunk {short(ref)}, to which it refers: {why}", False


def _covered(first: int, end: int, parts: list[tuple[int, int]]) -> bool:
    """Whether every number from `first` to before `end` lies in one of the parts."""
    for start, stop in sorted(parts):
        if start <= first < stop:
            first = stop
    return first >= end
