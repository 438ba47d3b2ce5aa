"""Checking finds what is wrong, says whom it concerns, and cries no wolf."""

from __future__ import annotations

import random

import pytest

from knowngood.core.progress import Progress
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault.check import Checked, check
from knowngood.vault.epoch import latest_epoch
from knowngood.vault.layout import COMMITS, DESCRIPTOR_COPY, INDEX, KEYS, PACKS, PAGES, SESSIONS, epoch_key
from knowngood.vault.pack import read_keys, walk_pack
from knowngood.vault.session import Session


def objects(small: SmallVault) -> dict[str, bytes]:
    assert isinstance(small.store, MemoryStore)
    return small.store.objects


def flip(small: SmallVault, key: str, at: int) -> None:
    data = bytearray(objects(small)[key])
    data[at] ^= 4
    objects(small)[key] = bytes(data)


def keys(small: SmallVault, folder: str) -> list[str]:
    return sorted(each.key for each in small.store.list(folder))


def told(checked: Checked) -> set[tuple[str, str]]:
    return {(each.what, each.object) for each in checked.findings}


def affected(checked: Checked) -> set[bytes]:
    return {point for each in checked.findings for point in each.points}


def two_points(small: SmallVault, some: random.Random) -> tuple[bytes, bytes, dict[bytes, bytes]]:
    """Two points, each with packs that only it needs."""
    one = {b"f%d" % at: some.randbytes(1500) for at in range(6)}
    two = {b"f%d" % at: some.randbytes(1500) for at in range(6)}
    with small_packs():
        return small.protect(one).id, small.protect(two).id, one


def test_a_sound_vault_has_no_findings(small: SmallVault, some: random.Random) -> None:
    two_points(small, some)
    done = small.check()
    assert not done.findings
    assert (done.points, done.pages) == (2, 2)
    assert done.packs == done.read_packs == len(keys(small, PACKS)) + len(keys(small, PAGES))
    assert done.read_bytes == sum(len(objects(small)[key]) for f in (PACKS, PAGES) for key in keys(small, f))
    assert keys(small, SESSIONS) == []


def test_an_empty_vault_is_sound(small: SmallVault) -> None:
    assert not small.check().findings


@pytest.mark.parametrize("place", ["body", "header", "names", "head", "key", "cut", "gone"])
def test_a_damaged_pack_concerns_the_points_that_need_it(small: SmallVault, some: random.Random, place: str) -> None:
    first, second, _ = two_points(small, some)
    for key in keys(small, PACKS):
        good = objects(small)[key]
        frames = list(walk_pack(lambda at, n, good=good: good[at : at + n], len(good)))
        if place == "cut":
            objects(small)[key] = good[:-1]
        elif place == "gone":
            del objects(small)[key]
        else:
            frame = frames[-1]
            at = {
                "body": frame.offset + frame.header.head_bytes,
                "header": frame.offset + 5,
                "names": frame.offset + 70,
            }
            flip(small, key, at.get(place, 0 if place == "head" else 24 + 100))
        done = small.check()
        assert ("pack", key) in told(done)
        if place == "head":
            assert affected(done) == set()  # its keys and frames speak for themselves
        else:
            assert len(affected(done)) == 1
            (point,) = affected(done)
            with pytest.raises(Exception, match=r"."):
                small.recover(small.catalog.find_point(point.hex()))
        for point in {first, second} - affected(done):
            small.recover(small.catalog.find_point(point.hex()))
        objects(small)[key] = good
    assert not small.check().findings


def test_without_reading_data_missing_and_cut_packs_show(small: SmallVault, some: random.Random) -> None:
    two_points(small, some)
    one, two, *_ = keys(small, PACKS)
    del objects(small)[one]
    objects(small)[two] = objects(small)[two][:-1]
    done = small.check(read_data=False)
    assert {("pack", one), ("pack", two)} <= told(done)
    assert affected(done)
    assert done.read_packs == 0


def test_a_damaged_key_of_a_pack_hurts_what_is_sealed_with_it(small: SmallVault, some: random.Random) -> None:
    """Every frame is intact, and none can be opened: a check without the private key has to tell."""
    two_points(small, some)
    key = keys(small, PACKS)[0]
    flip(small, key, 24 + 200)
    assert not read_keys(lambda at, n: objects(small)[key][at : at + n])
    assert len(affected(small.check())) == 1


def test_pages_too(small: SmallVault, some: random.Random) -> None:
    two_points(small, some)
    for key in keys(small, PAGES):
        flip(small, key, -1)
        done = small.check(read_data=False)
        assert len(affected(done)) == 1
        flip(small, key, -1)


def test_a_second_copy_saves_a_point_and_the_damage_is_told_all_the_same(
    small: SmallVault, some: random.Random
) -> None:
    content = {b"f": some.randbytes(1500)}
    point = small.protect(content)
    before = set(keys(small, PACKS) + keys(small, PAGES))
    for each in keys(small, INDEX):  # as a writer that does not know of the first copy
        objects(small)["kept/" + each] = objects(small).pop(each)
    with small.vault.session("again") as session:
        for each in [key for key in objects(small) if key.startswith("kept/")]:
            objects(small)[each.removeprefix("kept/")] = objects(small).pop(each)
        small.protect_in(session, content)
    for key in sorted(set(keys(small, PACKS) + keys(small, PAGES)) ^ before) + sorted(before):
        flip(small, key, -1)
        done = small.check()
        assert told(done) == {("pack", key)}
        assert affected(done) == set()
        assert small.recover(point) == content
        flip(small, key, -1)


def test_small_objects(small: SmallVault) -> None:
    small.protect({b"f": b"content"})
    for key in [DESCRIPTOR_COPY, *keys(small, KEYS)]:
        good = objects(small).pop(key)
        assert key in {name for _, name in told(small.check())}
        objects(small)[key] = good
        flip(small, key, 20)
        assert key in {name for _, name in told(small.check())}
        objects(small)[key] = good
    for key in keys(small, COMMITS):
        flip(small, key, 20)
        assert ("commit", key) in told(small.check())
        flip(small, key, 20)
    assert not small.check().findings


def test_a_damaged_epoch_is_a_finding_and_no_error(small: SmallVault) -> None:
    small.expire(small.protect({b"f": b"content"}))
    small.collect()
    newest = latest_epoch(small.store).number
    for number in (newest - 1, newest):
        flip(small, epoch_key(number), 3)
        assert ("epoch", epoch_key(number)) in told(small.check())
        flip(small, epoch_key(number), 3)


def test_a_damaged_announcement_is_told_of(small: SmallVault) -> None:
    session = Session(small.store, small.vault.id, small.vault.writer.public, "test")
    (key,) = keys(small, SESSIONS)
    flip(small, key, 9)
    assert ("session", key) in told(small.check())
    session.close()


@pytest.mark.parametrize("at", [0, 9, 40, 300, -1, -9, -20, -30], ids="{}".format)
def test_a_damaged_index_is_a_finding_and_no_error(small: SmallVault, some: random.Random, at: int) -> None:
    two_points(small, some)
    for key in keys(small, INDEX):
        flip(small, key, at)
        done = small.check()
        assert any("rebuild" in each.reason for each in done.findings)
        assert done.read_packs  # data is read in spite of it
        flip(small, key, at)


def test_a_lost_index_run_concerns_its_points(small: SmallVault, some: random.Random) -> None:
    first, _, _ = two_points(small, some)
    for key in keys(small, INDEX):
        good = objects(small).pop(key)
        assert len(affected(small.check())) == 1
        objects(small)[key] = good
    assert first


def test_strange_files_are_told_of_and_stop_nothing(small: SmallVault, some: random.Random) -> None:
    two_points(small, some)
    for key in (PACKS + "ab/notes.txt", PAGES + "x.txt", COMMITS + "notes.txt", SESSIONS + "notes.txt"):
        small.store.put(key, [b"hello"])
    done = small.check()
    assert {PACKS + "ab/notes.txt", PAGES + "x.txt", COMMITS + "notes.txt"} <= {name for _, name in told(done)}
    assert affected(done) == set()
    assert done.points == 2


@pytest.mark.parametrize(
    "moment", [("list", PACKS), ("get", PACKS), ("list", COMMITS), ("get", PAGES), ("view", INDEX)]
)
def test_a_check_beside_a_collector_cries_no_wolf(some: random.Random, moment: tuple[str, str]) -> None:
    """It began while packs were condemned; they are moved and deleted while it looks at them."""
    faulty = FaultyStore(MemoryStore())
    shaky = SmallVault(faulty)
    two_points(shaky, some)
    with small_packs():
        shaky.expire(shaky.protect({b"g%d" % at: some.randbytes(1500) for at in range(9)}))
    beside = shaky.beside(faulty.inner)
    with shaky.vault.session("blocks the collector"):
        assert beside.collect().waiting_for
    work: list[int] = []

    def collector(operation: str, key: str) -> None:
        if operation == moment[0] and key.startswith(moment[1]) and not work:
            work.append(0)
            work[0] = beside.collect().deleted_packs

    faulty.before.append(collector)
    assert not shaky.check().findings
    assert work[0]


def test_a_check_with_a_limit_goes_on_where_it_stopped(small: SmallVault, some: random.Random) -> None:
    two_points(small, some)
    packs = len(keys(small, PACKS)) + len(keys(small, PAGES))
    seen = 0
    for _ in range(packs):
        done = check(small.vault, small.catalog, Progress(), read_data=True, limit=1)
        assert done.read_packs == 1
        seen = len(small.catalog.checked())
    assert seen == packs


def test_damage_that_concerns_many_points_is_told_once(faulty: FaultyStore, shaky: SmallVault) -> None:
    """A thousand points share what was lost: their pages are not read a thousand times, nor is it told as often."""
    files = {b"%d/f" % at: b"content %d" % at for at in range(40)}
    with small_packs():
        for number in range(30):
            shaky.protect(files | {b"0/number": b"%d" % number})
    faulty.inner.delete(next(iter(faulty.inner.list(PACKS))).key)
    faulty.log.clear()
    done = shaky.check(read_data=False)
    assert len({(each.what, each.object) for each in done.findings}) == len(done.findings)
    assert affected(done)
    assert sum(name == "get" and key.startswith(PAGES) for name, key in faulty.log) <= 3 * done.pages


def test_points_that_are_gone_for_good_need_nothing(small: SmallVault, some: random.Random) -> None:
    """Interrupted after the packs and before the commits: what is left of a purged point is no damage."""
    first, _, _ = two_points(small, some)
    small.expire(small.catalog.find_point(first.hex()))
    commits = {key: objects(small)[key] for key in keys(small, COMMITS)}
    small.collect()
    objects(small).update(commits)
    assert not small.check().findings
