"""Following what the kernel tells: random changes to a real folder, with each feed that can be had here."""

from __future__ import annotations

import os
import random
from contextlib import closing
from pathlib import Path

import pytest

from knowngood.core.errors import Unsupported
from knowngood.core.model import ComponentSpec
from knowngood.kinds.files import FilesKind
from knowngood.kinds.files.follow.follower import FilesFollower
from knowngood.kinds.files.limits import Limits
from knowngood.kinds.files.watch import FANOTIFY, INOTIFY, watch
from knowngood.kinds.files.watch.mounted import is_watchable
from knowngood.seal.chunker import ChunkSizes
from tests.property.test_files_follow import Changer
from tests.unit.kinds_files.following import Followed


@pytest.mark.parametrize("feed", [FANOTIFY, INOTIFY])
@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens(feed: str, seed: int, tmp_path: Path) -> None:
    """After each tick, replay comes to what is there."""
    site = Followed(tmp_path, sizes=ChunkSizes(1 << 16, 1 << 17, 1 << 18))
    site.follower.close()
    state = str(tmp_path / "state")
    watcher = watch(site.component, state, feeds=(feed,))
    if watcher.traits.feed != feed:
        watcher.close()
        pytest.skip(f"{feed} cannot be had here: {watcher.traits.reason}")
    path = os.fsencode(os.path.realpath(site.tree))
    site.follower = FilesFollower(site.component, path, state, watcher, set, Limits(), site.clock)
    some = random.Random(seed)
    changer = Changer(site.tree, some)
    with closing(site.follower):
        for _ in range(15):
            changer.change()
        site.checkpoint()
        for number in range(12):
            for _ in range(some.choice((1, 3, 10))):
                changer.change()
            if not site.follower.standing.based or number % 5 == 4:
                site.checkpoint()
            else:
                site.tick()
            if site.follower.standing.based:
                site.verify()


@pytest.mark.parametrize(
    "kind", [b"nfs", b"nfs4", b"cifs", b"9p", b"ceph", b"virtiofs", b"fuse.sshfs", b"fuse", b"proc"]
)
def test_what_others_may_change_is_not_watched(kind: bytes) -> None:
    """This kernel hears nothing of what other machines write there."""
    assert not is_watchable(kind)
    assert all(map(is_watchable, (b"ext4", b"xfs", b"btrfs", b"overlay", b"tmpfs")))


def test_it_is_scanned_and_that_is_said(tmp_path: Path) -> None:
    """A folder that the kernel makes up stands for all of these: it takes no server."""
    component = ComponentSpec(name="c", kind="files", path="/proc/sys/kernel")
    with pytest.raises(Unsupported, match="a file system of kind proc") as wrong:
        FilesKind().follow(component, str(tmp_path / "state"))
    assert wrong.value.hint == "its points are made by scanning it"


def test_the_kind_follows(tmp_path: Path) -> None:
    """With the best feed there is; a single file cannot be followed."""
    site = Followed(tmp_path)
    site.follower.close()
    site.follower = site.kind.follow(site.component, str(tmp_path / "state"))  # type: ignore[assignment]
    with closing(site.follower):
        assert site.follower.standing.level == "watch"
        (site.tree / "a").write_bytes(b"a")
        site.checkpoint()
        (site.tree / "a").write_bytes(b"other")
        assert site.tick()
        site.verify()
    single = ComponentSpec(name="c", kind="files", path=str(site.tree / "a"))
    with pytest.raises(Unsupported):
        FilesKind().follow(single, str(tmp_path / "other"))
