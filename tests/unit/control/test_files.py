"""Files that survive a power cut, and folders that are their owner's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from knowngood.control import files
from knowngood.core.errors import Exists, KnowngoodError, NoSpace, NotFound, UsageError


def test_written_whole_and_private(tmp_path: Path) -> None:
    """The mode is exact, whatever the umask; nothing else is left."""
    old = os.umask(0o277)
    try:
        files.write_durably(f"{tmp_path}/a", b"one")
    finally:
        os.umask(old)
    files.write_durably(f"{tmp_path}/a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o600
    assert os.listdir(tmp_path) == ["a"]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """`replace=False` leaves what is there."""
    files.write_durably(f"{tmp_path}/key", b"first", replace=False)
    with pytest.raises(Exists):
        files.write_durably(f"{tmp_path}/key", b"second", replace=False)
    assert (tmp_path / "key").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["key"]


def test_order_of_durability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes are durable before the name is there, and the name before the call returns."""
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(fd: int) -> None:
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file")
        fsync(fd)

    def noted_rename(old: str, new: str) -> None:
        steps.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    files.write_durably(f"{tmp_path}/a", b"one")
    assert steps == ["file", "rename", "folder"]


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EACCES, KnowngoodError), (errno.ENOENT, NotFound)],
)
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[KnowngoodError]
) -> None:
    """And no litter."""
    (tmp_path / "a").write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(kind, match="cannot write"):
        files.write_durably(f"{tmp_path}/a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_folders(tmp_path: Path) -> None:
    """All that are missing, for the owner only; a file in the way is said."""
    files.make_folder(f"{tmp_path}/a/b/c")
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o700
    (tmp_path / "f").touch()
    with pytest.raises(UsageError, match="is a file"):
        files.make_folder(f"{tmp_path}/f")
    with pytest.raises(KnowngoodError):
        files.make_folder(f"{tmp_path}/f/g")


def test_a_folder_that_a_killed_process_made_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had no time to sync the folder above; whoever comes next relies on it, and has to."""
    (tmp_path / "a").mkdir()
    synced: list[str] = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    files.make_folder(f"{tmp_path}/a")
    assert synced == [str(tmp_path)]
    files.make_folder(f"{tmp_path}/a/b")
    assert synced == [str(tmp_path), str(tmp_path), f"{tmp_path}/a"]


def test_sweep_takes_only_what_was_never_finished(tmp_path: Path) -> None:
    """Other hidden files are somebody's."""
    for name in (".a.yaml.0011aabb.new", "b.new", ".c"):
        (tmp_path / name).touch()
    files.sweep(str(tmp_path))
    files.sweep(f"{tmp_path}/nowhere")
    assert sorted(os.listdir(tmp_path)) == [".c", "b.new"]


def test_read_is_bounded(tmp_path: Path) -> None:
    """A huge file is refused, a missing one not found."""
    (tmp_path / "a").write_bytes(bytes(1025))
    with pytest.raises(UsageError, match="larger than 1 KiB"):
        files.read_bounded(f"{tmp_path}/a", 1024)
    with pytest.raises(NotFound, match="cannot read"):
        files.read_bounded(f"{tmp_path}/b", 1024)
    with pytest.raises(KnowngoodError, match="directory"):
        files.read_bounded(str(tmp_path), 1024)
