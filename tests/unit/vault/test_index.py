"""The index: which runs count, what new commits may refer to, and where everything lies."""

from __future__ import annotations

import random
import resource
from pathlib import Path

import pytest

from knowngood.core.errors import Damaged
from knowngood.core.ids import Name
from knowngood.core.ports import Store
from knowngood.stores.disk import DiskStore
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.vault.epoch import Epoch, put_epoch
from knowngood.vault.index import Index
from knowngood.vault.layout import name_in, run_key
from knowngood.vault.merge import put_run
from knowngood.vault.run import make_row

OLD, NEW = b"o" * 32, b"n" * 32
NAME = Name(b"x" * 32)


def put(store: Store, pack: bytes, *names: bytes) -> bytes:
    return put_run(store, {pack: 1}, sorted(make_row(name, pack, 0, 1) for name in names))


def test_a_superseded_run_does_not_count() -> None:
    store = MemoryStore()
    gone = put(store, OLD, NAME)
    assert Index.open(store, Epoch()).known(NAME)
    assert not Index.open(store, Epoch(number=1, superseded=(gone,))).known(NAME)


def test_what_lies_in_condemned_packs_is_found_but_not_known() -> None:
    store = MemoryStore()
    put(store, OLD, NAME)
    index = Index.open(store, Epoch(number=1, condemned=(OLD,), condemned_at=1))
    assert [each.pack for each in index.locate(NAME)] == [OLD]
    assert not index.known(NAME)


def test_one_copy_in_a_pack_that_stays_is_enough() -> None:
    store = MemoryStore()
    put(store, OLD, NAME)
    put(store, NEW, NAME)
    index = Index.open(store, Epoch(number=1, condemned=(OLD,), condemned_at=1))
    assert index.known(NAME)
    assert sorted(each.pack for each in index.locate(NAME)) == [NEW, OLD]


def test_deleted_packs_are_not_known_whatever_a_run_says() -> None:
    """A run that was written late, by a collector that lost or by a session that was thought dead, tells of packs that
    have gone. Nobody may refer to them."""
    store = MemoryStore()
    put(store, OLD, NAME)
    assert not Index.open(store, Epoch(number=2, deleted=((OLD, 1),))).known(NAME)


def test_all_packs_and_rows_are_counted() -> None:
    store = MemoryStore()
    put(store, OLD, NAME)
    put(store, NEW, NAME, b"y" * 32)
    index = Index.open(store, Epoch())
    assert index.packs() == {OLD: 1, NEW: 1}
    assert index.rows == 3


def test_a_run_that_is_merged_away_while_the_index_opens() -> None:
    """The listing told of a run, a collector superseded and deleted it: the index is opened anew."""
    store = FaultyStore(MemoryStore())
    old = put(store.inner, OLD, NAME)

    def collector(operation: str, key: str) -> None:
        if operation == "view" and key == run_key(old):
            store.before.clear()
            new = put(store.inner, NEW, NAME)
            assert new != old
            put_epoch(store.inner, Epoch(number=1, superseded=(old,)))
            store.inner.delete(run_key(old))

    store.before.append(collector)
    index = Index.open(store, Epoch())
    assert [each.pack for each in index.locate(NAME)] == [NEW]


def test_a_listing_that_never_comes_true_is_no_endless_search() -> None:
    """A store that goes on listing what was deleted breaks its promise; that has to be told, and not waited for."""
    store = FaultyStore(MemoryStore())
    old = put(store.inner, OLD, NAME)
    store.freeze_listing("index/")
    store.delete(run_key(old))
    with pytest.raises(Damaged):
        Index.open(store, Epoch())


def test_a_damaged_run_says_how_to_rebuild() -> None:
    store = MemoryStore()
    key = run_key(put(store, OLD, NAME))
    store.objects[key] = store.objects[key][:-1]
    with pytest.raises(Damaged) as raised:
        Index.open(store, Epoch())
    assert "rebuild" in raised.value.hint
    assert key in raised.value.message


def test_an_empty_run_object_is_damage() -> None:
    store = MemoryStore()
    store.put(run_key(bytes(32)), [])
    with pytest.raises(Damaged):
        Index.open(store, Epoch())


@pytest.mark.parametrize("name", ["notes.txt", "abc"])
def test_a_strange_file_among_the_runs_is_told_of(name: str) -> None:
    with pytest.raises(Damaged) as raised:
        name_in(f"index/{name}")
    assert name in raised.value.message


def test_names_are_only_looked_for_where_they_can_be(some: random.Random) -> None:
    store = MemoryStore()
    names = [some.randbytes(32) for _ in range(600)]
    for name in names:
        put(store, OLD, name)
    index = Index.open(store, Epoch())
    for name in names:
        assert index.known(Name(name))
    assert not index.known(NAME) or NAME in names


def test_many_small_runs_need_no_open_files(tmp_path: Path, some: random.Random) -> None:
    """A vault that is protected often and collected rarely has thousands of small runs: all have to be open at once."""
    store = DiskStore(tmp_path / "vault")
    names = [some.randbytes(32) for _ in range(200)]
    for name in names:
        put(store, OLD, name)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        index = Index.open(store, Epoch())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert all(index.known(Name(name)) for name in names)
