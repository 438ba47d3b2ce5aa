"""Over an existing folder, only what differs is written, and never half."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from knowngood.kinds.files.recovery import big
from knowngood.testing.trees import differences, picture
from tests.unit.kinds_files_recovery.recovering import OLD, Kept, age, capture, set_flags, text, unlock


@pytest.fixture
def site(folder: Path) -> Path:
    """A small folder, in which the tests do damage."""
    root = folder / "site"
    (root / "below").mkdir(parents=True)
    for number, size in enumerate((0, 50, 3000, 300_000, 6_000_000)):
        (root / f"file-{number}").write_bytes(text(number, size))
        (root / "below" / f"file-{number}").write_bytes(text(10 + number, size))
    (root / "symlink").symlink_to("below/file-1")
    age(root)
    return root


def _inodes(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.lstat().st_ino for path in root.rglob("*")}


def _changed(root: Path, before: dict[str, int]) -> set[str]:
    return {name for name, inode in _inodes(root).items() if before.get(name) != inode}


def test_untouched_files_are_not_read(site: Path) -> None:
    """Inode, time of change and size prove that a file is what it was."""
    kept, expected = capture(site), picture(site)
    plan = kept.plan(site)
    assert (plan.create, plan.rewrite, plan.attributes, plan.samples) == (0, 0, 0, [])
    done = kept.recover(site)
    assert (kept.pages.chunks, done.written_bytes, done.problems) == ([], 0, [])
    assert done.files == 11
    assert differences(expected, picture(site)) == []


def test_times_too_near_to_the_capture_prove_nothing(site: Path) -> None:
    """A file that may have changed again within the tick of its time of change is compared."""
    kept = capture(site, settled=False)
    done = kept.recover(site)
    assert len(kept.pages.chunks) > 100
    assert (done.written_bytes, done.problems) == (0, [])


def test_only_what_differs_is_written(site: Path) -> None:
    """Changed, lost, grown, shrunk and replaced files; the others keep their inodes."""
    kept, expected, before = capture(site), picture(site), _inodes(site)
    with (site / "file-2").open("r+b") as file:
        file.write(b"changed")
    with (site / "below" / "file-4").open("r+b") as file:
        file.seek(5_000_000)
        file.write(b"changed")
    with (site / "below" / "file-3").open("ab") as file:
        file.write(b"grown")
    os.truncate(site / "file-4", 1000)
    (site / "file-3").unlink()
    (site / "file-0").write_bytes(b"not empty")
    (site / "symlink").unlink()
    (site / "symlink").symlink_to("elsewhere")
    plan = kept.plan(site)
    assert (plan.create, plan.rewrite) == (1, 6)
    done = kept.recover(site)
    assert done.problems == []
    assert differences(expected, picture(site)) == []
    written = {"file-2", "below/file-4", "below/file-3", "file-4", "file-3", "file-0", "symlink"}
    assert _changed(site, before) == written
    assert done.written_bytes <= 3000 + 6_000_000 + 300_000 + 6_000_000 + 300_000


def test_equal_content_only_gets_its_attributes(site: Path) -> None:
    """A file that was only touched keeps its inode; so does one with another mode or attribute."""
    kept, expected, before = capture(site), picture(site), _inodes(site)
    os.utime(site / "file-2")
    os.utime(site / "file-4")
    (site / "file-3").chmod(0o600)
    (site / "below").chmod(0o700)
    os.setxattr(site / "below" / "file-1", "user.added", b"1")
    os.utime(site / "symlink", follow_symlinks=False)
    plan = kept.plan(site)
    assert plan.rewrite == 2  # another time means: probably another content
    assert ("attributes", b"file-3") in plan.samples
    done = kept.recover(site)
    assert (done.written_bytes, done.problems) == (0, [])
    assert _changed(site, before) == set()
    assert differences(expected, picture(site)) == []


def test_kinds_that_changed_are_replaced(site: Path) -> None:
    """A file where a folder was and an empty folder where a file was."""
    kept, expected = capture(site), picture(site)
    (site / "file-1").unlink()
    (site / "file-1").mkdir()
    for path in (site / "below").iterdir():
        path.unlink()
    (site / "below").rmdir()
    (site / "below").write_bytes(b"a file now")
    assert kept.recover(site).problems == []
    assert differences(expected, picture(site)) == []


def test_a_folder_with_content_is_not_deleted_unasked(site: Path) -> None:
    """It stands where a file belongs: it stays, and that is a problem; with `delete_extra` it goes."""
    kept, expected = capture(site), picture(site)
    for name in ("file-1", "file-4"):
        (site / name).unlink()
        (site / name).mkdir()
        (site / name / "precious").write_bytes(b"content")
    done = kept.recover(site)
    assert {problem.path for problem in done.problems} == {b"file-1", b"file-4"}
    assert "a folder with content has its place" in done.problems[0].reason
    assert (site / "file-1" / "precious").read_bytes() == b"content"
    assert kept.recover(site, delete_extra=True).problems == []
    assert differences(expected, picture(site)) == []


def test_hard_links_are_grouped_as_they_were(folder: Path) -> None:
    """Whatever was linked with what meanwhile."""
    site = folder / "site"
    site.mkdir()
    for first, second in (("a", "b"), ("c", "d"), ("e", "f")):
        (site / first).write_bytes(text(1, 1000))
        os.link(site / first, site / second)
    (site / "single").write_bytes(text(1, 1000))
    age(site)
    kept, expected = capture(site), picture(site)
    for name in ("b", "c", "d", "e", "f", "single"):
        (site / name).unlink()
    os.link(site / "a", site / "c")  # (a, c) and (b, d) instead of (a, b) and (c, d)
    (site / "b").write_bytes(text(1, 1000))
    os.link(site / "b", site / "d")
    (site / "e").write_bytes(text(1, 1000))  # no longer linked
    (site / "f").write_bytes(text(1, 1000))
    os.link(site / "a", site / "single")
    assert kept.recover(site).problems == []
    assert differences(expected, picture(site)) == []


def test_a_file_with_foreign_names_is_not_touched(folder: Path) -> None:
    """Somebody ties a name in the target to a file elsewhere: that one keeps its attributes and its content."""
    site, foreign = folder / "site", folder / "foreign"
    site.mkdir()
    (site / "file").write_bytes(b"the same")
    (site / "file").chmod(0o666)
    kept = capture(site)
    (site / "file").unlink()
    foreign.write_bytes(b"the same")
    foreign.chmod(0o600)
    os.link(foreign, site / "file")
    kept.recover(site)
    assert stat.S_IMODE(foreign.stat().st_mode) == 0o600
    assert foreign.stat().st_nlink == 1
    assert stat.S_IMODE((site / "file").stat().st_mode) == 0o666


def test_filled_holes_become_holes_again(folder: Path) -> None:
    """Zeros where holes were are the same content, but take room that can be given back."""
    site = folder / "site"
    site.mkdir()
    for name, size in (("small", 2_000_000), ("large", 20_000_000)):
        with (site / name).open("wb") as file:
            file.truncate(size)
            file.seek(1 << 20)
            file.write(text(1, 4096))
    age(site)
    kept, expected = capture(site), picture(site)
    before = _inodes(site)
    for name in ("small", "large"):
        content = (site / name).read_bytes()
        (site / name).write_bytes(content)
        assert (site / name).stat().st_blocks * 512 >= len(content)
    done = kept.recover(site)
    assert (done.problems, done.written_bytes) == ([], 0)
    assert differences(expected, picture(site)) == []
    assert _changed(site, before) == set()
    for name in ("small", "large"):
        with (site / name).open("r+b") as file:
            file.seek(100_000)
            file.write(b"in a hole")
    assert kept.recover(site).problems == []
    assert differences(expected, picture(site)) == []


@pytest.mark.root
def test_immutable_and_append_only_things_are_recovered(site: Path) -> None:
    """Flags that forbid changes are lifted, and set again where the checkpoint has them."""
    os.link(site / "file-1", site / "link-1")
    age(site)
    for name, flags in (("file-1", 0x10), ("file-2", 0x20), ("file-4", 0x10), ("below", 0x10)):
        set_flags(site / name, flags)
    kept, expected = capture(site), picture(site)
    unlock(site)
    (site / "link-1").unlink()
    for name in ("file-2", "file-4", "below/file-1"):
        (site / name).write_bytes(b"damaged")
    os.utime(site / "file-3", ns=(1, 1))
    for name in ("file-1", "file-2", "file-3", "file-4", "symlink", "below", "below/file-1"):
        if name != "symlink":
            set_flags(site / name, 0x10)
    set_flags(site, 0x10)
    assert kept.recover(site).problems == []
    assert differences(expected, picture(site)) == []


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_a_clone_takes_only_the_differing_chunks(kind: str, request: pytest.FixtureRequest) -> None:
    """Where the file system can clone, what is the same stays shared with the file that is replaced."""
    here: Path = request.getfixturevalue(f"{kind}_dir")
    site = here / "site"
    site.mkdir()
    (site / "large").write_bytes(text(1, 12_000_000))
    with (site / "sparse").open("wb") as file:
        file.truncate(50_000_000)
        file.seek(30_000_000)
        file.write(text(2, 8192))
    os.truncate(site / "sparse", 50_000_000)
    age(site)
    kept, expected = capture(site), picture(site)
    for name, offset in (("large", 7_000_000), ("sparse", 10_000_000)):
        with (site / name).open("r+b") as file:
            file.seek(offset)
            file.write(b"damaged")
    with (site / "large").open("ab") as file:
        file.write(b"and longer")
    os.link(site / "large", here / "the damaged one")
    done = kept.recover(site)
    assert done.problems == []
    assert differences(expected, picture(site)) == []
    assert done.written_bytes <= 2 * (128 << 10)
    assert (here / "the damaged one").stat().st_size == 12_000_010
    os.utime(site / "large")
    assert kept.recover(site).written_bytes == 0
    assert differences(expected, picture(site)) == []


def test_without_clones_large_files_are_compared_first(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One chunk differs: comparing ends there, and the whole file is written anew."""
    monkeypatch.setattr(big, "clone", lambda *_: False)
    kept, expected = capture(site), picture(site)
    with (site / "file-4").open("r+b") as file:
        file.write(b"damaged")
    os.utime(site / "below" / "file-4")
    done = kept.recover(site)
    assert (done.problems, done.written_bytes) == ([], 6_000_000)
    assert differences(expected, picture(site)) == []


def test_few_changes_are_synced_one_by_one(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file brought back does not wait for all that others have written to the file system."""
    kept = capture(site)
    (site / "file-2").write_bytes(b"damaged")
    synced, whole = [], []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    for module in ("rounds", "stage"):
        monkeypatch.setattr(f"knowngood.kinds.files.recovery.{module}.sync_file_system", whole.append)
    kept.recover(site, "file-2")
    assert (len(synced), len(whole)) == (2, 0)
    assert ".knowngood-" in synced[0]
    assert synced[1] == str(site)


def test_many_changes_are_synced_before_they_take_their_names(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the content of a round is on stable storage, then it is renamed; at the end all is."""
    kept = capture(site)
    for path in site.rglob("file-[1-9]"):
        path.write_bytes(b"damaged")
    for path in (site / "below").iterdir():
        path.unlink()
    events: list[str] = []
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda *args, **more: (events.append("rename"), rename(*args, **more)))
    for module in ("rounds", "stage"):
        sync = f"knowngood.kinds.files.recovery.{module}.sync_file_system"
        monkeypatch.setattr(sync, lambda _: events.append("sync"))
    kept.recover(site)
    assert events == ["sync", *["rename"] * 9, "sync"]


def test_times_of_folders_survive_their_children(site: Path) -> None:
    """Folders get their times after what is in them; those of untouched folders stay."""
    kept: Kept = capture(site)
    (site / "below" / "file-1").unlink()
    kept.recover(site)
    assert (site / "below").stat().st_mtime_ns != OLD
    assert (site / "below").stat().st_mtime_ns == kept.entry("below").mtime_ns
    assert site.stat().st_mtime_ns == OLD
