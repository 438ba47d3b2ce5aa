"""What a store on a disk promises beyond the contract: the order of its syncs, and what killed writers leave."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path
from typing import Any

import pytest

from knowngood.core.errors import Exists, KnowngoodError, NotFound, StoreFailed
from knowngood.core.sizes import MIB
from knowngood.linux.direct import open_direct
from knowngood.stores import disk
from knowngood.stores.disk import DiskStore

KEY = "packs/ab/abcd"


class Recorder:
    """What reaches the system, in order: (call, path)."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str]] = []
        self._record(patch, "fsync", lambda fd: os.readlink(f"/proc/self/fd/{fd}"))
        self._record(patch, "link", lambda _, path: os.fspath(path))
        self._record(patch, "unlink", os.fspath)
        self._record(patch, "mkdir", lambda path, *_: os.fspath(path))

    def _record(self, patch: pytest.MonkeyPatch, name: str, path_of: Any) -> None:
        real = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            path = path_of(*args)
            done = real(*args, **options)
            self.calls.append((name, path))
            return done

        patch.setattr(os, name, call)

    def at(self, call: str, path: str | Path) -> int:
        return self.calls.index((call, str(path)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a vault will be."""
    return tmp_path / "vault"


@pytest.mark.parametrize("more", [-1, 0, 1, 4095, 4096, 4 * MIB, 7 * MIB + 3])
def test_a_large_object_goes_past_the_cache(folder: Path, more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, from parts of any length; as every other one it is synced before it has its name."""
    opened, recorder = [], Recorder(monkeypatch)
    monkeypatch.setattr(disk, "open_direct", lambda path: (opened.append(path), open_direct(path))[1])
    data = random.Random(more).randbytes(disk.DIRECT_FROM + more)
    store = DiskStore(folder)
    store.put(KEY, [data[:100], b"", memoryview(data)[100:70_000], data[70_000:]])
    assert store.get(KEY) == data
    assert len(opened) == (more >= 0)
    (written,) = {path for call, path in recorder.calls if call == "fsync" and path.startswith(f"{folder}/tmp/")}
    assert recorder.at("fsync", written) < recorder.at("link", folder / KEY)


def test_a_large_object_where_there_is_no_way_past_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "open_direct", lambda _: None)
    data = random.Random(1).randbytes(disk.DIRECT_FROM + 5)
    DiskStore(folder).put(KEY, [data])
    assert DiskStore(folder).get(KEY) == data


def test_an_object_is_durable_when_put_returns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes before its name, its name before the return; folders into theirs, down from the first that is new."""
    recorder = Recorder(monkeypatch)
    DiskStore(folder).put(KEY, [b"x"])
    temporary = f"{folder}/tmp/"
    (written,) = {path for call, path in recorder.calls if call == "fsync" and path.startswith(temporary)}
    linked = recorder.at("link", folder / KEY)
    assert recorder.at("fsync", written) < linked
    synced = [number for number, each in enumerate(recorder.calls) if each == ("fsync", str(folder / "packs/ab"))]
    assert max(synced) > linked
    for new in (folder, folder / "packs", folder / "packs/ab"):
        made = recorder.at("mkdir", new)
        assert ("fsync", str(new.parent)) in recorder.calls[made:linked]


def test_a_deletion_is_durable_when_it_returns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DiskStore(folder)
    store.put(KEY, [b"x"])
    recorder = Recorder(monkeypatch)
    store.delete(KEY)
    assert recorder.at("unlink", folder / KEY) < recorder.at("fsync", folder / "packs/ab")


def test_a_failed_sync_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DiskStore(folder)
    store.put("packs/first", [b"x"])
    monkeypatch.setattr(os, "fsync", _fails)
    with pytest.raises(StoreFailed):
        store.put("packs/second", [b"x"])
    with pytest.raises(NotFound):
        store.get("packs/second")


def _fails(_: int) -> None:
    raise OSError(5, "Input/output error")


def test_what_killed_writers_left_is_no_object(folder: Path) -> None:
    store = DiskStore(folder)
    store.put(KEY, [b"x"])
    (folder / "tmp" / "half").write_bytes(b"half an object")
    assert [each.key for each in store.list("")] == [KEY]
    assert store.sweep() == 1
    assert store.sweep() == 0
    assert store.get(KEY) == b"x"


def test_a_second_name_that_a_killed_writer_left_is_not_written_through(folder: Path) -> None:
    """Killed between link and unlink, a writer leaves two names of one file. Process numbers come again: a name made
    from one would be opened again one day, and the object behind it cut off."""
    store = DiskStore(folder)
    store.put(KEY, [b"content"])
    for number in range(100):
        os.link(folder / KEY, folder / "tmp" / f"{os.getpid()}-{number}")
    for number in range(100):
        store.put(f"packs/{number}", [b"other"])
    assert store.get(KEY) == b"content"
    assert store.sweep() == 100
    assert store.get(KEY) == b"content"


def test_a_put_survives_a_sweep_that_takes_its_file_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that saw nobody sweeps while somebody begins."""
    store = DiskStore(folder)
    store.put("first", [])
    real, swept = os.link, [False]

    def link(*args: Any, **options: Any) -> None:
        if not swept[0]:
            swept[0] = True
            assert store.sweep() == 1
        real(*args, **options)

    monkeypatch.setattr(os, "link", link)
    store.put(KEY, [b"content"])
    assert store.get(KEY) == b"content"
    assert list((folder / "tmp").iterdir()) == []


def test_a_lost_race_leaves_nothing(folder: Path) -> None:
    store = DiskStore(folder)
    store.put(KEY, [b"x"])
    with pytest.raises(Exists):
        store.put(KEY, [b"y"])
    assert list((folder / "tmp").iterdir()) == []


def test_only_the_owner_may_look(folder: Path) -> None:
    DiskStore(folder).put(KEY, [b"x"])
    assert stat.S_IMODE(os.stat(folder / KEY).st_mode) == 0o600
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in folder.rglob("*") if path.is_dir()} == {0o700}


def test_foreign_files_do_not_get_out_as_foreign_errors(folder: Path) -> None:
    store = DiskStore(folder)
    store.put(KEY, [b"x"])
    for act in (
        lambda: store.get("packs"),
        lambda: store.view("packs"),
        lambda: store.put("packs/ab/abcd/below", [b"y"]),
        lambda: store.get("packs/ab/abcd/below"),
        lambda: store.delete("packs"),
        lambda: store.put("packs", [b"y"]),
    ):
        with pytest.raises(KnowngoodError):
            act()
    (folder / "packs" / ".DS_Store").write_bytes(b"whatever")
    (folder / "packs" / "with space").write_bytes(b"whatever")
    assert [each.key for each in store.list("packs/")] == [KEY]


@pytest.mark.parametrize("seen", ["read", "written"])
def test_a_folder_that_is_taken_away(seen: str, tmp_path: Path) -> None:
    """Moved, or unmounted: nothing is put into whatever lies in its place. When it is back, all is well."""
    root, away = tmp_path / "vault", tmp_path / "away"
    DiskStore(root).put(KEY, [b"x"])
    store = DiskStore(root)
    if seen == "read":
        store.get(KEY)
    else:
        store.put(KEY + "0", [b"x"])
    root.rename(away)
    with pytest.raises(StoreFailed, match="was taken away"):
        store.put(KEY + "1", [b"x"])
    assert not root.exists()
    root.mkdir()
    with pytest.raises(StoreFailed, match="was taken away"):
        store.put(KEY + "1", [b"x"])
    assert list(root.iterdir()) == []
    root.rmdir()
    away.rename(root)
    store.put(KEY + "1", [b"x"])
    assert store.get(KEY + "1") == b"x"


def test_a_folder_that_another_thread_makes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not there when this one looked, and is by now: that is no folder that was taken away."""
    store, look = DiskStore(tmp_path / "vault"), disk._identity
    others = [lambda: [store.put(KEY + at, [b"x"]) for at in ("2", "3")]]

    def looking(folder: Path) -> tuple[int, int] | None:
        found = look(folder)
        if others:
            others.pop()()
        return found

    monkeypatch.setattr(disk, "_identity", looking)
    store.put(KEY + "0", [b"x"])
    monkeypatch.undo()
    (tmp_path / "vault").rename(tmp_path / "away")
    with pytest.raises(StoreFailed, match="was taken away"):
        store.put(KEY + "1", [b"x"])
