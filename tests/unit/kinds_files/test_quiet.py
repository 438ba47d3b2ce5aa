"""Checkpoints of what is followed, while it changes: all of one instant, or else each file of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from knowngood.kinds.files.follow.snapshot import Snapshots
from knowngood.linux.btrfs import make_snapshot, subvolume
from tests.loops import Mounts
from tests.unit.kinds_files.capturing import noise
from tests.unit.kinds_files.cloning import Cloned, write

_SIZE = 300_000


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Cloned]:
    """Three files that were followed and have changed."""
    site = Cloned(tmp_path)
    for name in ("a", "b", "c"):
        (site.tree / name).write_bytes(noise(_SIZE, 1))
    site.checkpoint()
    for name in ("a", "b", "c"):
        write(site.tree / name, 5, b"changed")
    with closing(site.follower):
        yield site


def checked(site: Cloned, instant: str) -> None:
    """Make a checkpoint: it says how it came about, and is what is there."""
    site.checkpoint()
    assert site.captured.instant == instant
    assert site.captured.problem_count == 0
    assert site.roots[-1][0] == site.scan()
    site.verify()


def test_nothing_moves(site: Cloned) -> None:
    """Then it is of one instant."""
    checked(site, "quiet")


@pytest.mark.parametrize(
    "act",
    [
        lambda tree: write(tree / "a", 1000, b"once more"),
        lambda tree: (tree / "c").unlink(),
        lambda tree: (tree / "a").rename(tree / "d"),
        lambda tree: (tree / "d").write_bytes(noise(_SIZE, 4)),
        lambda tree: (tree / "d").mkdir(),
        lambda tree: (tree / "c").write_bytes(b""),
    ],
)
def test_what_moves_is_taken_again(site: Cloned, act: Callable[[Path], object]) -> None:
    """What did not is not."""
    site.meanwhile.append(lambda: act(site.tree))
    checked(site, "quiet")


def test_what_came_and_went(site: Cloned) -> None:
    """It was taken, and is gone when the checkpoint is made."""
    (site.tree / "brief").mkdir()
    (site.tree / "brief" / "file").write_bytes(noise(_SIZE, 6))

    def remove() -> None:
        (site.tree / "brief" / "file").unlink()
        (site.tree / "brief").rmdir()

    site.meanwhile.extend([lambda: None] * 3)
    site.meanwhile.append(remove)
    checked(site, "quiet")


def test_who_never_rests(site: Cloned) -> None:
    """Each file is of an instant of its own then; and it is looked at again."""
    site.meanwhile.extend(lambda number=number: write(site.tree / "a", number, b"x") for number in range(100))
    site.checkpoint()
    assert site.captured.instant == ""
    site.meanwhile.clear()
    site.tick()
    site.verify()


@pytest.fixture
def subvolume_site(mounts: Mounts) -> Iterator[Cloned]:
    """A component that is a subvolume of btrfs."""
    site = Cloned(mounts.fresh_dir("btrfs"), subvolume=True)
    for name in ("a", "b", "c"):
        (site.tree / name).write_bytes(noise(_SIZE, 1))
    yield site
    site.follower.close()
    subprocess.run(["btrfs", "-q", "subvolume", "delete", site.tree], check=True)


def test_a_snapshot(subvolume_site: Cloned) -> None:
    """What happens while it is read is not in it, and comes at the next tick; the first one is no exception."""
    site = subvolume_site
    then = {path: path.read_bytes() for path in site.tree.iterdir()}
    for _ in range(2):
        site.meanwhile.append(lambda: write(site.tree / "c", 1, b"later"))
        site.meanwhile.append(lambda: (site.tree / "d").write_bytes(b"later"))
        site.checkpoint()
        assert site.captured.instant == "btrfs snapshot"
        assert not site.meanwhile
        found = {name: state[-1] for name, state in site.replayed().items() if name != b"."}
        assert found == {path.name.encode(): data for path, data in then.items()}
        site.tick()
        site.verify()
        for name in ("a", "b", "c"):
            write(site.tree / name, 99, noise(9, len(site.log)))
        (site.tree / "d").unlink()
        then = {path: path.read_bytes() for path in site.tree.iterdir()}


def test_no_snapshot_leaves_out_what_is_inside(subvolume_site: Cloned) -> None:
    """A subvolume within is not in it: then there is none."""
    site = subvolume_site
    site.checkpoint()
    inner = site.tree / "inner"
    subprocess.run(["btrfs", "-q", "subvolume", "create", inner], check=True)
    try:
        (inner / "file").write_bytes(b"inside")
        site.follower.look()
        site.checkpoint()
        assert site.captured.instant == ""
        assert site.replayed()[b"inner/file"][-1] == b"inside"
    finally:
        subprocess.run(["btrfs", "-q", "subvolume", "delete", inner], check=True)


def test_the_snapshot_of_a_killed_process_is_removed(subvolume_site: Cloned) -> None:
    """By the next one that follows the same component."""
    site = subvolume_site
    top = site.base.parent
    name = Snapshots(b"", str(site.base / "state")).name
    _leave(site.tree, top, name)
    assert name.decode() in {each.name for each in top.iterdir()}
    site.follower.close()
    site.follower = site.follow()
    assert name.decode() not in {each.name for each in top.iterdir()}
    _leave(site.tree, top, name)
    site.checkpoint()
    assert site.captured.instant == "btrfs snapshot"
    assert name.decode() not in {each.name for each in top.iterdir()}


def _leave(tree: Path, top: Path, name: bytes) -> None:
    source, folder = os.open(tree, os.O_RDONLY), os.open(top, os.O_RDONLY)
    assert subvolume(source)
    make_snapshot(source, folder, name)
    os.close(source)
    os.close(folder)
