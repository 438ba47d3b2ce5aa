"""Forgetting what is damaged: it is stored when it comes again, old points become whole, nobody beside is hurt."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from knowngood.core.errors import Busy, Damaged, KnowngoodError, StoreFailed
from knowngood.core.progress import Progress
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault.epoch import latest_epoch
from knowngood.vault.forget import GONE, GOOD, SPENT, Forgotten, forget_harmed
from knowngood.vault.layout import INDEX, PACKS, name_in
from knowngood.vault.rebuild import rebuild_index
from tests.unit.vault.collecting import files, packs


def objects(small: SmallVault) -> dict[str, bytes]:
    store = small.store.inner if isinstance(small.store, FaultyStore) else small.store
    assert isinstance(store, MemoryStore)
    return store.objects


def flip(small: SmallVault, key: str, at: int = -1) -> bytes:
    """One bit. Returns the pack's name."""
    data = bytearray(objects(small)[key])
    data[at] ^= 4
    objects(small)[key] = bytes(data)
    return name_in(key)


def data_packs(small: SmallVault) -> list[str]:
    return sorted(each.key for each in small.store.list(PACKS))


def forget(small: SmallVault, *doubted: bytes) -> Forgotten:
    return forget_harmed(small.vault, doubted, Progress())


@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
def test_what_was_damaged_is_stored_again(small: SmallVault, some: random.Random, harm: str) -> None:
    content = files(some, 20)
    with small_packs():
        old = small.protect(content)
        key = data_packs(small)[0]
        if harm == "gone":
            doubted = name_in(key)
            del objects(small)[key]
        elif harm == "cut":
            doubted = name_in(key)
            objects(small)[key] = objects(small)[key][:-1]
        else:
            doubted = flip(small, key)
        assert forget(small, doubted).places
        assert forget(small, doubted).places == 0
        before = packs(small)
        new = small.protect(content)
    assert len(packs(small) - before) == 1, "only what was lost"
    small.verify({old.id: content, new.id: content})
    small.verify_known()
    assert not small.check(read_data=False).findings


def test_what_can_be_read_again_is_not_forgotten(small: SmallVault, some: random.Random) -> None:
    """It was a cable. And a pack that has gone meanwhile is remembered as such."""
    with small_packs():
        small.protect(files(some, 10))
    runs, number = list(small.store.list(INDEX)), latest_epoch(small.store).number
    name = name_in(data_packs(small)[0])
    done = forget(small, name, bytes(32))
    assert (done.places, done.verdicts) == (0, {name: GOOD, bytes(32): GONE})
    assert (list(small.store.list(INDEX)), latest_epoch(small.store).number) == (runs, number)


def test_a_pack_that_cannot_be_read_now_is_kept(shaky: SmallVault, faulty: FaultyStore, some: random.Random) -> None:
    """Its rows are forgotten; the index that a rebuild makes when it is back has them again."""
    content = files(some, 20)
    with small_packs():
        point = shaky.protect(content)
    key = data_packs(shaky)[0]

    def unreadable(operation: str, at: str) -> None:
        if operation in ("get", "view") and at == key:
            raise StoreFailed("the disk does not answer")

    faulty.before.append(unreadable)
    done = forget(shaky, name_in(key))
    assert (bool(done.places), done.verdicts) == (True, {name_in(key): SPENT})
    with pytest.raises(Damaged):
        shaky.collect()
    faulty.before.clear()
    assert key in packs(shaky)
    rebuild_index(shaky.vault, Progress())
    shaky.verify({point.id: content})


def test_a_damaged_index_comes_first(small: SmallVault, some: random.Random) -> None:
    with small_packs():
        small.protect(files(some, 10))
    flip(small, next(iter(small.store.list(INDEX))).key)
    with pytest.raises(Damaged, match="index"):
        forget(small)


def test_one_at_a_time(small: SmallVault, some: random.Random) -> None:
    with small_packs():
        small.protect(files(some, 10))
    with small.vault.session("collect", without_index=True, exclusive=True), pytest.raises(Busy):
        forget(small, flip(small, data_packs(small)[0]))


def test_a_writer_beside_it_loses_nothing(small: SmallVault, some: random.Random) -> None:
    """It refers to what its older index knows, and its own run counts as before."""
    content, more = files(some, 20), files(some, 5)
    with small_packs():
        old = small.protect(content)
        with small.vault.session("writer") as session:
            doubted = flip(small, data_packs(small)[0])
            assert forget(small.beside(), doubted).places
            new = small.protect_in(session, {**more, b"same": content[b"folder0/file0"]})
        healed = small.protect(content)
    small.verify(
        {old.id: content, new.id: {**more, b"same": content[b"folder0/file0"]}, healed.id: content},
    )


def test_in_the_middle_of_a_collection(small: SmallVault, some: random.Random) -> None:
    """What was condemned stays so, and the collection comes to its end."""
    content = files(some, 20)
    with small_packs():
        gone, kept = small.protect(files(some, 20)), small.protect(content)
        small.expire(gone)
        with small.vault.session("reads"):
            assert small.collect().waiting_for
            live = [key for key in data_packs(small) if name_in(key) not in latest_epoch(small.store).condemned]
            assert forget(small, flip(small, live[0])).places
        assert latest_epoch(small.store).condemned
        small.protect(content)
    assert small.collect().purged_points == 1
    small.follow()
    for point in small.catalog.points():
        assert small.recover(point) == content
    assert kept.id in {point.id for point in small.catalog.points()}


@pytest.mark.parametrize("late", [False, True])
def test_cut_off_anywhere(late: bool, some: random.Random) -> None:
    """Whatever was done last: every point is as readable as it was, and the next run finishes the work."""
    for at in range(1, 30):
        faulty = FaultyStore(MemoryStore())
        small = SmallVault(faulty)
        content = files(random.Random(at), 12)
        with small_packs():
            point = small.protect(content)
            doubted = flip(small, data_packs(small)[0])
            faulty.fail(at, StoreFailed("cut off"), after=late)
            with suppress(KnowngoodError):
                forget(small, doubted)
            failed = faulty.failed
            faulty.mend()
            forget(small, doubted)
            healed = small.protect(content)
        small.verify({point.id: content, healed.id: content})
        small.verify_known()
        if not failed:
            return
    raise AssertionError("it never came to an end")
