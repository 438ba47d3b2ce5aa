"""Logs: what was committed is read back in order, nobody else continues them meanwhile, and gaps are not passed."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from knowngood.core.errors import Busy, Damaged, Fenced, NotFound, StoreFailed, Unsupported
from knowngood.core.log import NO_FRAME, Form, LogRecord, Operation
from knowngood.core.model import Mark, Position
from knowngood.testing.logs import SECOND, TIMELINE, SmallLog, gap, mark, records, small_segments
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault, bury
from knowngood.vault import segment as segment_module
from knowngood.vault.descriptor import FOLD, LOG, OPERATIONS, Descriptor, read_descriptor
from knowngood.vault.layout import COMMITS, SEGMENTS, session_key
from knowngood.vault.log_reader import START, Until
from knowngood.vault.log_writer import LogWriter
from knowngood.vault.session import list_sessions
from knowngood.vault.vault import Vault


@pytest.fixture
def log(small: SmallVault) -> SmallLog:
    return SmallLog(small)


def objects(small: SmallVault, folder: str) -> int:
    return sum(1 for _ in small.store.list(folder))


# ------------------------------------------------------------------------------------------------------- there and back


def test_what_was_committed_is_read_back(log: SmallLog, some: random.Random) -> None:
    with small_segments():
        chunks = log.land([b"one", b"two"])
        for _ in range(3):
            first = len(log.truth)
            log.write(records(some, first, 40, chunks), records(some, first + 40, 1), records(some, first + 41, 9))
    assert log.read() == log.truth
    assert objects(log.small, SEGMENTS) > 10
    assert log.small.check().findings == []


def test_a_commit_is_one_segment_and_one_commit(log: SmallLog, some: random.Random) -> None:
    with log.writer() as writer:
        for number in range(5):
            writer.append(records(some, number, 1))
            writer.commit()
    assert (objects(log.small, SEGMENTS), objects(log.small, COMMITS)) == (5, 5)


def test_a_large_commit_is_visible_at_once(log: SmallLog, some: random.Random) -> None:
    with small_segments(), log.writer() as writer:
        writer.append(records(some, 0, 60))
        assert objects(log.small, SEGMENTS) > 3
        assert log.read() == []
        writer.commit()
        assert len(log.read()) == 60
    assert objects(log.small, COMMITS) == 1


def test_nothing_is_committed_when_nothing_was_appended(log: SmallLog) -> None:
    assert log.write() == START == Position(0, NO_FRAME)
    assert objects(log.small, COMMITS) == 0


def test_what_was_not_committed_does_not_exist(log: SmallLog, some: random.Random) -> None:
    log.write(records(some, 0, 3))
    with log.writer() as writer:
        writer.append(records(some, 3, 4))
    with log.writer() as writer:
        assert writer.next_sequence == 3
    assert log.read() == log.truth


def test_content_keys_serve_many_segments_and_no_sequence_twice(
    log: SmallLog, some: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_module, "KEY_FRAMES", 3)
    log.write(*(records(some, number, 1) for number in range(7)))
    used: list[tuple[bytes, int]] = []
    for segment in log.small.catalog.log.covering(TIMELINE, 0):
        used += [
            (frame.header.key_id, frame.header.sequence)
            for frame in segment_module.walk_segment(log.small.store, segment.pack)
        ]
    assert [sequence for _, sequence in used] == [0, 1, 2, 0, 1, 2, 0]
    assert len({key for key, _ in used}) == 3
    assert log.read() == log.truth


# ------------------------------------------------------------------------------------------------------------ positions


def test_reading_goes_on_after_any_position(log: SmallLog, some: random.Random) -> None:
    positions = [START]
    with small_segments(), log.writer() as writer:
        for _ in range(6):
            batch = records(some, writer.next_sequence, some.randrange(1, 12))
            writer.append(batch)
            log.truth += batch
            positions.append(writer.commit())
    for position in positions:
        assert log.read(position) == log.truth[position.sequence :]


def test_reading_ends_where_it_is_told(log: SmallLog, some: random.Random) -> None:
    batch = records(some, 0, 10)
    batch[6] = mark(6, b"m" * 16)
    log.write(batch[:4], batch[4:])
    assert log.read(until=Until(moment_ns=5 * SECOND)) == batch[:6]
    assert log.read(until=Until(moment_ns=5 * SECOND - 1)) == batch[:5]
    assert log.read(until=Until(sequence=3)) == batch[:3]
    assert log.read(until=Until(mark=b"m" * 16)) == batch[:7]
    assert log.read(until=Until(moment_ns=-1)) == []
    with pytest.raises(NotFound):
        log.read(until=Until(mark=b"n" * 16))


def test_a_position_within_a_frame(log: SmallLog, some: random.Random) -> None:
    end = log.write(records(some, 0, 10))
    assert log.read(Position(4, end.frame)) == log.truth[4:]
    with pytest.raises(Damaged):
        log.read(Position(4, b"x" * 32))
    with pytest.raises(Damaged):
        log.read(Position(5, NO_FRAME))


def test_a_position_of_another_history(log: SmallLog, some: random.Random) -> None:
    log.write(records(some, 0, 3), records(some, 3, 3))
    with pytest.raises(Damaged):
        log.read(Position(3, b"x" * 32))


# ----------------------------------------------------------------------------------------------- gaps and new chains


def test_a_gap_is_not_passed(log: SmallLog, some: random.Random) -> None:
    batch = [*records(some, 0, 5), gap(5), *records(some, 6, 3)]
    log.write(batch[:5])
    after = log.write(batch[5:6])
    log.write(batch[6:])
    assert log.read(until=Until(moment_ns=3 * SECOND)) == batch[:4]
    assert log.read(until=Until(sequence=5)) == batch[:5]
    with pytest.raises(NotFound):  # what was lost may have happened before that moment
        log.read(until=Until(moment_ns=4 * SECOND + 1))
    with pytest.raises(NotFound):
        log.read()
    assert log.read(after) == batch[6:]


def test_a_new_chain_is_not_passed(log: SmallLog, some: random.Random) -> None:
    old_end = log.write(records(some, 0, 5))
    log.write(anew=True)
    with log.writer(anew=True) as writer:
        start = writer.commit()
        more = records(some, 5, 4)
        writer.append(more)
        writer.commit()
    assert start == Position(5, NO_FRAME)
    assert log.read(start) == more
    assert log.read(until=Until(sequence=5)) == log.truth
    for position in (START, old_end):
        with pytest.raises(NotFound):
            log.read(position)
    assert log.small.check().findings == []


def test_a_new_chain_can_begin_later(log: SmallLog, some: random.Random) -> None:
    end = log.write(records(some, 0, 5))
    small = log.small
    with small.vault.session("follow", timelines=(TIMELINE,)) as session:
        writer = LogWriter(small.vault, session, small.catalog, TIMELINE, anew=True, first=100)
        assert writer.next_sequence == 100
        writer.append(records(some, 100, 2))
        writer.commit()
    with pytest.raises(NotFound):
        log.read(end)
    assert len(log.read(Position(100, NO_FRAME))) == 2
    assert small.check().findings == []


# ----------------------------------------------------------------------------------------------------------- refusals


def test_records_have_to_come_in_order(log: SmallLog, some: random.Random) -> None:
    with log.writer() as writer:
        writer.append(records(some, 0, 2))
        with pytest.raises(Unsupported):
            writer.append(records(some, 3, 1))
        writer.append(records(some, 2, 1))
        writer.commit()
    assert len(log.read()) == 3


def test_chunks_have_to_be_durable_first(log: SmallLog, some: random.Random) -> None:
    record = LogRecord(
        sequence=0, time_ns=0, operation=Operation.WRITE, length=3, form=Form.CHUNK, data=some.randbytes(32)
    )
    with log.writer() as writer, pytest.raises(NotFound):
        writer.append([record])


def test_a_checkpoint_keeps_its_position(log: SmallLog, some: random.Random) -> None:
    """In a commit's hidden part: another home reads it with the key."""
    position = log.write(records(some, 0, 5))
    small = log.small
    point = small.protect({b"f": b"content"})
    plain = small.catalog.checkpoint(point.marks[0].checkpoint)
    assert plain.position is UNSET
    with small.vault.session("protect") as session:
        made = replace(plain, id=b"c" * 16, timeline=TIMELINE, position=position)
        marks = (Mark(TIMELINE, made.id),)
        small.vault.commit_point(session, small.catalog, replace(point, id=b"p" * 16, marks=marks), (made,))
    assert small.beside().catalog.checkpoint(made.id).position == position


def test_a_commit_that_cannot_be_read_back_is_not_made(log: SmallLog, some: random.Random) -> None:
    """One such commit would stop collection until somebody deletes it."""
    log.write(records(some, 0, 5))
    before = objects(log.small, COMMITS)
    with pytest.raises(Damaged):
        log.thin(0, 5, undo_ns=1.5)  # type: ignore[arg-type]
    assert objects(log.small, COMMITS) == before


def test_a_session_continues_the_logs_it_was_opened_for(small: SmallVault) -> None:
    with small.vault.session("follow", timelines=(b"a" * 16,)) as session, pytest.raises(Unsupported):
        LogWriter(small.vault, session, small.catalog, TIMELINE)


def test_a_vault_from_before_logs_takes_none(small: SmallVault) -> None:
    old = Descriptor(small.vault.id, small.vault.descriptor.sizes, "", {})
    vault = Vault(small.store, old, small.vault.writer)
    with vault.session("follow", timelines=(TIMELINE,)) as session, pytest.raises(Unsupported) as refused:
        LogWriter(vault, session, small.catalog, TIMELINE)
    assert "knowngood init" in refused.value.hint
    with vault.session("thin") as session, pytest.raises(Unsupported):
        vault.thin(session, small.catalog, TIMELINE, 0, 9, 0)
    with vault.session("unthin") as session, pytest.raises(Unsupported):
        vault.unthin(session, small.catalog, TIMELINE, 0, 9)


def test_a_vault_that_is_made_now_takes_logs(small: SmallVault) -> None:
    assert all({LOG, FOLD} <= set(read_descriptor(small.store).features[each]) for each in OPERATIONS)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2])
def test_a_writer_that_failed_goes_no_further(
    faulty: FaultyStore, shaky: SmallVault, some: random.Random, at: int, after: bool
) -> None:
    log = SmallLog(shaky)
    first, second = records(some, 0, 3), records(some, 3, 2)
    log.write(first)
    with log.writer() as writer:
        writer.append(second)
        faulty.fail(at, StoreFailed("gone"), after=after)
        with pytest.raises(StoreFailed):
            writer.commit()
        faulty.mend()
        with pytest.raises(Unsupported):
            writer.append(records(some, 5, 1))
        with pytest.raises(Unsupported):
            writer.commit()
    visible = (at, after) == (2, True)  # it had happened: the next writer knows
    with log.writer() as writer:
        assert writer.next_sequence == (5 if visible else 3)
        more = records(some, writer.next_sequence, 2)
        writer.append(more)
        writer.commit()
    assert log.read() == first + (second if visible else []) + more
    assert shaky.check().findings == []


def test_a_damaged_commit_hides_where_the_log_ends(log: SmallLog, some: random.Random) -> None:
    log.write(records(some, 0, 2), records(some, 2, 2))
    assert isinstance(log.small.store, MemoryStore)
    key = max(key for key in log.small.store.objects if key.startswith(COMMITS))
    log.small.store.objects[key] = b"x" + log.small.store.objects[key][1:]
    other = SmallLog(log.small.beside())
    with pytest.raises(Damaged):
        other.write()
    with other.writer(anew=True) as writer:
        assert writer.next_sequence == 2


# ------------------------------------------------------------------------------------------------------- two writers


def test_a_second_writer_gives_way(log: SmallLog, some: random.Random) -> None:
    other = SmallLog(log.small.beside())
    with log.writer() as writer:
        with pytest.raises(Busy), other.writer():
            raise AssertionError("two writers")
        writer.append(records(some, 0, 1))
        writer.commit()
    other.write(records(some, 1, 1))
    assert len(log.read()) == 2


def test_a_writer_of_another_timeline_does_not(log: SmallLog) -> None:
    with log.writer(), SmallLog(log.small, b"another timeline").writer():
        pass


def test_a_dead_writer_is_fenced_before_its_end_is_read(log: SmallLog, some: random.Random) -> None:
    small = log.small
    other = SmallLog(small.beside())
    with small.vault.session("follow", timelines=(TIMELINE,)) as session:
        writer = LogWriter(small.vault, session, small.catalog, TIMELINE)
        for number in range(9):
            writer.append(records(some, number, 1))
            writer.commit()
        bury(small.store, session)
        writer.append(records(some, 9, 1))
        other.write(records(some, 9, 2))
        with pytest.raises(Fenced):
            writer.commit()
        with pytest.raises(Fenced):  # also where its own look came too early
            session.commit((), None, 1)
    assert len(other.read()) == 11
    assert list_sessions(small.store) == []
    assert small.check().findings == []


def test_a_writer_whose_card_was_taken_away_stops(log: SmallLog, some: random.Random) -> None:
    """Somebody took it for dead and deleted its announcement by hand; nobody has continued its log yet."""
    small = log.small
    with small.vault.session("follow", timelines=(TIMELINE,)) as session:
        writer = LogWriter(small.vault, session, small.catalog, TIMELINE)
        writer.append(records(some, 0, 1))
        small.store.delete(session_key(session.id))
        with pytest.raises(Fenced):
            writer.commit()
    assert log.read() == []


def _race(some: random.Random, step: int) -> tuple[bool, bool, int]:
    """A second writer runs as a whole before the `step`-th operation of the first. Who came through, and how many
    operations there were."""
    faulty = FaultyStore(MemoryStore())
    first = SmallLog(SmallVault(faulty))
    second = SmallLog(first.small.beside(faulty.inner))
    seen, won, came_through = 0, False, True

    def cut_in(operation: str, key: str) -> None:
        nonlocal seen, won
        seen += 1
        if seen == step:
            with suppress(Busy):
                second.write(records(some, len(second.read()), 2))
                won = True

    faulty.before.append(cut_in)
    try:
        with first.writer() as writer:
            writer.append(records(some, writer.next_sequence, 3))
            writer.commit()
    except Busy:
        came_through = False
    faulty.before.clear()
    assert len(first.read()) == 3 * came_through + 2 * won, step
    assert first.small.check().findings == []
    return came_through, won, seen


def test_two_writers_race_at_every_step(some: random.Random) -> None:
    """Never do both commit to one place: whoever came through is in the log, and the chain is whole."""
    _, _, steps = _race(some, 0)
    outcomes = [_race(some, step)[:2] for step in range(1, steps + 1)]
    assert steps > 10
    assert (True, True) in outcomes  # one after the other
    assert (True, False) in outcomes
