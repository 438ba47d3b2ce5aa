"""Whatever a tree holds comes back exactly, however deep, long, sparse or odd it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from knowngood.core.progress import Progress
from knowngood.kinds.files.recovery import rounds, stage
from knowngood.kinds.files.recovery.recover import materialize
from knowngood.testing.trees import differences, picture
from tests.unit.kinds_files_recovery.conftest import Zoo
from tests.unit.kinds_files_recovery.recovering import ACL, Pages, capture, set_flags, text


def test_everything_comes_back(zoo: Zoo, folder: Path) -> None:
    """Types, content, holes, owners, modes, times, attributes, flags and hard links, into a new folder."""
    done = zoo.kept.recover(folder / "new" / "place")
    assert differences(zoo.picture, picture(folder / "new" / "place")) == []
    assert done.problems == []
    others = sum(seen.kind != "folder" for seen in zoo.picture.values())
    assert done.files == others
    assert done.deleted == 0


def test_everything_comes_back_over_other_things(zoo: Zoo, folder: Path) -> None:
    """In a folder that is not empty, and on which other things have the same names."""
    target = folder / "place"
    (target / "small").mkdir(parents=True)
    (target / "folder").symlink_to("/")
    (target / "names").write_bytes(b"a file")
    (target / "symlink").write_bytes(b"a file")
    (target / "inline").symlink_to("/etc/passwd")
    (target / "pipe").symlink_to("nowhere")
    (target / "other").write_bytes(b"not in the checkpoint")
    done = zoo.kept.recover(target)
    assert done.problems == []
    assert (target / "other").read_bytes() == b"not in the checkpoint"
    (target / "other").unlink()
    os.utime(target, ns=(0, zoo.picture[b"."].mtime_ns))
    assert differences(zoo.picture, picture(target)) == []


def test_again_changes_nothing(zoo: Zoo, folder: Path) -> None:
    """A second recovery compares, finds all equal, and touches nothing."""
    zoo.kept.recover(folder / "place")
    before = _changes(folder / "place")
    plan = zoo.kept.plan(folder / "place")
    assert (plan.create, plan.rewrite, plan.attributes, plan.write_bytes) == (0, 0, 0, 0)
    done = materialize(plan, zoo.kept.pages, Progress())
    assert (done.written_bytes, done.problems) == (0, [])
    assert _changes(folder / "place") == before
    assert differences(zoo.picture, picture(folder / "place")) == []


def _changes(root: Path) -> dict[Path, tuple[int, int]]:
    """Inode and time of change of all that has no flag that has to be lifted to look inside."""
    found = {}
    for path in root.rglob("*"):
        here = path.lstat()
        if not stat.S_ISDIR(here.st_mode):
            found[path] = here.st_ino, here.st_ctime_ns
    return found


def test_progress_counts_what_it_does(zoo: Zoo, folder: Path) -> None:
    """Files and bytes add up to the totals, which are known from the start."""
    progress = Progress()
    done = materialize(zoo.kept.plan(folder / "place"), zoo.kept.pages, progress)
    totals = zoo.kept.checkpoint.totals
    assert progress.total_files == totals.files + totals.others
    assert progress.files == done.files == progress.total_files
    assert progress.bytes == done.bytes


def test_paths_of_any_depth(folder: Path) -> None:
    """A path of more than 4,096 bytes, through more folders than are kept open at once."""
    source = folder / "source"
    source.mkdir()
    fd = os.open(source, os.O_RDONLY)
    for level in range(100):
        name = b"%03d" % level + b"d" * 57
        os.mkdir(name, 0o755, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        for each in (b"a", b"z"):
            file = os.open(each, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=below)
            os.write(file, name + each)
            os.close(file)
        os.link(b"a", b"a linked", src_dir_fd=below, dst_dir_fd=below)
        os.mkdir(b"zz empty", dir_fd=below)
        os.utime(below, ns=(level, level * 1_000_000_007))
        os.close(fd)
        fd = below
    os.close(fd)
    done = capture(source).recover(folder / "place")
    assert done.problems == []
    seen = picture(folder / "place")
    assert max(map(len, seen)) > 5000
    assert differences(picture(source), seen) == []


def test_many_small_rounds(zoo: Zoo, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small rounds and batches are, the outcome is the same."""
    for name, value in (("_WAITING_LINKS", 3), ("_BATCH_FILES", 2), ("_WAITING_FOLDERS", 2), ("_AHEAD", 1)):
        monkeypatch.setattr(rounds, name, value)
    monkeypatch.setattr(stage, "STAGED_FILES", 3)
    (folder / "place").mkdir()
    (folder / "place" / "other").touch()
    done = zoo.kept.recover(folder / "place", delete_extra=True)
    assert (done.problems, done.deleted) == ([], 1)
    assert differences(zoo.picture, picture(folder / "place")) == []


def test_huge_files_have_lists_of_chunks(folder: Path) -> None:
    """A file of so many chunks that pages list them."""
    source = folder / "source"
    source.mkdir()
    (source / "huge").write_bytes(text(1, 1 << 20) * 45)
    kept = capture(source)
    assert kept.entry("huge").content == 4
    done = kept.recover(folder / "place")
    assert done.written_bytes == 45 << 20
    assert differences(picture(source), picture(folder / "place")) == []


def test_a_single_file_as_a_component(folder: Path) -> None:
    """It comes back under its own name in the target, and in place through the folder that it was in."""
    source = folder / "config.ini"
    source.write_bytes(text(1, 5000))
    source.chmod(0o640)
    kept = capture(source)
    kept.recover(folder / "place")
    assert (folder / "place" / "config.ini").read_bytes() == text(1, 5000)
    assert stat.S_IMODE((folder / "place" / "config.ini").stat().st_mode) == 0o640
    neighbour = folder / "neighbour"
    neighbour.touch()
    for target in (source, folder):
        source.write_bytes(b"damaged")
        done = kept.recover(target, delete_extra=True)
        assert source.read_bytes() == text(1, 5000)
        assert (done.files, done.deleted) == (1, 0)
    assert neighbour.exists()


@pytest.mark.root
def test_inherited_acls_and_flags_do_not_spread(folder: Path) -> None:
    """What lies above the target has a default ACL, flags and a set-group-id bit: the checkpoint does not."""
    source = folder / "source"
    (source / "below").mkdir(parents=True)
    (source / "file").write_bytes(b"1")
    (source / "below" / "file").write_bytes(b"2")
    (source / "symlink").symlink_to("file")
    target = folder / "above" / "place"
    target.mkdir(parents=True)
    (target / "other").touch()
    for above in (folder / "above", target):
        os.setxattr(above, "system.posix_acl_default", ACL)
        os.chown(above, 0, 4321)
        above.chmod(0o2775)
        set_flags(above, 0x80)
    kept = capture(source)
    kept.recover(target)
    (target / "other").unlink()
    expected, seen = picture(source), picture(target)
    del expected[b"."], seen[b"."]
    assert differences(expected, seen) == []
    kept.recover(folder / "above" / "new")
    assert differences(picture(source), picture(folder / "above" / "new")) == []


def test_chunks_are_fetched_once(zoo: Zoo, folder: Path) -> None:
    """Recovering to an empty place asks for each use of a chunk once, and reads nothing back."""
    pages: Pages = zoo.kept.pages
    done = zoo.kept.recover(folder / "place")
    assert len(pages.chunks) == len(set(pages.chunks))
    assert sum(len(pages.vault.chunks[name]) for name in set(pages.chunks)) <= done.written_bytes
