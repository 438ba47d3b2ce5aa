"""What is hidden of a log, against the plain words of docs/format.md; and where a fence goes."""

from __future__ import annotations

from hypothesis import given, strategies as st

from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.vault.layout import commit_key
from knowngood.vault.record import PlainSegment, Thinned, Unthinned
from knowngood.vault.session import _first_free
from knowngood.vault.thinning import hide, is_hidden, windows

NAME = bytes(32)
ranges = st.tuples(st.integers(0, 40), st.integers(0, 40))
changes = st.lists(st.tuples(ranges, st.one_of(st.none(), st.integers(0, 30))), max_size=8)


def log_of(counts: list[int]) -> list[PlainSegment]:
    """Segments of these lengths, one after the other."""
    found, first = [], 0
    for number, count in enumerate(counts):
        found.append(PlainSegment(NAME, bytes([number]), first, count, NAME, NAME, 0))
        first += count
    return found


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), changes)
def test_hidden_is_what_lies_within_what_is_thinned(
    counts: list[int], changed: list[tuple[tuple[int, int], int | None]]
) -> None:
    log = log_of(counts)
    parts = []
    spans: list[tuple[set[int], int]] = []  # the same by sets: numbers that one record hides together, and until when
    for received, ((first, end), undo) in enumerate(changed):
        numbers = set(range(first, end))
        if undo is None:
            parts = hide(parts, received, Unthinned(NAME, first, end))
            low = [({n for n in span if n < first}, until) for span, until in spans]
            high = [({n for n in span if n >= max(first, end)}, until) for span, until in spans]
            spans = low + high if first < end else spans
        else:
            parts = hide(parts, received, Thinned(NAME, first, end, undo))
            spans.append((numbers, received + undo))
    expected: dict[bytes, int] = {}
    for segment in log:
        whole = set(range(segment.first, segment.end))
        untils = [until for span, until in spans if whole <= span]
        if untils:
            expected[segment.pack] = min(untils)
    assert windows(log, parts) == expected
    assert {each.pack for each in log if is_hidden(each, parts)} == expected.keys()


@given(st.integers(0, 300))
def test_the_first_free_number_takes_few_looks(taken: int) -> None:
    store = FaultyStore(MemoryStore())
    for number in range(taken):
        store.put(commit_key(b"s" * 16, number), [b""])
    store.log.clear()
    assert _first_free(store, b"s" * 16) == taken
    assert len(store.log) <= 20
