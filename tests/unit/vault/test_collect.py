"""Collection: what nothing needs goes, what is needed stays, and it comes to an end."""

from __future__ import annotations

import random
from unittest.mock import patch

import pytest

from knowngood.core.errors import Busy, Damaged, StoreFailed
from knowngood.core.progress import Progress
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault, bury, small_packs
from knowngood.vault import collect as module
from knowngood.vault.collect import collect
from knowngood.vault.epoch import latest_epoch
from knowngood.vault.layout import COMMITS, INDEX, PACKS, PAGES, SESSIONS
from knowngood.vault.pack import walk_pack
from knowngood.vault.session import Session, list_sessions
from tests.unit.vault.collecting import aged, bytes_in, files, packs

# --------------------------------------------------------------------------------------------------- what it comes to


def test_an_empty_vault(small: SmallVault) -> None:
    done = small.collect()
    assert (done.packs, done.deleted_packs, done.waiting_for) == (0, 0, [])
    assert latest_epoch(small.store).number == 0


def test_a_vault_that_needs_everything_is_left_as_it_is(small: SmallVault, some: random.Random) -> None:
    with small_packs():
        point = small.protect(files(some, 20))
    before = packs(small)
    done = small.collect()
    assert (done.deleted_packs, done.copied_bytes, packs(small)) == (0, 0, before)
    assert latest_epoch(small.store).number == 0
    assert small.catalog.points() == [point]


def test_what_nothing_needs_goes_and_the_rest_is_copied(small: SmallVault, some: random.Random) -> None:
    truth, _ = aged(small, some)
    before = bytes_in(small)
    done = small.collect()
    assert done.deleted_packs
    assert done.purged_points == 1
    assert bytes_in(small) == before - done.freed_bytes
    small.verify(truth)
    small.verify_known()
    assert not small.check().findings


def test_a_second_collection_finds_nothing_to_do(small: SmallVault, some: random.Random) -> None:
    """Also where packs are tiny, and their keys weigh more than their content."""
    truth, _ = aged(small, some)
    with small_packs(raw=1):
        point = small.protect({b"f%d" % at: b"%d" % at for at in range(10)}, "tiny", piece=1)
    truth[point.id] = {b"f%d" % at: b"%d" % at for at in range(10)}
    small.collect()
    before, epoch = packs(small), latest_epoch(small.store)
    for _ in range(3):
        done = small.collect()
        assert (done.deleted_packs, done.copied_bytes) == (0, 0)
    assert packs(small) == before
    assert latest_epoch(small.store) == epoch
    small.verify(truth)


def test_keys_that_nothing_needs_any_more_are_waste(small: SmallVault, some: random.Random) -> None:
    """A pack gathered from many tiny ones holds many keys: when few of its frames are left, it is worth rewriting."""
    points = []
    contents = {}
    for number in range(30):
        contents[number] = {b"f": some.randbytes(40)}
        points.append(small.protect(contents[number], f"s{number}"))
    small.expire(*points[:3])
    with patch.object(module, "WORTH", -1.0):  # rewrite everything, once
        small.collect()
    small.expire(*points[3:-1])
    before = bytes_in(small)
    small.collect_all()
    small.verify({points[-1].id: contents[29]})
    assert bytes_in(small) < before / 3


def test_a_dry_run_tells_what_would_be_done_and_does_nothing(small: SmallVault, some: random.Random) -> None:
    truth, _ = aged(small, some)
    assert isinstance(small.store, MemoryStore)
    before = dict(small.store.objects)
    told = collect(small.vault, Progress(), dry_run=True)
    assert small.store.objects == before
    done = small.collect()
    assert (told.packs, told.deleted_packs, told.purged_points) == (done.packs, done.deleted_packs, done.purged_points)
    assert told.freed_bytes == pytest.approx(done.freed_bytes, rel=0.1)
    small.verify(truth)


def test_what_a_crashed_session_left_goes(small: SmallVault, some: random.Random) -> None:
    point = small.protect({b"f": b"content"})
    before = packs(small)
    session = Session(small.store, small.vault.id, small.vault.writer.public, "crash")
    with small_packs(), small.vault.ingest(session, Progress()) as sink:
        small.land(sink, files(some, 30))
    bury(small.store, session)
    done = small.collect()
    assert done.fenced == 1
    small.collect_all()
    assert packs(small) == before
    assert list(small.store.list(SESSIONS)) == []
    small.verify({point.id: {b"f": b"content"}})


def test_many_runs_are_merged_into_few(small: SmallVault) -> None:
    truth = {}
    for number in range(20):
        content = {b"f": b"%d" % number}
        truth[small.protect(content).id] = content
    assert len(list(small.store.list(INDEX))) == 20
    small.collect()
    assert len(list(small.store.list(INDEX))) == 1
    small.verify(truth)


def test_a_large_index_is_not_merged_over_and_over(small: SmallVault, some: random.Random) -> None:
    """A vault of many TiB has more merged runs than a small one may have unmerged ones."""
    from knowngood.vault import merge

    few_rows = patch.object(merge.merge_runs, "__kwdefaults__", {"run_rows": 4})
    with small_packs(), few_rows, patch.object(module, "RUN_ROWS", 4):
        truth = {}
        for number in range(20):
            content = {b"f": b"%d" % number, b"g": some.randbytes(60)}
            truth[small.protect(content).id] = content
        small.collect()
        assert len(list(small.store.list(INDEX))) > module.MERGE_FROM
        epoch = latest_epoch(small.store)
        small.collect()
        assert latest_epoch(small.store) == epoch
    small.verify(truth)


# ------------------------------------------------------------------------------------------------- beside others


def test_a_long_first_protect_beside_collections_is_not_copied_afterwards(
    small: SmallVault, some: random.Random
) -> None:
    """Its packs looked dead while it ran; once it has committed, they are as good as any."""
    other = small.beside()
    content = files(some, 40)
    with small_packs(), small.vault.session("first protect") as session:
        with small.vault.ingest(session, Progress()) as sink:
            root = small.land(sink, content)
        landed = packs(small)
        for _ in range(3):
            assert other.collect().waiting_for
        point = small.commit(session, root)
    done = other.collect()
    assert (done.copied_bytes, done.deleted_packs) == (0, 0)
    assert packs(small) == landed
    small.verify({point.id: content})
    other.collect_all()
    assert packs(small) == landed


def test_a_writer_that_opened_before_a_collection_commits_in_the_middle_of_it(
    small: SmallVault, some: random.Random
) -> None:
    """It refers to chunks that nothing else needs any more: they must not go."""
    other = small.beside()
    content = files(some, 10)
    with small_packs():
        old = small.protect(content)
        small.expire(old)
        with small.vault.session("writer") as session:
            assert other.collect().waiting_for
            new = small.protect_in(session, content)
    done = other.collect()
    assert done.purged_points == 1
    small.verify({new.id: content})
    small.verify_known()
    other.collect_all()
    small.verify({new.id: content})
    assert not small.check().findings


def test_a_writer_that_opens_in_the_middle_stores_again_what_is_condemned(
    small: SmallVault, some: random.Random
) -> None:
    other = small.beside()
    content = files(some, 10)
    with small_packs():
        small.expire(small.protect(content))
        with small.vault.session("blocks the collector"):
            assert other.collect().waiting_for
            new = small.protect(content)
            small.verify({new.id: content})
        with small.vault.session("writer across the deletion") as session:
            assert other.collect().deleted_packs
            again = small.protect_in(session, content, "again")
    small.verify({new.id: content, again.id: content})
    small.verify_known()
    other.collect_all()
    small.verify({new.id: content, again.id: content})


def test_a_collector_at_work_keeps_others_out(faulty: FaultyStore, shaky: SmallVault, some: random.Random) -> None:
    truth, _ = aged(shaky, some)
    beside = shaky.beside(faulty.inner)
    tried: list[str] = []

    def second(operation: str, key: str) -> None:
        if operation == "put" and not key.startswith(SESSIONS):
            tried.append(key)
            with pytest.raises(Busy):
                beside.collect()

    faulty.before.append(second)
    shaky.collect()
    faulty.before.clear()
    assert tried
    shaky.verify(truth)
    assert not shaky.check().findings


def test_a_collector_without_work_withdraws(small: SmallVault) -> None:
    small.protect({b"f": b"1"})
    small.collect()
    assert list_sessions(small.store) == []


# ------------------------------------------------------------------------------------------------------- interrupted


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_collection_may_fail_at_every_step(some: random.Random, *, after: bool) -> None:
    """Whatever was done so far: everything recovers, a check finds nothing, and the next collection ends it."""
    at = 1
    while True:
        store = FaultyStore(MemoryStore())
        small = SmallVault(store)
        truth, _ = aged(small, random.Random(at))
        store.fail(at, StoreFailed("gone"), after=after)
        failed = True
        try:
            small.collect()
        except StoreFailed:
            pass
        else:
            failed = store.failed
        store.mend()
        small.verify(truth)
        small.verify_known()
        assert not small.check().findings
        small.collect_all()
        small.verify(truth)
        small.verify_known()
        assert len(list(store.list(COMMITS))) == 1
        assert list_sessions(store) == [] or all(card.exclusive for card in list_sessions(store))
        if not failed:
            break
        at += 1
    assert at > 10


# ------------------------------------------------------------------------------------------------------------ damage


def harm(small: SmallVault, key: str, at: int = -1) -> None:
    assert isinstance(small.store, MemoryStore)
    data = bytearray(small.store.objects[key])
    data[at] ^= 1
    small.store.objects[key] = bytes(data)


def test_nothing_goes_while_a_commit_is_unreadable(small: SmallVault, some: random.Random) -> None:
    aged(small, some)
    before = packs(small)
    harm(small, next(iter(small.store.list(COMMITS))).key)
    with pytest.raises(Damaged, match="nothing was deleted"):
        small.collect()
    assert packs(small) == before


def test_nothing_goes_while_a_page_is_unreadable(small: SmallVault, some: random.Random) -> None:
    truth, _ = aged(small, some)
    before = packs(small)
    for each in list(small.store.list(PAGES)):
        harm(small, each.key)
    with pytest.raises(Damaged, match="nothing was deleted"):
        small.collect()
    assert packs(small) == before
    assert truth


def test_nothing_goes_while_a_needed_pack_is_missing(small: SmallVault, some: random.Random) -> None:
    """Half of a disk that is not mounted, or a lost pack: this is no time to delete."""
    truth, mixed = aged(small, some)
    keys = [each.key for each in small.store.list(PACKS)]
    assert isinstance(small.store, MemoryStore)
    refused = 0
    for key in keys:
        data = small.store.objects.pop(key)
        before = packs(small)
        try:
            with patch.object(module._Collection, "_condemn", side_effect=ZeroDivisionError):
                small.collect()
        except Damaged as wrong:
            assert "nothing was deleted" in wrong.message
            refused += 1
        except ZeroDivisionError:
            pass
        assert packs(small) == before
        small.store.objects[key] = data
    assert 0 < refused < len(keys)
    small.verify(truth)
    assert mixed


def test_a_damaged_index_run_is_never_merged(small: SmallVault, some: random.Random) -> None:
    """A flipped row in a run would go on in a merged one, with a good name: nobody could tell any more."""
    truth, _ = aged(small, some)
    runs = [each.key for each in small.store.list(INDEX)]
    for key in runs:
        harm(small, key, -3)
        before = packs(small)
        with pytest.raises(Damaged) as raised:
            small.collect()
        assert "rebuild" in raised.value.hint
        assert packs(small) == before
        harm(small, key, -3)
    small.collect()
    small.verify(truth)


def test_one_damaged_pack_does_not_stop_collection(small: SmallVault, some: random.Random) -> None:
    """What cannot be copied stays where it is; all else goes its way, or one flipped bit would fill the disk."""
    shared = files(some, 8)
    with small_packs():
        gone = small.protect(files(some, 10))
        mixed = small.protect(files(some, 6) | shared)
        kept = small.protect(shared)
    small.expire(gone, mixed)
    assert isinstance(small.store, MemoryStore)
    good = dict(small.store.objects)
    told = collect(small.vault, Progress(), dry_run=True)
    for key in [each.key for each in small.store.list(PACKS)]:
        small.store.objects = dict(good)
        size = len(good[key])
        last = list(walk_pack(lambda at, n, key=key: small.store.get(key, at, n), size))[-1]
        harm(small, key, last.offset + last.header.head_bytes)
        done = small.collect()
        assert done.deleted_packs >= told.deleted_packs - 1
        assert done.purged_points == 2
        small.follow()
        try:
            assert small.recover(kept) == shared
        except Damaged:
            assert key in packs(small)
        if key not in packs(small):
            assert not small.check().findings


def test_a_pack_that_became_worth_it_is_kept_though_it_was_condemned(small: SmallVault, some: random.Random) -> None:
    content = files(some, 10)
    with small_packs():
        session = Session(small.store, small.vault.id, small.vault.writer.public, "writer")
        with small.vault.ingest(session, Progress()) as sink:
            root = small.land(sink, content)
        assert small.beside().collect().waiting_for
        point = small.commit(session, root)
        session.close()
    small.collect()
    small.verify({point.id: content})
