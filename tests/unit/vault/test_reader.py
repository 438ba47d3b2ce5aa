"""Reading: every byte proven, each frame opened once, and a second copy used where the first is gone or damaged."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import pytest

from knowngood.core.errors import Damaged, KnowngoodError, NotFound, StoreFailed
from knowngood.core.ids import Name
from knowngood.core.progress import Progress
from knowngood.seal.keys import PrivateKey
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault import reader as module
from knowngood.vault.layout import INDEX, PACKS, PAGES


def landed(small: SmallVault, pieces: list[bytes], *, hide: bool = False) -> list[Name]:
    """Land chunks. With `hide`, as a session that does not see what other sessions have landed."""
    with small.vault.session("land") as session, small.vault.ingest(session, Progress()) as sink:
        if hide:
            session.index.__init__([], frozenset())
        names = [sink.add(each) for each in pieces]
        sink.flush()
        return names


def pack_keys(small: SmallVault) -> list[str]:
    return [each.key for each in small.store.list(PACKS)]


def gets(faulty: FaultyStore, prefix: str) -> int:
    return sum(operation == "get" and key.startswith(prefix) for operation, key in faulty.log)


def test_a_frame_is_opened_once_for_all_its_chunks(faulty: FaultyStore, shaky: SmallVault, some: random.Random) -> None:
    names = landed(shaky, [some.randbytes(100) for _ in range(50)])
    with shaky.vault.session("read") as session:
        reader = shaky.vault.reader(session, shaky.private)
        faulty.log.clear()
        for name in names * 2:
            reader.chunk(name)
    assert gets(faulty, PACKS) == 2  # its key, and the frame


def test_many_threads_open_a_frame_once(faulty: FaultyStore, shaky: SmallVault, some: random.Random) -> None:
    names = landed(shaky, [some.randbytes(100) for _ in range(8)])
    gate = faulty.hold("get", PACKS)
    with shaky.vault.session("read") as session, ThreadPoolExecutor(8) as pool:
        reader = shaky.vault.reader(session, shaky.private)
        reading = [pool.submit(reader.chunk, name) for name in names]
        gate.reached.wait()
        faulty.log.clear()
        gate.open()
        assert [bytes(each.result()) for each in reading]
    assert gets(faulty, PACKS) <= 1


def test_a_failure_reaches_every_thread_and_is_not_remembered(faulty: FaultyStore, shaky: SmallVault) -> None:
    (name,) = landed(shaky, [b"content"])
    gate = faulty.hold("get", PACKS)
    faulty.fail(1, StoreFailed("gone for a moment"), lasting=True, counted=("get",), after=True)
    with shaky.vault.session("read") as session, ThreadPoolExecutor(4) as pool:
        reader = shaky.vault.reader(session, shaky.private)
        reading = [pool.submit(reader.chunk, name) for _ in range(4)]
        gate.reached.wait()
        gate.open()
        assert all(isinstance(each.exception(), KnowngoodError) for each in reading)
        faulty.mend()
        assert bytes(reader.chunk(name)) == b"content"


@pytest.mark.parametrize("grouped", [True, False], ids=["grouped", "alone"])
def test_the_cache_keeps_what_was_read_last_and_no_more(
    faulty: FaultyStore, shaky: SmallVault, some: random.Random, *, grouped: bool
) -> None:
    """However much is read: the cache neither grows beyond its bound, nor shrinks to nothing over time."""
    size, count = (100, 400) if grouped else (1000, 40)
    with small_packs(raw=1 << 20, group=1000, alone=1000):
        names = landed(shaky, [some.randbytes(size) for _ in range(count)])
    per_frame = 10 if grouped else 1
    with patch.object(module, "CACHE_BYTES", 6000), shaky.vault.session("read") as session:
        reader = shaky.vault.reader(session, shaky.private)
        for _ in range(30):
            for name in names:
                reader.chunk(name)
        assert reader._frame_bytes <= 6000
        faulty.log.clear()
        for name in names[-5 * per_frame :]:
            reader.chunk(name)
        assert gets(faulty, PACKS) == 0


def test_the_cache_stays_true_under_many_threads(shaky: SmallVault, some: random.Random) -> None:
    with small_packs(raw=1 << 20, group=1000, alone=1000):
        names = landed(shaky, [some.randbytes(1000) for _ in range(60)])
    with patch.object(module, "CACHE_BYTES", 3000), shaky.vault.session("read") as session:
        reader = shaky.vault.reader(session, shaky.private)
        with ThreadPoolExecutor(8) as pool:
            order = names * 20
            some.shuffle(order)
            assert all(pool.map(reader.chunk, order))
        kept = sum(each.result().size for each in reader._frames.values())
        assert reader._frame_bytes == kept
        assert reader._frame_bytes <= 3000


def test_a_name_that_is_nowhere(small: SmallVault) -> None:
    with small.vault.session("read") as session, pytest.raises(NotFound) as raised:
        small.vault.reader(session, small.private).chunk(Name(b"n" * 32))
    assert "vault rebuild" in raised.value.hint


def test_a_missing_pack(small: SmallVault) -> None:
    (name,) = landed(small, [b"content"])
    small.store.delete(pack_keys(small)[0])
    with small.vault.session("read") as session, pytest.raises(NotFound):
        small.vault.reader(session, small.private).chunk(name)


@pytest.mark.parametrize("harm", ["missing", "flipped", "cut", "unreadable", "newer"])
def test_a_second_copy_is_used(faulty: FaultyStore, shaky: SmallVault, harm: str) -> None:
    """Two writers landed the same chunk at the same time; one copy is enough."""
    names = landed(shaky, [b"content"])
    first = pack_keys(shaky)
    assert landed(shaky, [b"content"], hide=True) == names
    (second,) = set(pack_keys(shaky)) - set(first)
    assert isinstance(faulty.inner, MemoryStore)
    for bad in (first[0], second):
        good = faulty.inner.objects[bad]
        if harm == "missing":
            faulty.inner.delete(bad)
        elif harm == "flipped":
            faulty.inner.objects[bad] = good[:-1] + bytes([good[-1] ^ 1])
        elif harm == "newer":  # a flipped bit makes it look like a frame of a later version
            at = good.rindex(b"KGF1") + 6
            faulty.inner.objects[bad] = good[:at] + b"\x01" + good[at + 1 :]
        elif harm == "cut":
            faulty.inner.objects[bad] = good[:-1]
        elif harm == "unreadable":

            def bad_sector(operation: str, key: str, bad: str = bad) -> None:
                if operation == "get" and key == bad:
                    raise StoreFailed(f"reading '{key}' failed: Input/output error")

            faulty.before = [bad_sector]
        with shaky.vault.session("read") as session:
            assert bytes(shaky.vault.reader(session, shaky.private).chunk(names[0])) == b"content"
        faulty.inner.objects[bad] = good


def test_a_flipped_row_does_not_hide_another_copy(small: SmallVault) -> None:
    names = landed(small, [b"content"])
    landed(small, [b"content"], hide=True)
    assert isinstance(small.store, MemoryStore)
    for each in list(small.store.list(INDEX)):
        good = small.store.objects[each.key]
        small.store.objects[each.key] = good[:-16] + bytes(8) + good[-8:]  # its row leads to no pack
        with small.vault.session("read") as session:
            assert bytes(small.vault.reader(session, small.private).chunk(names[0])) == b"content"
        small.store.objects[each.key] = good


def test_a_collector_moves_everything_in_the_middle_of_reading(shaky: SmallVault, some: random.Random) -> None:
    """A reader that began while packs were condemned follows its chunks to where they are now."""
    first = {b"keep": some.randbytes(3000)}
    with small_packs(raw=1 << 20):
        kept = shaky.protect(first)
        gone = shaky.protect({b"drop%d" % at: some.randbytes(3000) for at in range(5)} | first)
        shaky.catalog.follow(shaky.store, shaky.private, shaky.vault.id)
    shaky.expire(kept)
    shaky.undo(kept)
    shaky.expire(gone)
    other = shaky.beside()
    with shaky.vault.session("blocks the collector") as early:
        assert other.collect().waiting_for
        with shaky.vault.session("read") as session:
            early.close()
            done = other.collect()
            assert done.deleted_packs
            assert shaky.recover(kept, session) == first


def test_damage_is_told_with_its_place(small: SmallVault) -> None:
    (name,) = landed(small, [b"content"])
    (key,) = pack_keys(small)
    assert isinstance(small.store, MemoryStore)
    small.store.objects[key] = small.store.objects[key][:-1] + b"\xff"
    with small.vault.session("read") as session, pytest.raises(Damaged) as raised:
        small.vault.reader(session, small.private).chunk(name)
    assert key[9:17] in raised.value.message
    assert "check" in raised.value.hint


def test_a_wrong_private_key_opens_nothing(small: SmallVault) -> None:
    (name,) = landed(small, [b"content"])
    with small.vault.session("read") as session, pytest.raises(KnowngoodError):
        small.vault.reader(session, PrivateKey.generate()).chunk(name)


def test_many_damaged_chunks_do_not_open_the_index_each_time(
    faulty: FaultyStore, shaky: SmallVault, some: random.Random
) -> None:
    with small_packs(raw=1 << 20, group=1000, alone=1000):
        names = landed(shaky, [some.randbytes(1000) for _ in range(30)])
    faulty.inner.delete(pack_keys(shaky)[0])
    with shaky.vault.session("read") as session:
        reader = shaky.vault.reader(session, shaky.private)
        faulty.log.clear()
        for name in names:
            with pytest.raises(NotFound):
                reader.chunk(name)
    assert sum(operation == "view" for operation, _ in faulty.log) <= 2


def test_pages_and_chunks_are_told_apart(small: SmallVault) -> None:
    with small.vault.session("land") as session, small.vault.ingest(session, Progress()) as sink:
        page = sink.page(b"r" * 32, b"body")
        sink.flush()
        reader = small.vault.reader(session, small.private)
        assert reader.page(page) == (b"r" * 32, b"body")
    assert len(list(small.store.list(PAGES))) == 1
