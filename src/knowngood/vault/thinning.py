"""Thinning: which parts of a timeline's log are hidden, and until when they can be brought back."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from knowngood.vault.record import PlainSegment, Thinned, Unthinned


@dataclass(frozen=True, slots=True)
class HiddenPart:
    """Record numbers `first` to before `end`; segments that lie wholly within are hidden. Nanoseconds."""

    first: int
    end: int
    until_ns: int

    def holds(self, segment: PlainSegment) -> bool:
        """Whether a segment is hidden by this part."""
        return self.first <= segment.first and segment.end <= self.end


def hide(parts: list[HiddenPart], received_ns: int, record: Thinned | Unthinned) -> list[HiddenPart]:
    """The hidden parts of one timeline after one more record, taken in the order of arrival."""
    if isinstance(record, Thinned):
        new = HiddenPart(record.first, record.end, received_ns + record.undo_ns)
        # What is hidden already keeps the end of its window: log after log is thinned from the beginning on.
        return [each for each in parts if not (_within(each, new) and new.until_ns <= each.until_ns)] + [new]
    left: list[HiddenPart] = []
    for each in parts:
        before = HiddenPart(each.first, min(each.end, record.first), each.until_ns)
        after = HiddenPart(max(each.first, record.end), each.end, each.until_ns)
        left += [part for part in (before, after) if part.first < part.end]
    return left


def _within(part: HiddenPart, whole: HiddenPart) -> bool:
    return whole.first <= part.first and part.end <= whole.end


def is_hidden(segment: PlainSegment, parts: Iterable[HiddenPart]) -> bool:
    """Whether a segment is hidden."""
    return any(each.holds(segment) for each in parts)


def windows(log: Sequence[PlainSegment], parts: Iterable[HiddenPart]) -> dict[bytes, int]:
    """Hidden segment → when it can no longer be brought back. `log` is in order; each segment is looked at about once,
    however many parts hide it again and again."""
    firsts = [segment.first for segment in log]
    following = list(range(len(log) + 1))  # the next segment, from each on, that no part has hidden yet

    def free(at: int) -> int:
        while following[at] != at:
            following[at] = following[following[at]]
            at = following[at]
        return at

    found: dict[bytes, int] = {}
    for part in sorted(parts, key=lambda each: each.until_ns):
        at = free(bisect_left(firsts, part.first))
        while at < len(log) and log[at].first < part.end:
            if part.holds(log[at]):
                found[log[at].pack] = part.until_ns
                following[at] = at + 1
            at = free(at + 1)
    return found
