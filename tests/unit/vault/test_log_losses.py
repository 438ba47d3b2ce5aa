"""Damage in a vault with logs: a check names it, it heals where it can; collection goes on where that hides nothing."""

from __future__ import annotations

import random

import pytest

from knowngood.core.errors import Unaccounted
from knowngood.core.log import Form, LogRecord, Operation
from knowngood.core.progress import Progress
from knowngood.testing.logs import TIMELINE, SmallLog, records
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault.collect import collect
from knowngood.vault.epoch import latest_epoch
from knowngood.vault.forget import GOOD, SPENT, bad_packs, curable_packs, forget_harmed
from knowngood.vault.index import Index
from knowngood.vault.layout import PACKS, PAGES, SEGMENTS, name_in
from knowngood.vault.losses import find_losses
from knowngood.vault.mark import Marker
from knowngood.vault.survey import Known
from tests.unit.vault.collecting import files, packs


@pytest.fixture
def log(small: SmallVault) -> SmallLog:
    return SmallLog(small)


def objects(log: SmallLog) -> dict[str, bytes]:
    assert isinstance(log.small.store, MemoryStore)
    return log.small.store.objects


def keys(log: SmallLog, folder: str) -> set[str]:
    return {key for key in objects(log) if key.startswith(folder)}


def flip(log: SmallLog, key: str) -> bytes:
    """The last bit but some. Returns the pack's name."""
    data = bytearray(objects(log)[key])
    data[-1] ^= 4
    objects(log)[key] = bytes(data)
    return name_in(key)


def referring(number: int, chunk: bytes) -> LogRecord:
    """A record that needs a chunk."""
    return LogRecord(
        sequence=number, time_ns=number, operation=Operation.WRITE, path=b"f", length=900, form=Form.CHUNK, data=chunk
    )


def forget(log: SmallLog, *doubted: bytes) -> dict[bytes, str]:
    """As the next protect does it."""
    done = forget_harmed(log.small.vault, doubted, Progress())
    log.small.catalog.note_checked([(pack, 1, verdict) for pack, verdict in done.verdicts.items()])
    return done.verdicts


class Torn:
    """A log that refers to a chunk whose pack is damaged, beside a point, and a point that is to be purged."""

    def __init__(self, log: SmallLog, some: random.Random) -> None:
        self.log = log
        self.content = some.randbytes(900)
        self.whole = files(some, 6)
        with small_packs():
            self.gone = log.small.protect(files(some, 20))
            self.kept = log.small.protect(self.whole)
            before = keys(log, PACKS)
            (self.chunk,) = log.land([self.content])
            (self.pack,) = keys(log, PACKS) - before
        log.write([referring(0, self.chunk)], records(some, 1, 3))
        log.small.expire(self.gone)
        self.name = flip(log, self.pack)


def test_a_lost_chunk_that_only_a_log_needs(log: SmallLog, some: random.Random) -> None:
    """The check names it by timeline; collection takes no key, and leaves what may hold a copy of it."""
    torn = Torn(log, some)
    found = log.small.check().findings
    assert [(each.what, each.timelines, each.lasting) for each in found] == [
        ("pack", [], False),
        ("segment", [TIMELINE], False),
    ]
    assert bad_packs(log.small.catalog) == curable_packs(log.small.catalog) == {torn.name}
    assert forget(log, torn.name) == {torn.name: SPENT}
    (lost,) = log.small.check(read_data=False).findings
    assert (lost.what, lost.timelines, lost.lasting) == ("segment", [TIMELINE], False)
    done = log.small.collect()
    assert (done.lost_chunks, done.purged_points) == (1, 1)
    assert done.freed_bytes > 0
    assert torn.pack in keys(log, PACKS)
    log.small.verify({torn.kept.id: torn.whole})
    assert log.read() == log.truth


def test_it_heals_when_it_is_stored_again(log: SmallLog, some: random.Random) -> None:
    torn = Torn(log, some)
    forget(log, torn.name)
    assert log.land([torn.content]) == [torn.chunk]
    done = collect(log.small.vault, Progress(), known=Known(worn=frozenset({torn.name})))
    assert done.lost_chunks == 0
    assert torn.pack not in keys(log, PACKS)
    assert log.small.check().findings == []


def test_a_lost_pack_may_come_back(log: SmallLog, some: random.Random) -> None:
    """While the index still tells of it, nothing is deleted, and it is said whose log needs it."""
    torn = Torn(log, some)
    data = objects(log).pop(torn.pack)
    before = packs(log.small)
    for private in (None, log.small.private):
        with pytest.raises(Unaccounted) as raised:
            collect(log.small.vault, Progress(), known=Known(private=private))
        assert (raised.value.points, raised.value.timelines) == ((), (TIMELINE,))
    assert packs(log.small) == before
    objects(log)[torn.pack] = data
    assert log.small.collect().purged_points == 1


def test_what_a_page_needs_as_well_takes_the_key(log: SmallLog, some: random.Random) -> None:
    """What a log says of it does not count against a page that could say something else."""
    torn = Torn(log, some)
    with small_packs():
        hurt = log.small.protect({b"f": torn.content})
    forget(log, torn.name)
    with pytest.raises(Unaccounted) as raised:
        log.small.collect()
    assert (raised.value.points, raised.value.timelines) == ((hurt.id,), (TIMELINE,))
    assert collect(log.small.vault, Progress(), known=Known(private=log.small.private)).lost_chunks == 1


def test_a_lost_root_is_no_chunk_whoever_refers_to_it(log: SmallLog, some: random.Random) -> None:
    log.small.protect(files(some, 3))
    index = Index.open(log.small.store, latest_epoch(log.small.store))
    for both in ([True, False], [False, True]):
        marker, root = Marker(log.small.store, index), b"r" * 32
        for logged in both:
            if logged:
                marker.reach_logged(root)
            else:
                marker.reach(root)
        losses = find_losses(marker, index, {pack[:8] for pack in index.packs()}, None)
        assert (losses.chunks, losses.hiding) == (frozenset(), {root[:16]})


def test_a_lost_segment_is_told_by_its_timeline(log: SmallLog, some: random.Random) -> None:
    """What it refers to is unknown: nothing goes, and no capture stores it again."""
    torn = Torn(log, some)
    flip(log, torn.pack)  # that one is good again
    segment = log.small.catalog.log.within(TIMELINE, 0, 1)[0]
    del objects(log)[f"segments/{segment.pack.hex()[:2]}/{segment.pack.hex()}"]
    (found,) = log.small.check().findings
    assert (found.what, found.timelines, found.lasting) == ("segment", [TIMELINE], True)
    before = packs(log.small)
    with pytest.raises(Unaccounted, match="nothing was deleted") as raised:
        log.small.collect()
    assert raised.value.timelines == (TIMELINE,)
    assert packs(log.small) == before


def test_a_damaged_segment_stays_so(log: SmallLog, some: random.Random) -> None:
    """Forgetting is no cure for it, and does not call it spent or gone; a later reading may find it good."""
    log.write(records(some, 0, 3), records(some, 3, 3))
    (key, *_) = sorted(keys(log, SEGMENTS))
    name = flip(log, key)
    for _ in range(2):
        found = log.small.check()
        assert all(each.lasting for each in found.findings)
        assert [each.timelines for each in found.findings if each.what == "segment"] == [[TIMELINE]]
        assert found.spent_packs == []
        assert (bad_packs(log.small.catalog), curable_packs(log.small.catalog)) == ({name}, frozenset())
        assert forget(log, name) == {}
    flip(log, key)
    assert forget(log, name) == {name: GOOD}
    assert bad_packs(log.small.catalog) == frozenset()
    assert log.small.check().findings == []


def test_a_damaged_segment_that_no_commit_holds_is_spent(log: SmallLog, some: random.Random) -> None:
    """It is told once, and goes with the next collection: also beside lost chunks, of which it holds none."""
    torn = Torn(log, some)
    before = keys(log, SEGMENTS)
    log.small.store.put("segments/ab/" + "ab" * 32, [b"a segment whose writer died, and then the disk hurt it"])
    name = bytes.fromhex("ab" * 32)
    assert {each.object for each in log.small.check().findings if each.what == "pack"} >= {"segments/ab/" + "ab" * 32}
    assert forget(log, name, torn.name) == {name: SPENT, torn.name: SPENT}
    found = log.small.check()
    assert set(found.spent_packs) == {"segments/ab/" + "ab" * 32, torn.pack}
    assert [each.what for each in found.findings] == ["segment"]
    assert log.small.collect().lost_chunks == 1
    assert keys(log, SEGMENTS) == before
    assert keys(log, PAGES)


def test_a_damaged_index_is_told_beside_damaged_segments(log: SmallLog, some: random.Random) -> None:
    torn = Torn(log, some)
    for key in keys(log, "index/"):
        flip(log, key)
    (key, *_) = sorted(keys(log, SEGMENTS))
    flip(log, key)
    found = log.small.check().findings
    assert {(each.what, each.object) for each in found} >= {("pack", torn.pack), ("pack", key), ("segment", key)}
