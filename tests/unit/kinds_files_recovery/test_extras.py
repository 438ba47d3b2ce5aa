"""What is not in the checkpoint is deleted when that is asked for, and only where nothing speaks against it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from knowngood.core.errors import UsageError
from knowngood.kinds.files import exclude
from knowngood.testing.trees import differences, picture
from tests.unit.kinds_files_recovery.recovering import age, capture, set_flags


@pytest.fixture
def site(folder: Path) -> Path:
    """A folder that has changed since its capture."""
    root = folder / "site"
    (root / "folder" / "below").mkdir(parents=True)
    (root / "file").write_bytes(b"1")
    (root / "folder" / "file").write_bytes(b"2")
    age(root)
    return root


def _add(site: Path) -> None:
    (site / "extra").write_bytes(b"")
    (site / "extra symlink").symlink_to("/etc")
    (site / "folder" / "below" / "extra").write_bytes(b"")
    (site / "extra folder" / "a" / "b").mkdir(parents=True)
    (site / "extra folder" / "a" / "b" / "file").write_bytes(b"")
    (site / "extra folder" / "pointing up").symlink_to("..")
    os.mkfifo(site / "extra folder" / "pipe")


def test_extras_stay_unless_asked(site: Path) -> None:
    """A recovery adds and changes; it does not delete."""
    kept = capture(site)
    _add(site)
    assert kept.plan(site).delete == 0
    assert kept.recover(site).deleted == 0
    assert (site / "extra folder" / "a" / "b" / "file").exists()


def test_extras_go_when_asked(site: Path) -> None:
    """The plan counts what the run deletes, each thing once."""
    kept, expected = capture(site), picture(site)
    _add(site)
    plan = kept.plan(site, delete_extra=True)
    assert plan.delete == 9
    deleted = {path for what, path in plan.samples if what == "delete"}
    assert deleted == {b"extra", b"extra symlink", b"folder/below/extra", b"extra folder"}
    assert (site / "extra").exists()
    assert kept.recover(site, delete_extra=True).deleted == 9
    assert differences(expected, picture(site)) == []


def test_only_what_is_recovered_is_cleared(site: Path) -> None:
    """With paths, only inside of the folders that are wanted as a whole."""
    kept = capture(site)
    _add(site)
    (site / "folder" / "extra").touch()
    kept.recover(site, "folder/below", delete_extra=True)
    assert not (site / "folder" / "below" / "extra").exists()
    assert (site / "folder" / "extra").exists()
    assert (site / "extra").exists()
    kept.recover(site, "fold*", delete_extra=True)
    assert not (site / "folder" / "extra").exists()
    assert (site / "extra").exists()


def test_what_is_excluded_is_not_extra(site: Path) -> None:
    """The component leaves it out of its checkpoints, so nobody could bring it back."""
    kept = capture(site)
    _add(site)
    (site / "cache" / "deep").mkdir(parents=True)
    (site / "cache" / "deep" / "file").touch()
    (site / "extra folder" / "x.log").touch()
    (site / "tagged" / "below").mkdir(parents=True)
    (site / "tagged" / "CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    (site / "vault" / "packs").mkdir(parents=True)
    (site / "vault" / os.fsdecode(exclude._VAULT_FILE)).write_bytes(b"{%b}" % exclude._VAULT_MAGIC)
    done = kept.recover(site, delete_extra=True, exclude=("/cache", "*.log"), exclude_caches=True)
    assert done.problems == []
    left = {str(path.relative_to(site)) for path in site.rglob("*")}
    assert left == {
        "file", "folder", "folder/below", "folder/file",
        "cache", "cache/deep", "cache/deep/file", "extra folder", "extra folder/x.log",
        "tagged", "tagged/below", "tagged/CACHEDIR.TAG", "vault", "vault/packs", "vault/vault.json",
    }  # fmt: skip


def test_nothing_is_deleted_where_the_checkpoint_cannot_be_read(site: Path) -> None:
    """A folder is listed on a page that is damaged: nobody knows what is extra."""
    for number in range(3000):
        (site / f"{'n' * 60}{number:04d}").touch()
    kept = capture(site)
    (site / "zzz").touch()
    leaves = [leaf.page for leaf in kept.reader.leaves()]
    assert len(leaves) > 2
    kept.pages.damaged.add(leaves[1])
    done = kept.recover(site, delete_extra=True)
    assert done.deleted == 0
    assert (site / "zzz").exists()
    assert "are lost" in done.problems[0].reason
    assert done.problem_count == 1


def test_leftovers_of_a_killed_run_always_go(site: Path) -> None:
    """Temporary files of ours; what only looks alike stays."""
    kept, expected = capture(site), picture(site)
    for where in (site, site / "folder"):
        (where / ".knowngood-0123abcd-1f.tmp").write_bytes(b"half")
    (site / ".knowngood-mine.tmp").touch()
    assert kept.recover(site).deleted == 0
    (site / ".knowngood-mine.tmp").unlink()
    os.utime(site, ns=(0, expected[b"."].mtime_ns))
    assert differences(expected, picture(site)) == []


def test_a_vault_is_no_target(site: Path, folder: Path) -> None:
    """Not even when somebody asks for it."""
    kept = capture(site)
    vault = folder / "vault"
    vault.mkdir()
    (vault / os.fsdecode(exclude._VAULT_FILE)).write_bytes(b"{%b}" % exclude._VAULT_MAGIC)
    with pytest.raises(UsageError):
        kept.recover(vault, delete_extra=True)
    assert len(list(vault.iterdir())) == 1


def test_deep_extras_go(site: Path) -> None:
    """Deeper than folders can be open at once, longer than a path can be."""
    kept = capture(site)
    fd = os.open(site, os.O_RDONLY)
    for _ in range(60):
        os.mkdir(b"d" * 100, dir_fd=fd)
        below = os.open(b"d" * 100, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    assert kept.recover(site, delete_extra=True).deleted == 60


@pytest.mark.root
def test_immutable_extras_go(site: Path) -> None:
    """Flags do not protect what is to be deleted."""
    kept, expected = capture(site), picture(site)
    _add(site)
    for name in ("extra", "extra folder", "extra folder/a/b", "extra folder/a/b/file"):
        set_flags(site / name, 0x10)
    done = kept.recover(site, delete_extra=True)
    assert (done.problems, done.deleted) == ([], 9)
    assert differences(expected, picture(site)) == []


@pytest.mark.root
def test_mount_points_are_never_crossed(site: Path, folder: Path, mounts: object) -> None:
    """Neither other file systems nor other folders of the same one that are mounted below."""
    kept = capture(site)
    data = folder / "data"
    data.mkdir()
    (data / "precious").write_bytes(b"content")
    (site / "extra" / "bound").mkdir(parents=True)
    (site / "extra" / "other").mkdir()
    (site / "extra" / "file").touch()
    bound = subprocess.run(["mount", "--bind", data, site / "extra" / "bound"], check=False, capture_output=True)
    if bound.returncode:
        pytest.skip("no mounts here")
    try:
        for where in (site / "extra" / "other", site / "folder" / "below"):  # the second is in the checkpoint, empty
            subprocess.run(["mount", "-t", "tmpfs", "none", where], check=True)
            (where / "precious").write_bytes(b"content")
        assert kept.plan(site, delete_extra=True).delete == 1
        done = kept.recover(site, delete_extra=True)
        assert done.deleted == 1
        assert {problem.path for problem in done.problems} == {b"extra/bound", b"extra/other"}
        assert (data / "precious").read_bytes() == b"content"
        assert (site / "extra" / "other" / "precious").read_bytes() == b"content"
        assert (site / "folder" / "below" / "precious").read_bytes() == b"content"
    finally:
        for name in ("folder/below", "extra/other", "extra/bound"):
            subprocess.run(["umount", site / name], check=False, capture_output=True)
