"""Collection beside what is lost: nothing goes while that may be a page, nor a pack that may hold a copy of a chunk."""

from __future__ import annotations

import random

import pytest

from knowngood.core.errors import Unaccounted
from knowngood.core.model import Point
from knowngood.core.progress import Progress
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.tree.block import ROW, BlockWriter, Content, Extra
from knowngood.tree.build import TreeBuilder
from knowngood.tree.page import encode_list
from knowngood.vault.collect import Collected, collect
from knowngood.vault.forget import forget_harmed
from knowngood.vault.layout import PACKS, PAGES, name_in
from knowngood.vault.rebuild import rebuild_index
from knowngood.vault.survey import Known
from tests.unit.vault.collecting import Files, files, packs

_FILE = 0o100644


def objects(small: SmallVault) -> dict[str, bytes]:
    assert isinstance(small.store, MemoryStore)
    return small.store.objects


def flip(small: SmallVault, key: str) -> bytes:
    """The last bit but some. Returns the pack's name."""
    data = bytearray(objects(small)[key])
    data[-1] ^= 4
    objects(small)[key] = bytes(data)
    return name_in(key)


def keys(small: SmallVault, folder: str) -> set[str]:
    return {each.key for each in small.store.list(folder)}


def with_key(small: SmallVault) -> Collected:
    return collect(small.vault, Progress(), known=Known(private=small.private))


class Lost:
    """A vault with dead packs, a point that is whole, and one of which something is damaged and forgotten."""

    def __init__(self, small: SmallVault, some: random.Random, folder: str) -> None:
        self.small = small
        self.whole = files(some, 12)
        with small_packs():
            gone = small.protect(files(some, 30))
            self.kept = small.protect(self.whole)
            before = keys(small, folder)
            self.content = files(some, 12)
            self.hurt = small.protect(self.content)
            self.pack = min(keys(small, folder) - before)
        small.expire(gone)
        self.doubted = flip(small, self.pack)
        assert forget_harmed(small.vault, {self.doubted}, Progress()).places


def test_a_lost_chunk_hides_nothing_and_the_key_tells(small: SmallVault, some: random.Random) -> None:
    """All that nothing needs goes. What may hold a copy of it stays: the disk may be read again in another drive."""
    lost = Lost(small, some, PACKS)
    before = packs(small)
    with pytest.raises(Unaccounted) as raised:
        small.collect()
    assert raised.value.points == (lost.hurt.id,)
    assert packs(small) == before
    done = with_key(small)
    assert done.lost_chunks >= 1
    assert done.purged_points == 1
    assert done.freed_bytes > 0
    assert small.recover(lost.kept) == lost.whole
    assert lost.pack in packs(small)
    assert with_key(small).freed_bytes == 0
    flip(small, lost.pack)  # the other drive reads it well
    rebuild_index(small.vault, Progress())
    small.verify({lost.kept.id: lost.whole, lost.hurt.id: lost.content})


def test_once_stored_again_the_damaged_pack_goes(small: SmallVault, some: random.Random) -> None:
    lost = Lost(small, some, PACKS)
    with_key(small)
    with small_packs():
        healed = small.protect(lost.content)
    known = Known(worn=frozenset({lost.doubted}))
    assert collect(small.vault, Progress(), known=known).lost_chunks == 0
    assert lost.pack not in packs(small)
    small.verify({lost.kept.id: lost.whole, lost.hurt.id: lost.content, healed.id: lost.content})


@pytest.mark.parametrize("way", ["expire", "heal"])
def test_a_lost_page_may_need_anything(small: SmallVault, some: random.Random, way: str) -> None:
    """With the key or without. It goes on when the points that need it have gone, or when the page is back."""
    lost = Lost(small, some, PAGES)
    before = packs(small)
    for private in (None, small.private):
        with pytest.raises(Unaccounted, match="nothing was deleted") as raised:
            collect(small.vault, Progress(), known=Known(private=private))
        assert raised.value.points == (lost.hurt.id,)
    assert packs(small) == before
    truth: dict[bytes, Files] = {lost.kept.id: lost.whole}
    if way == "expire":
        small.expire(lost.hurt)
    else:
        truth |= {lost.hurt.id: lost.content, small.protect(lost.content).id: lost.content}
    assert small.collect().purged_points >= 1
    small.verify(truth)


def _huge(small: SmallVault, some: random.Random) -> Point:
    """A point of one file whose chunks stand in a list page of its own pack."""
    with small_packs(), small.vault.session("protect") as session, small.vault.ingest(session, Progress()) as sink:
        chunks = [sink.add(some.randbytes(1500)) for _ in range(6)]
        sink.flush()
        page = sink.page(*encode_list(chunks, [1500] * 6))
        sink.flush()
        writer, builder = BlockWriter(b"", 0), TreeBuilder(sink.page)
        row = ROW.pack(_FILE, 0, 0, 1, 9000, 1, 2, 3)
        writer.add(b"huge", row, Content.LIST, page, extra=Extra(lengths=(9000,)))
        builder.add(writer.block())
        root = builder.finish()
        sink.flush()
        return small.commit(session, root)


def test_a_list_of_chunks_is_a_page(small: SmallVault, some: random.Random) -> None:
    """The leaf that refers to it says so: its chunks seem to be needed by nobody, and stay."""
    point = _huge(small, some)
    content, pages = small.recover(point), sorted(keys(small, PAGES))
    assert len(pages) == 2
    for key in pages:
        small.expire(small.protect(files(some, 20)))
        before = packs(small)
        assert forget_harmed(small.vault, {flip(small, key)}, Progress()).places
        with pytest.raises(Unaccounted) as raised:
            with_key(small)
        assert raised.value.points == (point.id,)
        assert packs(small) == before
        flip(small, key)
        rebuild_index(small.vault, Progress())
        assert with_key(small).purged_points == 1
        assert small.recover(point) == content


def test_of_two_copies_the_doubted_one_goes(small: SmallVault, some: random.Random) -> None:
    """Two writers stored the same at the same time; one copy is damaged, and not forgotten yet."""
    content = files(some, 20)
    with small_packs(), small.vault.session("one") as one, small.vault.session("two") as two:
        first = small.protect_in(one, content)
        before = keys(small, PACKS)
        second = small.beside().protect_in(two, content)
    for mine in (before, keys(small, PACKS) - before):
        small.follow()
        doubted = frozenset(flip(small, key) for key in mine)
        done = collect(small.vault, Progress(), dry_run=True, known=Known(doubted=doubted))
        assert done.deleted_packs >= len(mine)
        for key in mine:
            flip(small, key)
    doubted = frozenset(flip(small, key) for key in before)
    collect(small.vault, Progress(), known=Known(doubted=doubted))
    assert not keys(small, PACKS) & before
    small.verify({first.id: content, second.id: content})
