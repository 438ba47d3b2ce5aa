"""The catalog: derived from commits, with or without the key, and made anew when it is damaged."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.core.errors import Busy, KnowngoodError, NotFound, StoreFailed
from knowngood.testing.clock import FakeClock
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault
from knowngood.vault.catalog import Catalog
from knowngood.vault.layout import COMMITS


def test_it_follows_what_other_writers_did(small: SmallVault) -> None:
    other = small.beside()
    first, second = small.protect({b"f": b"1"}), small.protect({b"f": b"2"}, "t")
    assert other.catalog.points() == []
    other.follow()
    assert other.catalog.points() == [second, first]
    assert other.catalog.points("s") == [first]
    assert other.catalog.services() == ["s", "t"]
    assert other.catalog.trusted_checkpoints() == {first.marks[0].checkpoint, second.marks[0].checkpoint}
    small.expire(first)
    other.follow()
    assert other.catalog.points() == [second]
    assert other.catalog.points(expired=True) == [first]
    assert other.catalog.trusted_checkpoints() == {second.marks[0].checkpoint}
    other.undo(first)
    small.follow()
    assert small.catalog.points() == [second, first]


def test_without_the_key_it_knows_that_there_are_points(small: SmallVault) -> None:
    point = small.protect({b"f": b"1"})
    with closing(Catalog(":memory:")) as catalog:
        catalog.follow(small.store, None, small.vault.id)
        assert catalog.points() == []
        assert catalog.nameless() == 1
        assert catalog.commit_of(point.id).startswith(COMMITS)
        with pytest.raises(NotFound):
            catalog.find_point(point.id.hex())
        with pytest.raises(NotFound):
            catalog.checkpoint(point.marks[0].checkpoint)
        catalog.follow(small.store, small.private, small.vault.id)
        assert catalog.nameless() == 0
        assert catalog.points() == [point]
        catalog.follow(small.store, None, small.vault.id)  # what was learnt with the key stays
        assert catalog.points() == [point]


def test_commits_are_read_once(faulty: FaultyStore, shaky: SmallVault) -> None:
    shaky.protect({b"f": b"1"})
    shaky.follow()
    faulty.log.clear()
    shaky.follow()
    assert [operation for operation, _ in faulty.log] == ["list"]


def test_what_goes_from_the_vault_goes_from_the_catalog(small: SmallVault) -> None:
    first, second = small.protect({b"f": b"1"}), small.protect({b"f": b"2"})
    other = small.beside()
    small.expire(first)
    small.collect_all()
    other.follow()
    assert other.catalog.points() == [second]
    assert other.catalog.points(expired=True) == []
    assert other.catalog.expired() == {}
    with pytest.raises(NotFound):
        other.catalog.commit_of(first.id)
    with pytest.raises(NotFound):
        other.catalog.checkpoint(first.marks[0].checkpoint)


def test_commits_that_vanish_are_told_of(small: SmallVault) -> None:
    """Somebody deleted one: no point goes before it was hidden, so the catalog can tell."""
    first, second = small.protect({b"f": b"1"}), small.protect({b"f": b"2"})
    key = small.catalog.commit_of(first.id)
    data = small.store.get(key)
    small.store.delete(key)
    small.follow()
    assert small.catalog.points() == [second]
    assert small.catalog.vanished() == {first.id: key}
    small.follow()
    assert [(each.object, each.points) for each in small.check().findings] == [(key, [first.id])]
    small.store.put(key, [data])  # a disk that was not mounted
    small.follow()
    assert small.catalog.vanished() == {}
    assert small.catalog.points() == [second, first]


def test_points_that_were_collected_did_not_vanish(small: SmallVault) -> None:
    """Also for a home that slept all the while."""
    first, _ = small.protect({b"f": b"1"}), small.protect({b"f": b"2"})
    other, third = small.beside(), small.beside()
    small.expire(first)
    third.follow()
    small.collect_all()
    for home in (small, other, third):
        home.follow()
        assert home.catalog.vanished() == {}


def test_damaged_commits_are_told_of_as_long_as_they_are_there(small: SmallVault) -> None:
    small.protect({b"f": b"1"})
    assert isinstance(small.store, MemoryStore)
    (key,) = (each.key for each in small.store.list(COMMITS))
    small.store.objects[key] = small.store.objects[key][:-1]
    other = small.beside()
    assert list(other.catalog.damaged()) == [key]
    small.store.delete(key)
    other.follow()
    assert other.catalog.damaged() == {}


def test_a_commit_that_goes_while_it_is_followed(faulty: FaultyStore, shaky: SmallVault) -> None:
    shaky.protect({b"f": b"1"})

    def vanish(operation: str, key: str) -> None:
        if operation == "get" and key.startswith(COMMITS):
            faulty.inner.delete(key)

    faulty.before.append(vanish)
    assert shaky.beside().catalog.points() == []


@pytest.mark.parametrize("at", range(1, 4))
def test_an_interrupted_follow_goes_on_where_it_stopped(faulty: FaultyStore, shaky: SmallVault, at: int) -> None:
    points = [shaky.protect({b"f": b"%d" % number}) for number in range(4)]
    other = SmallVault.__new__(SmallVault)
    other.__dict__.update(shaky.__dict__, catalog=Catalog(":memory:"))
    faulty.fail(at, StoreFailed("gone"), counted=("get",))
    with pytest.raises(StoreFailed):
        other.follow()
    faulty.mend()
    other.follow()
    assert {point.id for point in other.catalog.points()} == {point.id for point in points}


def test_a_commit_that_another_process_makes_while_this_one_lists(
    faulty: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have one catalog. The commit is in there before this one compares: it is not taken for one that has gone."""
    one = SmallVault(faulty, str(tmp_path / "catalog"))
    first = one.protect({b"a": b"1"})
    other = one.beside(catalog=str(tmp_path / "catalog"))
    made, listed = [], faulty.list

    def late(prefix: str, *, settled: bool = False):
        found = list(listed(prefix, settled=settled))
        if prefix == COMMITS and not made:
            made.append(None)
            made[0] = other.protect({b"a": b"2"})
        yield from found

    with closing(one.catalog), closing(other.catalog):
        monkeypatch.setattr(faulty, "list", late)
        one.follow()
        assert [each.id for each in one.catalog.points()] == [made[0].id, first.id]
        assert one.catalog.trusted_checkpoints() >= {made[0].marks[0].checkpoint}
        assert one.catalog.vanished() == {}


def test_points_are_found_by_the_start_of_their_id(small: SmallVault) -> None:
    point = small.protect({b"f": b"1"})
    text = point.id.hex()
    assert small.catalog.find_point(text) == small.catalog.find_point(text[:8].upper()) == point
    small.expire(point)
    assert small.catalog.find_point(text[:8]) == point
    with pytest.raises(NotFound):
        small.catalog.find_point("z")
    small.protect({b"f": b"2"})
    for nothing in ("", "%", "_" * 32, text[:-1] + "_", text + "00"):
        with pytest.raises(NotFound):
            small.catalog.find_point(nothing)


def test_what_was_checked_is_remembered(small: SmallVault) -> None:
    small.catalog.note_checked([(b"p" * 32, 5, "good")])
    small.catalog.note_checked([(b"p" * 32, 6, "damaged")])
    assert small.catalog.checked() == {b"p" * 32: (6, "damaged")}


def test_received_times_never_go_back(small: SmallVault) -> None:
    with FakeClock() as clock:
        first = small.protect({b"f": b"1"})
        clock.move(-86400)
        second = small.protect({b"f": b"2"})
        assert second.received_ns > first.received_ns
        assert small.catalog.points() == [second, first]
        small.expire(second, undo_ns=0)
        small.undo(second)
        assert len(small.beside().catalog.points()) == 2


# ---------------------------------------------------------------------------------------------------------- damage


def test_a_file_that_is_no_database_is_made_anew(small: SmallVault, tmp_path: Path) -> None:
    point = small.protect({b"f": b"1"})
    path = tmp_path / "catalog"
    path.write_bytes(b"this is no database at all, but it is longer than a header of SQLite would be: " * 40)
    other = small.beside(catalog=str(path))
    assert other.catalog.points() == [point]
    other.catalog.close()


def test_damage_anywhere_is_never_a_foreign_error(small: SmallVault, tmp_path: Path, some: random.Random) -> None:
    """The catalog is derived: it may be made anew, or say that it is damaged, but it neither crashes nor lies about
    what is there once it has been deleted."""
    truth = {}
    for number in range(6):
        files = {b"f": b"%d" % number}
        truth[small.protect(files, f"s{number % 3}").id] = files
    path = tmp_path / "catalog"
    small.beside(catalog=str(path)).catalog.close()
    whole = path.read_bytes()
    for turn in range(150):
        changed = bytearray(whole)
        for _ in range(1 + turn % 3):
            changed[some.randrange(len(whole))] ^= 1 << some.randrange(8)
        path.write_bytes(changed if turn % 10 else changed[: some.randrange(len(whole))])
        try:
            other = small.beside(catalog=str(path))
            with closing(other.catalog):
                other.catalog.points()
                other.catalog.services()
                for point in small.catalog.points():
                    other.catalog.checkpoint(point.marks[0].checkpoint)
                other.check()
        except KnowngoodError as wrong:
            assert not isinstance(wrong, Busy)
        for each in tmp_path.iterdir():
            each.unlink()
    other = small.beside(catalog=str(path))
    other.verify(truth)
    other.catalog.close()


def test_a_catalog_in_use_is_not_mistaken_for_a_damaged_one(tmp_path: Path) -> None:
    """Another command holds it: that is no reason to delete it."""
    path = tmp_path / "catalog"
    connect = sqlite3.connect
    with closing(connect(path, isolation_level=None)) as other:
        other.execute("create table commits (key text primary key)")  # not in its final mode yet: a reader has to wait
        other.execute("begin exclusive")
        inode = path.stat().st_ino
        with patch.object(sqlite3, "connect", lambda *args, **named: connect(*args, **{**named, "timeout": 0})):
            with pytest.raises(Busy):
                Catalog(str(path))
        other.execute("rollback")
        assert path.stat().st_ino == inode


def test_a_catalog_that_cannot_be_written_says_so(small: SmallVault, tmp_path: Path) -> None:
    with pytest.raises(KnowngoodError):
        Catalog(str(tmp_path / "missing" / "catalog"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(KnowngoodError):
        Catalog(str(tmp_path / "folder"))


def test_to_take_or_forget_a_commit_looks_through_no_table(tmp_path: Path) -> None:
    """What a commit said is found by its key, however many others there are: it once took a millisecond more for each
    ten thousand points."""
    path = str(tmp_path / "catalog")
    Catalog(path).close()
    tables = "points checkpoints expiries judgements commits segments folds thinnings"
    with closing(sqlite3.connect(path)) as database:
        for table in tables.split():
            column = "key" if table == "commits" else "commit_key"
            (row,) = database.execute(f"explain query plan delete from {table} where {column} = ?", ("",)).fetchall()
            assert row[3].startswith("SEARCH"), row
