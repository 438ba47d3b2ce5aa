"""Checking logs: every damage is told, with the timeline and the moments that it touches."""

from __future__ import annotations

import random

import msgspec
import pytest

from knowngood.core.errors import Damaged
from knowngood.core.progress import Progress
from knowngood.testing.clock import FakeClock
from knowngood.testing.logs import TIMELINE, SmallLog, records
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault
from knowngood.vault.check import Checked, check
from knowngood.vault.finding import Finding
from knowngood.vault.layout import PACKS, commit_key
from knowngood.vault.record import Commit, PlainSegment, Record, encode_commit


@pytest.fixture
def log(small: SmallVault, some: random.Random) -> SmallLog:
    """Five commits, an hour apart."""
    log = SmallLog(small)
    with FakeClock() as clock:
        for number in range(5):
            log.write(records(some, 3 * number, 3))
            clock.move(3600)
    return log


def segments(log: SmallLog) -> list[PlainSegment]:
    return log.small.catalog.log.within(TIMELINE, 0, 1 << 62)


def objects(log: SmallLog) -> dict[str, bytes]:
    assert isinstance(log.small.store, MemoryStore)
    return log.small.store.objects


def key_of(segment: PlainSegment) -> str:
    return f"segments/{segment.pack.hex()[:2]}/{segment.pack.hex()}"


def only(done: Checked) -> Finding:
    (finding,) = done.findings
    return finding


def fresh_check(log: SmallLog, *, read_data: bool = False) -> Checked:
    """As a home that has just joined."""
    return check(log.small.vault, log.small.beside().catalog, Progress(), read_data=read_data)


def test_a_lost_segment(log: SmallLog) -> None:
    del objects(log)[key_of(segments(log)[2])]
    found = only(fresh_check(log))
    assert (found.what, found.timelines, found.points) == ("segment", [TIMELINE], [])
    received = [row[0] for row in log.small.catalog._db.execute("select received from segments order by first")]
    assert (found.after_ns, found.until_ns) == (received[1], received[2])
    with pytest.raises(Exception, match="segments/"):
        log.read()


@pytest.mark.parametrize("at", [0, 7, 40, 1500, -1])
def test_a_flipped_bit_is_found_when_data_is_read(log: SmallLog, at: int) -> None:
    key = key_of(segments(log)[1])
    data = bytearray(objects(log)[key])
    data[at] ^= 4
    objects(log)[key] = bytes(data)
    found = fresh_check(log, read_data=True).findings
    assert {each.what for each in found} == {"pack", "segment"}
    assert [each.timelines for each in found if each.what == "segment"] == [[TIMELINE]]


def test_a_cut_is_found_without_reading_data(log: SmallLog) -> None:
    key = key_of(segments(log)[4])
    objects(log)[key] = objects(log)[key][:-3]
    assert only(fresh_check(log)).what == "segment"


def test_a_lost_commit_breaks_the_chain(log: SmallLog) -> None:
    key = log.small.catalog._db.execute("select commit_key from segments order by first limit 1 offset 2").fetchone()[0]
    del objects(log)[key]
    assert "missing" in only(fresh_check(log)).reason
    log.small.follow()  # a home that knew it says so as well
    assert [each.what for each in log.small.check(read_data=False).findings] == ["commit", "log"]


def test_the_newest_commit_is_missed_by_who_knew_it(log: SmallLog) -> None:
    key = log.small.catalog._db.execute("select commit_key from segments order by first desc").fetchone()[0]
    del objects(log)[key]
    log.small.follow()
    found = only(log.small.check(read_data=False))
    assert (found.what, found.timelines) == ("commit", [TIMELINE])


def test_a_chunk_that_a_log_refers_to_is_missed(small: SmallVault, some: random.Random) -> None:
    log = SmallLog(small)
    chunks = log.land([some.randbytes(900)])
    log.write(records(some, 0, 40, chunks))
    for key in [key for key in objects(log) if key.startswith(PACKS)]:
        del objects(log)[key]
    found = fresh_check(log).findings
    assert {each.what for each in found} == {"pack", "segment"}


# ------------------------------------------------------------------------------------------------- false commits


def forged(log: SmallLog, *changed: Record) -> None:
    """A commit by somebody who holds the writer's key."""
    commit = Commit(b"f" * 16, 0, 1 << 62, changed)
    data = encode_commit(commit, None, log.small.vault.writer.public, log.small.vault.id)
    log.small.store.put(commit_key(b"f" * 16, 0), [data])


@pytest.mark.parametrize("change", [{"count": 2}, {"first": 2}, {"last": b"x" * 32}, {"references": 3}])
def test_a_commit_that_says_something_else(log: SmallLog, change: dict[str, object]) -> None:
    """Frames say what they are: a false commit is found, by reading and by a check with the key."""
    newest = segments(log)[-1]
    objects(log).pop(log.small.catalog._db.execute("select commit_key from segments order by first desc").fetchone()[0])
    forged(log, msgspec.structs.replace(newest, **change))
    assert fresh_check(log).findings or "count" in change
    small = log.small.beside()
    assert check(small.vault, small.catalog, Progress(), private=small.private).findings
    with pytest.raises(Damaged):
        SmallLog(small).read()


def test_a_fork_is_found(log: SmallLog, some: random.Random) -> None:
    other = SmallLog(SmallVault(MemoryStore()))
    other.write(records(some, 0, 15))
    forked = segments(other)[0]
    objects(log)[key_of(forked)] = objects(other)[key_of(forked)]
    forged(log, msgspec.structs.replace(forked, first=12, count=3, previous=segments(log)[3].last))
    assert any("claims the place" in each.reason for each in fresh_check(log).findings)
    with pytest.raises(Damaged):
        log.read()


def test_with_the_key_names_are_compared(log: SmallLog) -> None:
    small = log.small
    assert check(small.vault, small.catalog, Progress(), private=small.private).findings == []
