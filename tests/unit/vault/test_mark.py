"""Marking: what can be reached is marked once, from the best copy; what is missing or unreadable is told of."""

from __future__ import annotations

import random

import pytest

from knowngood.core.ids import Name
from knowngood.core.progress import Progress
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault
from knowngood.vault.epoch import Epoch
from knowngood.vault.index import Index
from knowngood.vault.layout import INDEX, PAGES
from knowngood.vault.mark import Marker


def land(small: SmallVault, *, hide: bool = False) -> tuple[Name, Name, Name]:
    """A root over two pages, which share a chunk: (root, page, chunk). With `hide`, all of it once more."""
    with small.vault.session("land") as session, small.vault.ingest(session, Progress()) as sink:
        if hide:
            session.index.__init__([], frozenset())
        chunk = sink.add(b"content")
        pages = [sink.page(chunk, b"C%d" % at) for at in range(2)]
        root = sink.page(b"".join(pages), b"N")
        sink.flush()
    return root, pages[0], chunk


def marked(marker: Marker, index: Index) -> set[bytes]:
    return {row[:16] for run in index.runs for row in marker.marked_rows(run)}


def opened(small: SmallVault, epoch: Epoch | None = None) -> tuple[Marker, Index]:
    index = Index.open(small.store, epoch or Epoch())
    return Marker(small.store, index), index


def test_all_that_a_root_reaches_is_marked_and_nothing_else(small: SmallVault) -> None:
    root, page, chunk = land(small)
    with small.vault.session("land") as session, small.vault.ingest(session, Progress()) as sink:
        other = sink.add(b"something else")
        sink.flush()
    marker, index = opened(small)
    marker.reach(root)
    assert {root[:16], page[:16], chunk[:16]} <= marked(marker, index)
    assert other[:16] not in marked(marker, index)
    assert (marker.missing, marker.unreadable, marker.pages) == (set(), {}, 3)


def test_what_was_marked_is_not_read_again(faulty: FaultyStore, shaky: SmallVault) -> None:
    root, page, _ = land(shaky)
    marker, _ = opened(shaky)
    marker.reach(root)
    faulty.log.clear()
    marker.reach(root)
    marker.reach(page)
    assert faulty.log == []


def test_no_key_takes_part(small: SmallVault) -> None:
    """The marker is given a store and an index, and nothing else there is."""
    root, _, _ = land(small)
    marker = Marker(small.store, Index.open(small.store, Epoch()))
    marker.reach(root)
    assert not marker.missing


def test_what_is_missing_is_told_of(small: SmallVault) -> None:
    with small.vault.session("land") as session, small.vault.ingest(session, Progress()) as sink:
        root = sink.page(b"m" * 32 + b"n" * 32, b"C")
        sink.flush()
    marker, _ = opened(small)
    marker.reach(root)
    marker.reach(b"r" * 32)
    assert sorted(marker.missing) == [b"m" * 32, b"n" * 32, b"r" * 32]


@pytest.mark.parametrize("harm", ["flipped", "gone"])
def test_an_unreadable_page_is_told_of_unless_there_is_another_copy(small: SmallVault, harm: str) -> None:
    root, page, chunk = land(small)
    assert isinstance(small.store, MemoryStore)
    objects = small.store.objects
    (first,) = (key for key in objects if key.startswith(PAGES))

    def hurt() -> None:
        if harm == "gone":
            del objects[first]
        else:
            objects[first] = objects[first].replace(b"KGF1", b"KGF0")

    good = objects[first]
    hurt()
    marker, _ = opened(small)
    marker.reach(root)
    assert list(marker.unreadable) == [root]
    objects[first] = good
    land(small, hide=True)
    hurt()
    marker, index = opened(small)
    marker.reach(root)
    assert (marker.missing, marker.unreadable) == (set(), {})
    assert {root[:16], page[:16], chunk[:16]} <= marked(marker, index)
    live = marker.live_bytes()
    assert all(live.get(pack[:8], 0) == 0 for pack in index.packs() if pack.hex() in first)


def test_of_two_copies_the_one_that_stays_is_marked(small: SmallVault) -> None:
    """The other one is in a condemned pack: to mark it would mean to copy it for nothing."""
    root, _, _ = land(small)
    old = set(opened(small)[1].packs())
    land(small, hide=True)
    everything = set(opened(small)[1].packs())
    for condemned in (old, everything - old, everything):
        marker, index = opened(small, Epoch(number=1, condemned=tuple(condemned), condemned_at=1))
        marker.reach(root)
        live = {prefix for prefix, size in marker.live_bytes().items() if size}
        stays = {pack[:8] for pack in everything - condemned}
        assert live == stays if stays else len(live) == len(everything) // 2
        assert index.known(root) == bool(stays)


def test_live_bytes_count_a_shared_frame_once(small: SmallVault, some: random.Random) -> None:
    with small.vault.session("land") as session, small.vault.ingest(session, Progress()) as sink:
        chunks = [sink.add(some.randbytes(50)) for _ in range(20)]
        half = sink.page(b"".join(chunks[:10]), b"C")
        whole = sink.page(b"".join(chunks), b"C")
        sink.flush()
    sizes = []
    for root in (half, whole):
        marker, index = opened(small)
        marker.reach(root)
        data = {pack[:8] for pack, kind in index.packs().items() if kind == 1}
        sizes.append(sum(size for prefix, size in marker.live_bytes().items() if prefix in data))
    assert sizes[0] == sizes[1] > 20 * 50


def test_a_lost_run_shows_as_missing(small: SmallVault) -> None:
    root, _, _ = land(small)
    for each in list(small.store.list(INDEX)):
        small.store.delete(each.key)
    marker, _ = opened(small)
    marker.reach(root)
    assert marker.missing == {root}
