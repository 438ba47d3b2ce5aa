"""What stands: the points, checkpoints and segments of all commits, read from the vault itself and without any key."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Set
from dataclasses import dataclass, field

from knowngood.core.errors import Damaged, NotFound
from knowngood.core.ports import Store
from knowngood.vault.layout import COMMITS, commit_place
from knowngood.vault.record import (
    Commit,
    Expiry,
    FoldedSegment,
    PlainCheckpoint,
    PlainPoint,
    PlainSegment,
    Thinned,
    Undo,
    Unthinned,
    decode_commit,
)
from knowngood.vault.thinning import HiddenPart, hide, windows


@dataclass
class Standing:
    """Points, checkpoints, segments and what hides them, as the commits have them.

    Points are told by their ids, segments by the names of their packs: of 16 and of 32 bytes, they never meet.
    """

    points: dict[bytes, PlainPoint] = field(default_factory=dict)
    roots: dict[bytes, bytes] = field(default_factory=dict)  # checkpoint → root page
    segments: dict[bytes, PlainSegment] = field(default_factory=dict)
    received: dict[bytes, int] = field(default_factory=dict)  # segment → when the vault took it in (ns)
    keys: dict[str, list[bytes]] = field(default_factory=dict)  # commit → the points, segments it holds or speaks of
    homes: set[str] = field(default_factory=set)  # the commits that hold points or segments
    hidden_until: dict[bytes, int] = field(default_factory=dict)  # point, segment → end of its undo window (ns)
    thinned: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict)  # timeline → what was ever thinned
    replaced: dict[bytes, bytes] = field(default_factory=dict)  # segment → the one into which it was folded
    spent: set[str] = field(default_factory=set)  # commits that say nothing which another does not say as well
    damaged: dict[str, str] = field(default_factory=dict)
    latest_received: int = 0

    @property
    def there(self) -> set[bytes]:
        """Every point and segment that a commit holds."""
        return self.points.keys() | self.segments.keys()

    def logs(self) -> dict[bytes, list[PlainSegment]]:
        """Each timeline's segments in order, without those that were folded into others."""
        return self.all_segments(without=self.replaced)

    def all_segments(self, without: Container[bytes] = ()) -> dict[bytes, list[PlainSegment]]:
        """Each timeline's segments in order."""
        found: dict[bytes, list[PlainSegment]] = {}
        for segment in sorted(self.segments.values(), key=lambda each: (each.first, self.received[each.pack])):
            if segment.pack not in without:
                found.setdefault(segment.timeline, []).append(segment)
        return found

    def note_replaced(self) -> None:
        """Find out which segments were folded into others. What folds is alone, so of two that share a number, one
        holds the other."""
        widest: dict[bytes, PlainSegment] = {}
        for segment in sorted(self.segments.values(), key=lambda each: (each.first, -each.end)):
            over = widest.get(segment.timeline)
            if over is not None and segment.end <= over.end and segment.count < over.count:
                self.replaced[segment.pack] = over.pack
            elif isinstance(segment, FoldedSegment):
                widest[segment.timeline] = segment

    def purgeable(self, now_ns: int, unproven: Set[bytes] = frozenset()) -> set[bytes]:
        """Points and segments whose undo window has passed, and segments that were folded into others; never the newest
        of a log: it says where the log ends. What is `unproven` was folded, and has to stay for that alone.

        A receive time that is ahead of the clock does not count as now: a writer whose clock was wrong for a moment
        would end every window. Too late is safe.
        """
        over = {each for each, until in self.hidden_until.items() if until <= now_ns} & self.there
        over |= self.replaced.keys() - unproven
        over -= {log[-1].pack for log in self.logs().values()}
        for key in self.homes:  # segments of one commit go together, as it can only go as a whole
            segments = self.segments.keys() & self.keys[key]
            if not over.issuperset(segments):
                over -= segments
        return over

    def rootless(self) -> list[bytes]:
        """Points with a checkpoint that no commit holds: nobody can tell what they need."""
        return [
            identifier
            for identifier, point in self.points.items()
            if any(mark.checkpoint not in self.roots for mark in point.marks)
        ]

    def roots_of(self, without: set[bytes]) -> dict[bytes, list[bytes]]:
        """Root page → the points that need it, for all points but those in `without`."""
        needed: dict[bytes, list[bytes]] = {}
        for identifier, point in self.points.items():
            if identifier in without:
                continue
            for mark in point.marks:
                if mark.checkpoint in self.roots:
                    needed.setdefault(self.roots[mark.checkpoint], []).append(identifier)
        return needed


class _Reading:
    """Takes commits in any order; what hides and brings back takes effect in the order of arrival."""

    def __init__(self) -> None:
        self.standing = Standing()
        self._changes: list[tuple[int, str, Expiry | Undo]] = []
        self._thinnings: list[tuple[int, str, Thinned | Unthinned]] = []

    def take(self, key: str, commit: Commit) -> None:
        """One commit."""
        standing, about = self.standing, list(commit.about)
        standing.latest_received = max(standing.latest_received, commit.received_ns)
        for record in commit.records:
            if isinstance(record, PlainPoint):
                standing.points[record.id] = record
                standing.homes.add(key)
                about.append(record.id)
            elif isinstance(record, PlainSegment):
                standing.segments[record.pack] = record
                standing.received[record.pack] = commit.received_ns
                standing.homes.add(key)
                about.append(record.pack)
            elif isinstance(record, PlainCheckpoint):
                standing.roots[record.id] = record.root
            elif isinstance(record, Thinned | Unthinned):
                self._thinnings.append((commit.received_ns, key, record))
            elif isinstance(record, Expiry | Undo):
                self._changes.append((commit.received_ns, key, record))
                about.extend(record.points)
        standing.keys[key] = about

    def done(self) -> Standing:
        """All of it."""
        self.standing.note_replaced()
        until = self.standing.hidden_until
        for received, _, record in sorted(self._changes, key=_arrival):
            for point in record.points:
                if isinstance(record, Expiry):
                    until[point] = received + record.undo_ns
                else:
                    until.pop(point, None)
        self._thin()
        return self.standing

    def _thin(self) -> None:
        standing = self.standing
        logs = standing.all_segments() if self._thinnings else {}
        ordered = sorted(self._thinnings, key=_arrival)
        parts: dict[bytes, list[HiddenPart]] = {}
        for received, _, record in ordered:
            parts[record.timeline] = hide(parts.get(record.timeline, []), received, record)
            if isinstance(record, Thinned):
                standing.thinned.setdefault(record.timeline, []).append((record.first, record.end))
        for timeline, hidden in parts.items():
            standing.hidden_until |= windows(logs.get(timeline, []), hidden)
        for at, (_, key, record) in enumerate(ordered):
            later = (other for _, _, other in ordered[at + 1 :])
            if any(_says_more(other, record) for other in later) and not _any_within(record, logs):
                standing.spent.add(key)


def _arrival(change: tuple[int, str, object]) -> tuple[int, str]:
    """Two may have the same moment, behind a clock that was once ahead: then everybody must see the same one last."""
    return change[:2]


def _any_within(record: Thinned | Unthinned, logs: dict[bytes, list[PlainSegment]]) -> bool:
    log = logs.get(record.timeline, [])
    at = bisect_left(log, record.first, key=lambda segment: segment.first)
    return at < len(log) and log[at].end <= record.end


def _says_more(other: Thinned | Unthinned, record: Thinned | Unthinned) -> bool:
    if other.timeline != record.timeline:
        return False
    return isinstance(other, Thinned) and other.first <= record.first and record.end <= other.end


def read_standing(store: Store, *, settled: bool = False) -> Standing:
    """Read every commit. Unreadable ones are listed, not raised: a collector must refuse, a check must report.

    Who deletes because of what they say takes them `settled` (Store.list): a power cut must undo none of them then.
    """
    reading = _Reading()
    for each in list(store.list(COMMITS, settled=settled)):
        try:
            commit = decode_commit(store.get(each.key), *commit_place(each.key)).commit
        except NotFound:
            continue
        except Damaged as wrong:
            reading.standing.damaged[each.key] = str(wrong)
            continue
        reading.take(each.key, commit)
    return reading.done()
