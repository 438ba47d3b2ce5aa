"""Nothing that a tree holds, and nothing that lies in the target, leads a recovery out of the target."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from knowngood.core.errors import Busy, Damaged, KnowngoodError, UsageError
from knowngood.kinds.files.recovery import recover as recovering_module
from knowngood.kinds.files.syscalls import lock_folder
from knowngood.testing.trees import picture
from knowngood.tree.block import Block, Content, Extra
from tests.unit.kinds_files_recovery.recovering import (
    FILE,
    FOLDER,
    ROOT,
    SYMLINK,
    Kept,
    block,
    capture,
    made,
    sized,
    text,
)


@pytest.fixture
def outside(folder: Path) -> Path:
    """A folder beside the target that nobody may touch."""
    path = folder / "outside"
    path.mkdir()
    (path / "file").write_bytes(b"precious")
    return path


@pytest.mark.parametrize("name", [b"..", b"a/b", b"../outside/file", b"/etc/passwd", b".", b""])
@pytest.mark.parametrize("mode", [FILE, FOLDER])
@pytest.mark.parametrize("exists", [False, True])
def test_names_that_are_none(folder: Path, outside: Path, name: bytes, mode: int, exists: bool) -> None:
    """A tree with such names is damaged, or was made to do harm."""
    entries = sorted([ROOT, (name, mode, b"" if mode == FOLDER else b"content")])
    kept = made(block(b"", *entries))
    target = folder / "place"
    if exists:
        target.mkdir()
        (target / "other").touch()
    before = picture(folder, without=(b"place",))
    with pytest.raises(Damaged):
        kept.recover(target)
    assert picture(folder, without=(b"place",)) | {b".": before[b"."]} == before
    assert [path.name for path in target.rglob("*")] in ([], ["other"], [".knowngood-unfinished"])


@pytest.mark.parametrize(
    "blocks",
    [
        [block(b"", ROOT), block(b"..\0outside", (b"file", FILE, b"bad"))],
        [block(b"", ROOT), block(b"missing", (b"file", FILE, b"bad"))],
        [block(b"", ROOT, (b"a", FILE, b"1")), block(b"a", (b"file", FILE, b"bad"))],
        [block(b"", ROOT, (b"b", FOLDER, b"")), block(b"b", (b"x", FILE, b"1")), block(b"a", (b"x", FILE, b"1"))],
        [block(b"", ROOT, (b"a", FILE, b"1"), (b"a", FILE, b"2"))],
        [block(b"", ROOT, (b"b", FILE, b"1"), (b"a", FILE, b"2"))],
        [block(b"", ROOT, (b"a", FOLDER, b"")), block(b"a", (b"..", FOLDER, b""))],
        [block(b"", ROOT, (b"a", FOLDER, b"")), block(b"a", (b".", FOLDER, b""))],
    ],
)
def test_trees_that_contradict_themselves(folder: Path, outside: Path, blocks: list[Block]) -> None:
    """Folders that are none, things that come twice or out of order."""
    kept = made(*blocks)
    with pytest.raises(Damaged):
        kept.recover(folder / "place")
    assert (outside / "file").read_bytes() == b"precious"
    assert not list(folder.rglob(".knowngood-*.tmp"))


def test_a_symlink_and_a_folder_of_one_name(folder: Path, outside: Path) -> None:
    """The classic: first a symlink that leads out, then a folder of the same name with a file in it."""
    link = os.fsencode(outside)
    kept = made(block(b"", ROOT, (b"a", SYMLINK, link), (b"a", FOLDER, b"")), block(b"a", (b"file", FILE, b"bad")))
    with pytest.raises(Damaged):
        kept.recover(folder / "place")
    assert (outside / "file").read_bytes() == b"precious"


@pytest.mark.parametrize("where", ["folder", "folder/below", "folder/below/file"])
def test_symlinks_in_the_target_are_replaced(folder: Path, outside: Path, where: str) -> None:
    """They are not followed, wherever they stand."""
    source, target = folder / "source", folder / "place"
    (source / "folder" / "below").mkdir(parents=True)
    (source / "folder" / "below" / "file").write_bytes(b"content")
    kept = capture(source)
    kept.recover(target)
    (outside / "below").mkdir()
    path = target / where
    os.rename(path, folder / "moved")
    path.symlink_to(outside / "file" if where.endswith("file") else outside)
    before = picture(outside)
    assert kept.recover(target, delete_extra=True).problems == []
    assert picture(outside) == before
    assert picture(target) == picture(source)


def test_a_symlink_swapped_in_during_the_run(folder: Path, outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right after a folder was made, or seen, a symlink takes its place: it is refused."""
    source, target = folder / "source", folder / "place"
    (source / "folder").mkdir(parents=True)
    (source / "folder" / "file").write_bytes(b"content")
    kept = capture(source)
    real = os.mkdir

    def swapping(name: bytes, *args: int, **more: int) -> None:
        real(name, *args, **more)
        if name == b"folder":
            os.rmdir(name, dir_fd=more["dir_fd"])
            os.symlink(outside, name, dir_fd=more["dir_fd"])

    plan = kept.plan(target)
    monkeypatch.setattr(os, "mkdir", swapping)
    done = recovering_module.materialize(plan, kept.pages, recovering_module.Progress())
    assert [problem.path for problem in done.problems] == [b"folder"]
    assert [path.name for path in outside.iterdir()] == ["file"]


def test_a_folder_moved_away_during_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that were closed for a while are found again from below; elsewhere, the run ends."""
    source, target = folder / "source", folder / "place"
    deep = source
    for level in range(70):
        deep = deep / f"{level}"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(text(1, 200))
    kept = capture(source)

    real = os.mkdir

    def moving(name: bytes, *args: int, **more: int) -> None:
        real(name, *args, **more)
        if name == b"69":
            (folder / "away").mkdir()
            os.rename(target / "0" / "1" / "2", folder / "away" / "2")

    plan = kept.plan(target)
    monkeypatch.setattr(os, "mkdir", moving)
    with pytest.raises(KnowngoodError, match="was moved away"):
        recovering_module.materialize(plan, kept.pages, recovering_module.Progress())
    assert [path.name for path in (folder / "away").iterdir()] == ["2"]


@pytest.mark.parametrize("swap", ["symlink", "hard link"])
def test_a_special_swapped_while_it_is_made(
    folder: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, swap: str
) -> None:
    """Attributes go to what was made, not to what has its name by then."""
    source, target = folder / "source", folder / "place"
    source.mkdir()
    os.mkfifo(source / "pipe", 0o666)
    kept = capture(source)
    real = os.mknod

    def swapping(name: bytes, *args: int, **more: int) -> None:
        real(name, *args, **more)
        os.unlink(name, dir_fd=more["dir_fd"])
        if swap == "symlink":
            os.symlink(outside / "file", name, dir_fd=more["dir_fd"])
        else:
            os.link(outside / "file", name, dst_dir_fd=more["dir_fd"])

    monkeypatch.setattr(os, "mknod", swapping)
    before = picture(outside)
    done = kept.recover(target)
    assert [problem.path for problem in done.problems] == [b"pipe"]
    assert picture(outside) == before


@pytest.mark.parametrize(
    ("size", "extra", "content"),
    [
        (100, Extra(extents=struct.pack("<QQ", 90, 20)), Content.CHUNK),
        (100, Extra(extents=struct.pack("<QQQQ", 50, 10, 20, 10)), Content.CHUNK),
        (100, Extra(extents=b"123"), Content.CHUNK),
        (1 << 62, Extra(extents=struct.pack("<QQ", 1 << 61, 10)), Content.CHUNK),
        (100, Extra(lengths=(60, 60)), Content.CHUNKS),
        (100, Extra(lengths=(10, 20)), Content.CHUNKS),
        (100, Extra(), Content.CHUNK),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_content_that_contradicts_itself(folder: Path, size: int, extra: Extra, content: Content, exists: bool) -> None:
    """Such a file is a problem; what is there under its name stays as it is."""
    refs = bytes(32) * {Content.CHUNK: 1, Content.CHUNKS: 2}[content]
    kept = made(sized(b"file", size, extra, refs, content))
    kept.pages.vault.chunks = dict.fromkeys([bytes(32)], b"x" * 60)  # pyright: ignore[reportAttributeAccessIssue]
    target = folder / "place"
    if exists:
        target.mkdir()
        (target / "file").write_bytes(b"good")
    done = kept.recover(target)
    assert [problem.path for problem in done.problems] == [b"file"]
    left = {path.name: path.read_bytes() for path in target.iterdir()}
    assert left == ({"file": b"good"} if exists else {})


def test_the_target_itself_may_be_a_symlink(folder: Path) -> None:
    """The user gave it, so it is meant."""
    source = folder / "source"
    source.mkdir()
    (source / "file").write_bytes(b"content")
    kept: Kept = capture(source)
    (folder / "real").mkdir()
    (folder / "place").symlink_to("real")
    kept.recover(folder / "place")
    assert (folder / "real" / "file").read_bytes() == b"content"


def test_a_target_that_is_no_folder(folder: Path) -> None:
    """A file, or a symlink that leads nowhere."""
    source = folder / "source"
    source.mkdir()
    kept = capture(source)
    (folder / "place").write_bytes(b"file")
    with pytest.raises(UsageError):
        kept.plan(folder / "place")
    (folder / "dangling").symlink_to("nowhere")
    with pytest.raises(KnowngoodError):
        kept.recover(folder / "dangling")
    assert not (folder / "nowhere").exists()


def test_two_recoveries_at_once(folder: Path) -> None:
    """The second one is told to wait."""
    source, target = folder / "source", folder / "place"
    source.mkdir()
    target.mkdir()
    kept = capture(source)
    fd = os.open(target, os.O_RDONLY)
    try:
        lock_folder(fd, str(target))
        with pytest.raises(Busy):
            kept.recover(target)
    finally:
        os.close(fd)
