"""The index comes back from the packs alone; what is damaged costs no more than itself."""

from __future__ import annotations

import random

import pytest

from knowngood.core.errors import Busy, KnowngoodError
from knowngood.core.progress import Progress
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault.epoch import latest_epoch
from knowngood.vault.layout import DESCRIPTOR, INDEX, KEYS, PACKS, PAGES, SESSIONS, epoch_key
from knowngood.vault.pack import walk_pack
from knowngood.vault.rebuild import Rebuilt, rebuild_index
from knowngood.vault.session import Session


def objects(small: SmallVault) -> dict[str, bytes]:
    assert isinstance(small.store, MemoryStore)
    return small.store.objects


def keys(small: SmallVault, folder: str) -> list[str]:
    return sorted(each.key for each in small.store.list(folder))


def rebuild(small: SmallVault) -> Rebuilt:
    return rebuild_index(small.vault, Progress())


def filled(small: SmallVault, some: random.Random) -> dict[bytes, dict[bytes, bytes]]:
    truth = {}
    with small_packs():
        for number in range(3):
            files = {b"f%d" % at: some.randbytes(1500) for at in range(6)}
            truth[small.protect(files, f"s{number}").id] = files
    return truth


def test_a_deleted_index_comes_back(small: SmallVault, some: random.Random) -> None:
    truth = filled(small, some)
    for key in keys(small, INDEX):
        del objects(small)[key]
    done = rebuild(small)
    assert (done.damaged, done.mended, done.runs) == ({}, [], 1)
    assert done.packs == len(keys(small, PACKS) + keys(small, PAGES))
    small.verify(truth)
    small.verify_known()
    assert not small.check().findings


def test_a_sound_index_stays_as_it_is(small: SmallVault, some: random.Random) -> None:
    truth = filled(small, some)
    rebuild(small)
    (run,) = keys(small, INDEX)
    rebuild(small)
    assert keys(small, INDEX) == [run]
    small.verify(truth)


def test_a_damaged_index_and_epoch(small: SmallVault, some: random.Random) -> None:
    truth = filled(small, some)
    small.expire(small.protect({b"f": b"gone"}))
    small.collect()
    number = latest_epoch(small.store).number
    objects(small)[epoch_key(number)] = b"no epoch"
    for key in keys(small, INDEX):
        objects(small)[key] = b"no run"
    with pytest.raises(KnowngoodError, match="epoch"):
        small.protect({b"f": b"1"})
    rebuild(small)
    assert latest_epoch(small.store).number == number + 1
    small.verify(truth)
    assert not small.check().findings


@pytest.mark.parametrize("place", ["head", "header", "length", "body"])
def test_one_damaged_frame_costs_itself_only(small: SmallVault, some: random.Random, place: str) -> None:
    """A flipped bit in a header must not take away all that lies behind it: it was readable before the rebuild."""
    content = [some.randbytes(1500) for _ in range(12)]
    with small_packs(raw=1 << 20):
        with small.vault.session("land") as session, small.vault.ingest(session, Progress()) as sink:
            names = [sink.add(each) for each in content]
            sink.flush()
    (key,) = keys(small, PACKS)
    good = objects(small)[key]
    frames = list(walk_pack(lambda at, n: good[at : at + n], len(good)))
    at = {"head": 0, "header": frames[4].offset + 1, "length": frames[4].offset + 26, "body": frames[4].offset + 200}
    data = bytearray(good)
    data[at[place]] ^= 64
    objects(small)[key] = bytes(data)
    done = rebuild(small)
    assert list(done.damaged) == ([key] if place != "body" else [])  # no body is read
    readable = 0
    with small.vault.session("read") as session:
        reader = small.vault.reader(session, small.private)
        for name, each in zip(names, content, strict=True):
            try:
                assert bytes(reader.chunk(name)) == each
                readable += 1
            except KnowngoodError:
                assert each
    assert readable == (12 if place == "head" else 11)


def test_what_was_lost_is_stored_again(small: SmallVault, some: random.Random) -> None:
    """After a rebuild, nobody is told that lost chunks are there: the next protect brings them back."""
    files = {b"f%d" % at: some.randbytes(1500) for at in range(6)}
    with small_packs():
        point = small.protect(files)
        del objects(small)[keys(small, PACKS)[0]]
        assert small.check(read_data=False).findings
        rebuild(small)
        again = small.protect(files)
    small.verify({point.id: files, again.id: files})
    assert not small.check().findings


def test_copies_of_small_objects_are_made_anew(small: SmallVault) -> None:
    small.protect({b"f": b"content"})
    key = keys(small, KEYS)[0]
    good = dict(objects(small))
    del objects(small)[DESCRIPTOR]
    objects(small)[key] = b"no key file"
    assert sorted(rebuild(small).mended) == sorted([key, DESCRIPTOR])
    assert objects(small)[key] == good[key]
    assert objects(small)[DESCRIPTOR] == good[DESCRIPTOR]
    assert not small.check().findings


def test_strange_files_are_told_of(small: SmallVault, some: random.Random) -> None:
    truth = filled(small, some)
    small.store.put(PACKS + "ab/notes.txt", [b"hello"])
    small.store.put(INDEX + "notes.txt", [b"hello"])
    assert sorted(rebuild(small).damaged) == [INDEX + "notes.txt", PACKS + "ab/notes.txt"]
    del objects(small)[INDEX + "notes.txt"]
    small.verify(truth)


def test_a_collector_at_work_comes_first(small: SmallVault) -> None:
    args = (small.store, small.vault.id, small.vault.writer.public, "collect")
    session = Session(*args, without_index=True, exclusive=True)
    with pytest.raises(Busy):
        rebuild(small)
    session.close()
    rebuild(small)
    assert keys(small, SESSIONS) == []


def test_a_writer_beside_a_rebuild_loses_nothing(faulty: FaultyStore, shaky: SmallVault, some: random.Random) -> None:
    """It lands packs, publishes its run and commits in the middle of it, at whatever moment."""
    truth = filled(shaky, some)
    beside = shaky.beside(faulty.inner)
    moments = [("list", INDEX), ("list", PACKS), ("list", PAGES), ("put", INDEX), ("put", "epochs/"), ("delete", INDEX)]
    for moment in moments:
        files = {b"w%d" % at: some.randbytes(1500) for at in range(4)}
        done: list[bytes] = []

        def writer(
            operation: str,
            key: str,
            moment: tuple[str, str] = moment,
            files: dict[bytes, bytes] = files,
            done: list[bytes] = done,
        ) -> None:
            if operation == moment[0] and key.startswith(moment[1]) and not done:
                done.append(b"")
                done[0] = beside.protect(files).id

        faulty.before = [writer]
        rebuild(shaky)
        faulty.before = []
        assert done, moment
        truth[done[0]] = files
        shaky.verify(truth)
        shaky.verify_known()
        assert not shaky.check().findings


def test_condemned_and_purged_survive_a_rebuild(small: SmallVault, some: random.Random) -> None:
    truth = filled(small, some)
    gone = small.protect({b"f": b"gone" * 500})
    other = small.beside()
    small.expire(gone)
    with small.vault.session("blocks the collector"):
        assert other.collect().waiting_for
    before = latest_epoch(small.store)
    rebuild(small)
    after = latest_epoch(small.store)
    assert (after.condemned, after.condemned_at, after.purged) == (before.condemned, before.condemned_at, before.purged)
    assert other.collect().purged_points == 1
    small.verify(truth)
    small.collect_all()
    small.verify(truth)
