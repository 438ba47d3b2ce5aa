"""From chunks to landed packs: nothing twice, nothing lost, nothing unbounded, and nobody waits for ever."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from knowngood.core.buffers import Buffer
from knowngood.core.errors import KnowngoodError, NoSpace, NotFound, StoreFailed
from knowngood.core.ids import Name
from knowngood.core.progress import Progress
from knowngood.seal.frame import read_frame
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault import group, ingest as module
from knowngood.vault.ingest import Ingest
from knowngood.vault.layout import INDEX, PACKS, PAGES, pack_key
from knowngood.vault.pack import walk_pack
from knowngood.vault.session import Session


@contextmanager
def sink_of(small: SmallVault) -> Iterator[tuple[Ingest, Session]]:
    with small.vault.session("test") as session, small.vault.ingest(session, Progress()) as sink:
        yield sink, session


def until(condition: Callable[[], bool]) -> None:
    """Wait until other threads have come so far."""
    while not condition():
        threading.Event().wait(0.001)


def packs(small: SmallVault, folder: str = PACKS) -> list[str]:
    return [each.key for each in small.store.list(folder)]


def frames(small: SmallVault, folder: str = PACKS) -> list[int]:
    """How many chunks each frame holds, over all packs."""
    found: list[int] = []
    for key in packs(small, folder):
        size = small.store.stat(key).size
        found += [f.header.names for f in walk_pack(lambda at, n, key=key: small.store.get(key, at, n), size)]
    return found


def read_back(small: SmallVault, names: list[Name]) -> list[bytes]:
    with small.vault.session("read") as session:
        reader = small.vault.reader(session, small.private)
        return [bytes(reader.chunk(name)) for name in names]


# ------------------------------------------------------------------------------------------------------ what lands


@pytest.mark.parametrize("size", [0, 1, 100, 4096, group.ALONE_FROM - 1, group.ALONE_FROM, 5 << 20], ids="{}".format)
def test_what_goes_in_comes_out(small: SmallVault, some: random.Random, size: int) -> None:
    content = [some.randbytes(size), bytes(size), bytes(size)]
    with sink_of(small) as (sink, _):
        names = [sink.add(each) for each in content]
        page = sink.page(b"".join(names), b"body")
        sink.flush()
    assert names[1] == names[2]
    assert read_back(small, names) == content
    with small.vault.session("read") as session:
        assert small.vault.reader(session, small.private).page(page) == (b"".join(names), b"body")


def test_views_and_byte_arrays_are_taken(small: SmallVault, some: random.Random) -> None:
    content = some.randbytes(3 * group.ALONE_FROM)
    pieces: list[Buffer] = [memoryview(content)[:700], bytearray(content[:300]), memoryview(content)[5:-5]]
    with sink_of(small) as (sink, _):
        names = [sink.add(each) for each in pieces]
        sink.flush()
    assert read_back(small, names) == [bytes(each) for each in pieces]


def test_nothing_lands_twice_within_a_session(small: SmallVault, some: random.Random) -> None:
    large, little = some.randbytes(300_000), some.randbytes(300)
    with sink_of(small) as (sink, _):
        first = [sink.add(large), sink.add(little), sink.page(b"", b"body")]
        assert all(sink.known(name) for name in first)
        again = [sink.add(large), sink.add(little), sink.page(b"", b"body")]
        sink.flush()
        once_more = [sink.add(large), sink.add(little), sink.page(b"", b"body")]
        sink.flush()
        assert all(sink.known(name) for name in first)
    assert first == again == once_more
    assert sorted(frames(small)) == [1, 1]
    assert frames(small, PAGES) == [1]


def test_nothing_lands_twice_between_sessions(small: SmallVault, some: random.Random) -> None:
    content = some.randbytes(300)
    for _ in range(3):
        with sink_of(small) as (sink, _session):
            sink.add(content)
            sink.page(b"", content)
            sink.flush()
    assert len(packs(small)) == len(packs(small, PAGES)) == len(packs(small, INDEX)) == 1


def test_chunks_and_pages_of_the_same_bytes_are_two_things(small: SmallVault) -> None:
    with sink_of(small) as (sink, _):
        assert sink.add(b"body") != sink.page(b"", b"body")
        sink.flush()
    assert len(packs(small)) == len(packs(small, PAGES)) == 1


def test_small_chunks_share_a_frame(small: SmallVault, some: random.Random) -> None:
    with sink_of(small) as (sink, _):
        names = [sink.add(some.randbytes(40)) for _ in range(1000)]
        sink.flush()
    assert frames(small) == [1000]
    assert len(read_back(small, names)) == 1000


def test_a_group_ends_when_it_is_full(small: SmallVault, some: random.Random) -> None:
    with patch.multiple(group, GROUP_CHUNKS=7, GROUP_BYTES=1000), sink_of(small) as (sink, _):
        for size in [1] * 14 + [501, 502, 503, 504] + [2]:
            sink.add(some.randbytes(8) + bytes(size))
        sink.flush()
    assert sorted(frames(small)) == [1, 2, 2, 7, 7]


def test_packs_end_when_they_are_full(small: SmallVault, some: random.Random) -> None:
    with small_packs(raw=4096, group=1024, alone=1024), sink_of(small) as (sink, _):
        names = [sink.add(some.randbytes(1024)) for _ in range(41)]
        sink.flush()
    assert len(packs(small)) == 11
    assert len(packs(small, INDEX)) == 1
    assert len(read_back(small, names)) == 41


def test_every_frame_of_a_pack_has_its_own_number(small: SmallVault, some: random.Random) -> None:
    """A nonce is used once: frames are sealed out of order, under numbers given in order."""
    with small_packs(raw=16384), sink_of(small) as (sink, _):
        for _ in range(100):
            sink.add(some.randbytes(1024))
        sink.flush()
    for key in packs(small):
        size = small.store.stat(key).size
        numbers = [f.header.sequence for f in walk_pack(lambda at, n, key=key: small.store.get(key, at, n), size)]
        assert sorted(numbers) == list(range(len(numbers)))


def test_an_index_run_tells_of_whole_packs_only(small: SmallVault, some: random.Random) -> None:
    """Names in memory are bounded: an index run is put in between, and what it says can be read."""
    with patch.object(module, "ROWS_IN_MEMORY", 10), sink_of(small) as (sink, session):
        names = [sink.add(some.randbytes(50)) for _ in range(95)]
        assert len(packs(small, INDEX)) == 9
        assert sum(session.index.known(name) for name in names) == 90
        assert all(sink.known(name) for name in names)
        sink.flush()
    small.verify_known()
    assert len(read_back(small, names)) == 95


def test_a_long_session_leaves_few_runs(small: SmallVault, some: random.Random) -> None:
    """A first protect of days notes its progress twice a minute: every chunk of it is looked for in all its runs."""
    with small_packs(), sink_of(small) as (sink, session):
        names = []
        for _ in range(300):
            names.append(sink.add(some.randbytes(50)))
            sink.flush()
        assert len(session.index.runs) < 50
        assert len(packs(small, INDEX)) == len(session.index.runs)
        assert all(session.index.known(name) for name in names)
        assert session.index.rows == 300
    small.verify_known()
    assert len(read_back(small, names)) == 300


def test_nothing_is_visible_before_flush(small: SmallVault) -> None:
    with sink_of(small) as (sink, _):
        sink.add(b"content")
    assert packs(small) == packs(small, INDEX) == []


def test_landed_bytes_are_those_of_the_packs(small: SmallVault, some: random.Random) -> None:
    progress = Progress()
    with small.vault.session("test") as session, small.vault.ingest(session, progress) as sink:
        sink.add(some.randbytes(5000))
        sink.page(b"", b"body")
        sink.flush()
        assert sink.landed_bytes == progress.landed_bytes
        assert sink.landed_bytes == sum(each.size for folder in (PACKS, PAGES) for each in small.store.list(folder))


def test_what_landed_before_an_interruption_is_not_landed_again(small: SmallVault, some: random.Random) -> None:
    content = [some.randbytes(1024) for _ in range(64)]
    with small_packs(), pytest.raises(KeyboardInterrupt), sink_of(small) as (sink, _):
        for each in content:
            sink.add(each)
        until(lambda: len(sink._packs) >= 15)
        raise KeyboardInterrupt
    landed = set(packs(small))
    assert len(landed) >= 15
    with small_packs(), sink_of(small) as (sink, _):
        names = [sink.add(each) for each in content]
        sink.flush()
    assert len(set(packs(small)) - landed) <= 1
    assert read_back(small, names) == content


# -------------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("error", [NoSpace("full"), StoreFailed("gone")], ids=lambda each: each.code)
@pytest.mark.parametrize("many", [1, 200], ids=["at-the-end", "in-the-middle"])
def test_a_failure_to_land_reaches_the_caller(
    faulty: FaultyStore, shaky: SmallVault, some: random.Random, error: KnowngoodError, many: int
) -> None:
    with small_packs(), pytest.raises(type(error)) as raised, sink_of(shaky) as (sink, _):
        faulty.fail(1, error, lasting=True, counted=("put",))
        for _ in range(many):
            sink.add(some.randbytes(1024))
        sink.flush()
    assert raised.value is error
    faulty.mend()
    shaky.verify_known()


def test_after_a_failure_every_call_fails_and_none_hangs(
    faulty: FaultyStore, shaky: SmallVault, some: random.Random
) -> None:
    with small_packs(), sink_of(shaky) as (sink, _):
        faulty.fail(1, NoSpace("full"), lasting=True, counted=("put",))
        with pytest.raises(NoSpace):
            for _ in range(200):
                sink.add(some.randbytes(1024))
        for _ in range(3):
            with pytest.raises(NoSpace):
                sink.flush()
            with pytest.raises(NoSpace):
                sink.page(b"", some.randbytes(10))


def test_a_failure_to_seal_reaches_the_caller(small: SmallVault, some: random.Random) -> None:
    def broken(*_: object) -> None:
        raise MemoryError("no memory to seal")

    with patch.object(module, "seal_frame", broken), pytest.raises(MemoryError), sink_of(small) as (sink, _):
        for _ in range(20):
            sink.add(some.randbytes(group.ALONE_FROM))
        sink.flush()
    assert packs(small) == []


def test_bytes_that_change_under_way_are_refused(small: SmallVault, some: random.Random) -> None:
    """The name was computed of other bytes than those that were sealed: bad memory, or a caller's error."""
    content = bytearray(some.randbytes(group.ALONE_FROM))
    gate, sealing = threading.Event(), module.seal_frame

    def late(*args):
        gate.wait()
        return sealing(*args)

    with patch.object(module, "seal_frame", late), pytest.raises(KnowngoodError), sink_of(small) as (sink, _):
        sink.add(content)
        content[100] ^= 1
        gate.set()
        sink.flush()
    assert packs(small) == []


def test_what_could_never_be_read_back_is_refused(small: SmallVault) -> None:
    """A frame has limits; a chunk or page beyond them would be stored, and not be readable."""
    with sink_of(small) as (sink, _):
        with pytest.raises(KnowngoodError):
            sink.add(bytes((64 << 20) + 1))
            sink.flush()
    with sink_of(small) as (sink, _):
        with pytest.raises(KnowngoodError):
            sink.page(bytes(32) * (1 << 17), b"body")
            sink.flush()


@pytest.mark.parametrize("wrong", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_an_interruption_ends_at_once_and_quietly(
    faulty: FaultyStore, shaky: SmallVault, some: random.Random, wrong: type[BaseException], caplog
) -> None:
    """Threads end, nothing more lands, nothing is logged, and the session is withdrawn."""
    gate, sealing = threading.Event(), module.seal_frame

    def slow(*args):
        gate.wait(30)
        return sealing(*args)

    with caplog.at_level(logging.DEBUG), patch.object(module, "seal_frame", slow):
        with small_packs(), pytest.raises(wrong), sink_of(shaky) as (sink, _):
            for _ in range(12):
                sink.add(some.randbytes(1024))
            gate.set()
            raise wrong
    assert not caplog.records
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("seal", "land"))]
    assert list(faulty.list("sessions/")) == []
    shaky.verify_known()


# ---------------------------------------------------------------------------------------------------------- memory


def test_unsealed_bytes_are_bounded(small: SmallVault, some: random.Random) -> None:
    """While nothing is sealed, only so much is taken; the caller waits."""
    gate, sealing = threading.Event(), module.seal_frame
    held = threading.Semaphore(0)

    def slow(*args):
        held.release()
        gate.wait()
        return sealing(*args)

    added = 0

    def fill(sink: Ingest) -> None:
        nonlocal added
        for _ in range(100):
            sink.add(some.randbytes(1024))
            added += 1

    with patch.object(module, "seal_frame", slow), patch.object(module, "UNSEALED_BYTES", 10 * 1024):
        with small_packs(raw=1 << 20), sink_of(small) as (sink, _):
            filler = threading.Thread(target=fill, args=(sink,))
            filler.start()
            for _ in range(module.SEALERS):
                held.acquire()
            until(lambda: sink._unsealed >= 10 * 1024)
            assert added <= 11
            gate.set()
            filler.join()
            sink.flush()
    assert added == 100


def test_open_packs_are_bounded(faulty: FaultyStore, shaky: SmallVault, some: random.Random) -> None:
    """While nothing lands, only so many packs are filled; the caller waits, and goes on when something has landed."""
    gate = faulty.hold("put", PACKS)
    added = 0

    def fill(sink: Ingest) -> None:
        nonlocal added
        for _ in range(100):
            sink.add(some.randbytes(1024))
            added += 1

    with small_packs(raw=4096), sink_of(shaky) as (sink, _):
        filler = threading.Thread(target=fill, args=(sink,))
        filler.start()
        gate.reached.wait()
        until(lambda: sink._drafts_open == module.OPEN_PACKS)
        assert added <= 4 * module.OPEN_PACKS
        gate.open()
        filler.join()
        sink.flush()
    assert added == 100
    assert len(packs(shaky)) == 25


def test_a_small_chunk_does_not_keep_the_block_it_was_cut_from(small: SmallVault) -> None:
    """The tail of a file is a view of a block of 8 MiB; a group of such tails must not keep all their blocks."""
    block = bytearray(b"content" * 1000)
    with sink_of(small) as (sink, _):
        tail = memoryview(block)[:10]
        sink.add(tail)
        del tail
        block.extend(b"a byte array cannot grow while anybody holds a view of it")


def test_frames_are_whole(small: SmallVault, some: random.Random) -> None:
    with small_packs(), sink_of(small) as (sink, session):
        names = [sink.add(some.randbytes(500)) for _ in range(30)]
        sink.flush()
        for name in names:
            (place,) = session.index.locate(name)
            frame = read_frame(small.store.get(pack_key(place.pack_kind, place.pack), place.offset, place.length))
            assert name in [frame.names[at : at + 32] for at in range(0, len(frame.names), 32)]
    assert isinstance(small.store, MemoryStore)
    with pytest.raises(NotFound):
        read_back(small, [Name(bytes(32))])
