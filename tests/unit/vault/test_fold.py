"""Folding: many small segments become few, and the log is what it was, for whoever reads it and whenever that began."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given, strategies as st

from knowngood.core.errors import Busy, NotFound
from knowngood.core.ids import Name
from knowngood.core.model import Position
from knowngood.core.progress import Progress
from knowngood.testing.logs import TIMELINE, SmallLog, gap, records
from knowngood.vault import fold as folding
from knowngood.vault.descriptor import LOG, OPERATIONS
from knowngood.vault.fold import Folded, chosen, fold
from knowngood.vault.layout import COMMITS, SEGMENTS
from knowngood.vault.log_reader import START, Until
from knowngood.vault.record import FoldedSegment
from knowngood.vault.standing import read_standing
from knowngood.vault.vault import Vault
from tests.unit.flow.notes import small_vault


@pytest.fixture(autouse=True)
def few() -> Iterator[None]:
    """A few are many here."""
    with patch.multiple(folding, FOLD_FROM=4, FULL_BYTES=40_000, LARGEST_BYTES=80_000):
        yield


@pytest.fixture
def log() -> SmallLog:
    """Empty."""
    return SmallLog(small_vault())


def _fill(log: SmallLog, commits: int, seed: int = 1) -> None:
    some = random.Random(seed)
    for _ in range(commits):
        at = len(log.truth)
        log.write(records(some, at, 3, log.land([some.randbytes(300)])))


def _fold(log: SmallLog) -> Folded:
    return fold(log.small.vault, log.small.catalog, Progress())


def _objects(log: SmallLog, prefix: str) -> int:
    return len(list(log.small.store.list(prefix)))


def _assert_whole(log: SmallLog) -> None:
    """For this home, for a new one, for a check, and for a collection."""
    for small in (log.small, log.small.beside()):
        same = SmallLog(small)
        assert same.read() == log.truth
        assert same.small.check().findings == []
    log.small.collect_all()
    fresh = SmallLog(log.small.beside())
    assert fresh.read() == log.truth
    with log.small.vault.session("look") as session:
        reader = log.small.vault.reader(session, log.small.private)
        assert all(reader.chunk(Name(each.data)) for each in log.truth if each.form == 3)


def test_many_become_one(log: SmallLog) -> None:
    """All but the newest; old segments and commits are gone, and each moment can be read."""
    _fill(log, 20)
    assert _fold(log) == Folded(segments=19, into=1, deleted=19)
    assert (_objects(log, SEGMENTS), _objects(log, COMMITS)) == (2, 2)
    assert log.bounds() == [0, 57, 60]
    _assert_whole(log)
    for number in (0, 1, 30, 57, 59):
        until = Until(moment_ns=log.truth[number].time_ns)
        assert log.read(until=until) == log.truth[: number + 1]
    assert _fold(log) == Folded()


def test_it_goes_on(log: SmallLog) -> None:
    """Fold after fold: few segments at any time, each byte copied a few times only; records and positions are the
    same."""
    position = START
    copied = 0
    for turn in range(15):
        _fill(log, 4, seed=turn)
        if turn == 7:
            newest = log.small.catalog.log.newest(TIMELINE)
            assert newest
            position = Position(newest.end, newest.last)
            at = len(log.truth)
        done = _fold(log)
        copied += done.segments
        assert _objects(log, SEGMENTS) <= 20
    assert copied < 5 * 60
    assert log.read(position) == log.truth[at:]
    _assert_whole(log)


def test_a_vault_from_before(log: SmallLog) -> None:
    """Its other programs would take what is folded for damage: it stays as it is."""
    descriptor = log.small.vault.descriptor
    old = type(descriptor)(descriptor.vault_id, descriptor.sizes, descriptor.created, dict.fromkeys(OPERATIONS, (LOG,)))
    log.small.vault = Vault(log.small.store, old, log.small.vault.writer)
    _fill(log, 10)
    assert _fold(log) == Folded()
    assert _objects(log, SEGMENTS) == 10


def test_a_chain_that_begins_anew(log: SmallLog) -> None:
    """What does not continue the one before is in another segment."""
    _fill(log, 6)
    some = random.Random(3)
    with log.writer(anew=True) as writer:
        batch = [gap(18), *records(some, 19, 2)]
        writer.append(batch)
        writer.commit()
        log.truth += batch
    _fill(log, 6, seed=4)
    assert _fold(log).into == 2
    assert log.bounds() == [0, 18, 36, 39]
    with pytest.raises(NotFound, match="begins at record 18"):
        log.read()
    assert log.small.check().findings == []


def test_several_logs(log: SmallLog) -> None:
    """Each by itself."""
    other = SmallLog(log.small, b"another timeline")
    _fill(log, 8)
    _fill(other, 8, seed=2)
    assert _fold(log) == Folded(segments=14, into=2, deleted=14)
    assert (log.read(), other.read()) == (log.truth, other.truth)


def test_thinned_ones_stay_as_they_are(log: SmallLog) -> None:
    """They can be brought back until their window ends; then they go, and what was folded beside them stays."""
    _fill(log, 20)
    log.thin(0, 30, undo_ns=10**18)
    assert _fold(log).segments == 9
    assert log.bounds()[:2] == [0, 3]
    with pytest.raises(NotFound):
        log.read()
    log.unthin(0, 30)
    assert log.read() == log.truth
    log.thin(0, 30)
    log.small.collect_all()
    assert log.bounds() == [30, 57, 60]
    first = log.small.catalog.log.within(TIMELINE, 30, 57)[0]
    assert log.read(Position(30, first.previous)) == log.truth[30:]
    assert log.small.check().findings == []


def test_folded_ones_are_thinned_as_others_are(log: SmallLog) -> None:
    """Those that lie wholly before the end go."""
    _fill(log, 12)
    _fold(log)
    _fill(log, 8, seed=2)
    log.thin(0, 32)
    assert log.bounds()[:2] == [0, 33]
    log.small.collect_all()
    assert log.bounds()[0] == 0, "33 is beyond the end: it has to stay whole"
    log.thin(0, 33)
    log.small.collect_all()
    assert log.bounds()[0] == 33
    assert log.small.check().findings == []


def test_beside_a_reader(log: SmallLog) -> None:
    """What it may read stays until it has ended."""
    _fill(log, 10)
    reader = SmallLog(log.small.beside())
    with reader.small.vault.session("read", reading=True):
        frames = reader.reader().records(TIMELINE)
        first = next(frames)
        assert _fold(log) == Folded(segments=9, into=1, waiting=9)
        assert [first, *frames] == log.truth
        assert log.read() == log.truth
    assert _fold(log) == Folded(deleted=9)
    _assert_whole(log)


def test_a_reader_that_looked_before_and_came_after(log: SmallLog) -> None:
    """Its catalog tells of segments that are gone: it looks again."""
    _fill(log, 10)
    reader = SmallLog(log.small.beside())
    begun = reader.reader().records(TIMELINE)
    found = [next(begun) for _ in range(4)]
    _fold(log)
    assert [*found, *begun] == log.truth
    assert list(reader.reader().records(TIMELINE)) == log.truth
    assert list(SmallLog(log.small.beside()).reader().records(TIMELINE)) == log.truth


def test_another_home_that_comes_late(log: SmallLog) -> None:
    """It had heard of the old ones, and finds nothing missing."""
    _fill(log, 10)
    other = SmallLog(log.small.beside())
    _fold(log)
    _fill(log, 10, seed=2)
    _fold(log)
    assert other.read() == log.truth
    assert other.small.check().findings == []


def test_the_writer_goes_on(log: SmallLog) -> None:
    """In a session that began before: what was folded is no concern of its."""
    _fill(log, 10)
    with log.writer() as writer:
        assert _fold(log) == Folded(segments=9, into=1, waiting=9)
        batch = records(random.Random(8), 30, 2)
        writer.append(batch)
        writer.commit()
    log.truth += batch
    _assert_whole(log)


def test_somebody_else_keeps_the_vault_in_order(log: SmallLog) -> None:
    """One at a time."""
    _fill(log, 10)
    with log.small.vault.session("collect", without_index=True, exclusive=True), pytest.raises(Busy):
        _fold(log)
    assert log.read() == log.truth


def test_a_damaged_one(log: SmallLog) -> None:
    """It stays as it is, and parts what is folded on both sides of it; what is whole can still be read."""
    _fill(log, 20)
    bad = log.small.catalog.log.within(TIMELINE, 0, 1 << 60)[8]
    key = f"{SEGMENTS}{bad.pack.hex()[:2]}/{bad.pack.hex()}"
    data = bytearray(log.small.store.get(key))
    data[-5] ^= 1
    log.small.store.delete(key)
    log.small.store.put(key, [bytes(data)])
    assert _fold(log) == Folded(segments=18, into=2, deleted=18)
    assert log.bounds() == [0, 24, 27, 57, 60]
    assert log.read(until=Until(sequence=24)) == log.truth[:24]
    assert {each.what for each in log.small.check().findings} == {"pack", "segment"}


def test_a_folded_one_that_is_damaged_before_the_old_ones_go(log: SmallLog) -> None:
    """Then they do not go: neither by a later folding nor by a collection."""
    _fill(log, 10)
    with log.small.vault.session("read", reading=True):
        _fold(log)
    whole = log.small.catalog.log.within(TIMELINE, 0, 1 << 60)[0]
    key = f"{SEGMENTS}{whole.pack.hex()[:2]}/{whole.pack.hex()}"
    data = log.small.store.get(key)
    log.small.store.delete(key)
    log.small.store.put(key, [data[:-3] + bytes(3)])
    before = _objects(log, SEGMENTS)
    assert _fold(log) == Folded(waiting=9)
    log.small.collect()
    log.small.collect()
    assert _objects(log, SEGMENTS) == before
    log.small.store.delete(key)
    log.small.store.put(key, [data])
    assert _fold(log) == Folded(deleted=9)
    _assert_whole(log)


def test_a_collection_takes_away_what_a_folding_left(log: SmallLog) -> None:
    """The old segments, and a new one whose commit never came."""
    _fill(log, 10)
    with patch.object(Vault, "commit_records", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        _fold(log)
    assert _objects(log, SEGMENTS) == 11
    assert log.small.collect_all().purged_segments == 0
    assert _objects(log, SEGMENTS) == 10
    with log.small.vault.session("read", reading=True):
        assert _fold(log).segments == 8, "the very same segment may vanish at any time"
    assert _objects(log, SEGMENTS) == 11
    log.small.collect_all()
    assert (_objects(log, SEGMENTS), _objects(log, COMMITS)) == (3, 3)
    _assert_whole(log)


def test_a_collection_under_way_takes_the_same_segment_away(log: SmallLog) -> None:
    """What an interrupted folding left is condemned; the next one must not rely on it."""
    _fill(log, 10)
    with patch.object(Vault, "commit_records", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        _fold(log)
    with log.small.vault.session("read"):
        assert log.small.collect().waiting_for
        assert _fold(log).into == 1
    log.small.collect_all()
    assert log.bounds() == [0, 24, 27, 30]
    _assert_whole(log)


def test_a_commit_of_several_segments(log: SmallLog) -> None:
    """It goes when all of them have been folded, and not before."""
    some = random.Random(6)
    with patch("knowngood.vault.log_writer.SEGMENT_BYTES", 300), patch("knowngood.vault.log_frames.FRAME_BYTES", 300):
        log.write(records(some, 0, 20))
    _fill(log, 3)
    assert len(log.bounds()) > 8
    _fold(log)
    _assert_whole(log)
    assert _objects(log, SEGMENTS) == 2


@given(st.lists(st.integers(1, 50), max_size=200))
def test_what_is_chosen(sizes: list[int]) -> None:
    """Rows without overlap, up to the newest, of bounded size."""
    with patch.multiple(folding, FOLD_FROM=4, LARGEST_BYTES=100):
        groups = chosen(sizes)
    for before, after in pairwise(groups):
        assert before.stop <= after.start
    for each in groups:
        assert len(each) > 1
        assert sum(sizes[at] for at in each) <= 100
    assert bool(groups) <= (len(sizes) >= 4)


def test_how_many_there_are_after_a_day() -> None:
    """A change in every second of a day, folded as the keeper does."""
    with patch.multiple(folding, FOLD_FROM=64, FULL_BYTES=4 << 20, LARGEST_BYTES=8 << 20):
        full, small, copied, most = 0, list[int](), 0, 0
        for second in range(86_400):
            small.append(2_700)
            for group in reversed(chosen(small) if second % 64 == 63 else []):
                total = sum(small[at] for at in group)
                small[group.start : group.stop] = [total]
                copied += total
            full += sum(each >= 4 << 20 for each in small)
            small = [each for each in small if each < 4 << 20]
            most = max(most, full + len(small))
        assert most < 86_400 * 2_700 / (4 << 20) + 80
        assert copied < 7 * 86_400 * 2_700


def test_the_record(log: SmallLog) -> None:
    """It is told from a plain one."""
    _fill(log, 10)
    _fold(log)
    standing = read_standing(log.small.store)
    assert [isinstance(each, FoldedSegment) for each in standing.segments.values()].count(True) == 1
    assert standing.replaced == {}


def test_a_few_at_a_time(log: SmallLog) -> None:
    """Whoever has little time takes away what is old in steps."""
    _fill(log, 10)
    small = log.small
    assert fold(small.vault, small.catalog, Progress(), TIMELINE, 4) == Folded(9, 1, deleted=4, waiting=5)
    assert log.read() == log.truth
    assert fold(small.vault, small.catalog, Progress(), TIMELINE, 4) == Folded(deleted=4, waiting=1)
    assert fold(small.vault, small.catalog, Progress(), TIMELINE, 4) == Folded(deleted=1)
    _assert_whole(log)
