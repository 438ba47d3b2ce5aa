"""Thinning, and collection around logs: what segments refer to stays, thinned ones go after their window."""

from __future__ import annotations

import random
from unittest.mock import patch

import pytest

from knowngood.core.errors import Damaged, NotFound
from knowngood.core.model import Position
from knowngood.core.progress import Progress
from knowngood.testing.clock import DAY, FakeClock
from knowngood.testing.logs import TIMELINE, SmallLog, records, small_segments
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault import collect as collect_module
from knowngood.vault.catalog import Catalog
from knowngood.vault.layout import COMMITS, INDEX, PACKS, SEGMENTS
from knowngood.vault.rebuild import rebuild_index

LONG = 10**18


@pytest.fixture
def log(small: SmallVault) -> SmallLog:
    return SmallLog(small)


def keys(small: SmallVault, folder: str) -> set[str]:
    return {each.key for each in small.store.list(folder)}


def readable(log: SmallLog, names: list[bytes]) -> list[bool]:
    with log.small.vault.session("look") as session:
        reader = log.small.vault.reader(session, log.small.private)
        return [_reads(reader, name) for name in names]


def _reads(reader, name: bytes) -> bool:
    try:
        return bool(reader.chunk(name))
    except NotFound:
        return False


def written(log: SmallLog, some: random.Random, commits: int = 6) -> None:
    """Commits of three records each, in one session."""
    first = len(log.truth)
    log.write(*(records(some, first + 3 * number, 3) for number in range(commits)))


# ----------------------------------------------------------------------------------------------------------- references


def test_what_a_log_refers_to_stays(log: SmallLog, some: random.Random) -> None:
    with small_packs(raw=10, group=10):
        needed, garbage = log.land([some.randbytes(900), some.randbytes(900)])
        one = records(some, 0, 1, [needed])[0]
        while one.data != needed:
            one = records(some, 0, 1, [needed])[0]
        log.write([one])
        log.small.collect_all()
        assert readable(log, [needed, garbage]) == [True, False]
        assert log.read() == log.truth
        assert log.small.check().findings == []
        log.write(records(some, 1, 1))  # now there is a newer one, and the first may go
        log.thin(0, 1)
        log.small.collect_all()
        assert readable(log, [needed]) == [False]
    assert log.small.check().findings == []


def test_frames_that_a_log_refers_to_are_copied(log: SmallLog, some: random.Random) -> None:
    chunks = log.land([some.randbytes(300_000) for _ in range(4)])
    with small_segments():
        log.write(records(some, 0, 30, chunks[:1]))
    before = keys(log.small, PACKS)
    log.small.collect_all()
    assert keys(log.small, PACKS).isdisjoint(before)
    assert readable(log, chunks[:1]) == [True]
    assert log.small.check().findings == []


def test_segments_that_were_never_committed_go(log: SmallLog, some: random.Random) -> None:
    written(log, some)
    before = keys(log.small, SEGMENTS)
    with small_segments(), log.writer() as writer:
        writer.append(records(some, writer.next_sequence, 30))
    assert keys(log.small, SEGMENTS) > before
    log.small.collect_all()
    assert keys(log.small, SEGMENTS) == before
    assert log.read() == log.truth


def test_a_writer_is_not_disturbed_by_collections(log: SmallLog, some: random.Random) -> None:
    with small_segments(), log.writer() as writer:
        for _ in range(4):
            batch = records(some, writer.next_sequence, 12)
            writer.append(batch)
            log.small.beside().collect()
            writer.commit()
            log.truth += batch
    log.small.collect_all()
    assert log.read() == log.truth
    assert log.small.check().findings == []


def test_segments_are_never_rewritten(log: SmallLog, some: random.Random) -> None:
    written(log, some)
    before = keys(log.small, SEGMENTS)
    with patch.object(collect_module, "WORTH", -1.0):
        log.small.collect()
    assert keys(log.small, SEGMENTS) == before


# ------------------------------------------------------------------------------------------------------------- thinning


def test_thinned_segments_go_after_their_window(log: SmallLog, some: random.Random) -> None:
    with FakeClock() as clock:
        written(log, some)
        position = Position(9, log.small.catalog.log.within(TIMELINE, 0, 9)[-1].last)
        log.thin(0, 9, undo_ns=int(DAY) * 10**9)
        with pytest.raises(NotFound):
            log.read()
        assert log.read(position) == log.truth[9:]
        log.small.collect_all()
        assert len(keys(log.small, SEGMENTS)) == 6
        clock.move(2 * DAY)
        done = log.small.collect()
        assert (done.deleted_packs, done.purged_segments, done.purged_points) == (3, 3, 0)
        log.small.collect_all()
    assert len(keys(log.small, SEGMENTS)) == 3
    assert len(keys(log.small, COMMITS)) == 4  # three segments, and what hid the others: it says why they are missing
    assert log.read(position) == log.truth[9:]
    assert log.small.check().findings == []
    with pytest.raises(NotFound):
        log.read()


def test_thinned_segments_can_be_brought_back(log: SmallLog, some: random.Random) -> None:
    written(log, some)
    log.thin(0, 9, undo_ns=LONG)
    log.small.collect_all()
    log.unthin(0, 9)
    assert log.read() == log.truth
    log.thin(3, 12, undo_ns=0)
    log.unthin(6, 9)
    log.small.collect_all()
    assert log.bounds() == [0, 6, 12, 15, 18]
    assert log.read(until=None, after=Position(12, _frame_before(log, 12))) == log.truth[12:]
    assert log.small.check().findings == []


def _frame_before(log: SmallLog, number: int) -> bytes:
    return log.small.catalog.log.within(TIMELINE, number, number + 3)[0].previous


def test_only_whole_segments_are_thinned_and_never_the_newest(log: SmallLog, some: random.Random) -> None:
    written(log, some)
    log.thin(1, 100)
    log.small.collect_all()
    assert log.bounds() == [0, 15, 18]
    with log.writer() as writer:
        assert writer.next_sequence == 18
    assert log.small.check().findings == []
    log.write(records(some, 18, 2))
    log.thin(0, 100)
    log.small.collect_all()
    assert log.bounds() == [18, 20]
    assert log.small.check().findings == []


def test_what_is_being_collected_is_not_brought_back(log: SmallLog, some: random.Random) -> None:
    written(log, some)
    log.thin(0, 9)
    with log.small.vault.session("blocks the collector"):
        assert log.small.collect().waiting_for
        with pytest.raises(NotFound):
            log.unthin(0, 9)


def test_what_was_brought_back_in_time_stays(log: SmallLog, some: random.Random) -> None:
    written(log, some)
    log.thin(0, 9)
    small = log.small
    with small.vault.session("unthin") as session:
        assert small.collect().waiting_for
        small.vault.unthin(session, small.catalog, TIMELINE, 0, 9)
    small.collect_all()
    assert log.read() == log.truth


def test_segments_of_one_commit_go_together(log: SmallLog, some: random.Random) -> None:
    with small_segments():
        log.write(records(some, 0, 60))
        log.write(records(some, 60, 5))
    bounds = log.bounds()
    log.thin(0, bounds[2])
    log.small.collect_all()
    assert log.bounds() == bounds
    log.thin(0, 60)
    log.small.collect_all()
    assert log.bounds()[0] == 60
    assert log.small.check().findings == []


def test_thinning_leaves_few_commits_behind(log: SmallLog, some: random.Random) -> None:
    """However often a log is thinned from its beginning on, one record of it stays."""
    for number in range(5):
        written(log, some, 2)
        log.thin(0, 6 * number)
        log.small.collect_all()
    log.small.collect_all()
    assert log.bounds()[0] == 24
    assert len(keys(log.small, COMMITS)) == 2 + 1
    assert log.small.check().findings == []


# --------------------------------------------------------------------------------------------------- damage and rebuild


def test_a_lost_segment_stops_collection_until_it_is_thinned(log: SmallLog, some: random.Random) -> None:
    written(log, some)
    lost = log.small.catalog.log.within(TIMELINE, 3, 6)[0]
    log.small.store.delete(f"segments/{lost.pack.hex()[:2]}/{lost.pack.hex()}")
    with pytest.raises(Damaged):
        log.small.collect()
    log.thin(3, 6)
    log.small.collect_all()
    assert log.bounds() == [0, 6, 9, 12, 15, 18]
    assert log.small.check().findings == []


def test_everything_comes_back_from_packs_and_commits(log: SmallLog, some: random.Random) -> None:
    chunks = log.land([some.randbytes(700) for _ in range(3)])
    log.write(records(some, 0, 30, chunks))
    written(log, some)
    assert isinstance(log.small.store, MemoryStore)
    for key in keys(log.small, INDEX):
        log.small.store.delete(key)
    log.small.catalog.close()
    log.small.catalog = Catalog(":memory:")
    rebuild_index(log.small.vault, Progress())
    assert log.read() == log.truth
    assert readable(log, chunks) == [True] * 3
    assert log.small.check().findings == []
    log.write(records(some, len(log.truth), 2))
    log.small.collect_all()
    assert log.read() == log.truth
