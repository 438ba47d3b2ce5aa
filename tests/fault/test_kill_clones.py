"""Whoever clones files and makes snapshots is killed after each of its calls to the file system: nothing is left."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from knowngood.kinds.files.follow.snapshot import Snapshots
from knowngood.testing.forking import fork
from tests.loops import Mounts
from tests.unit.kinds_files.capturing import noise
from tests.unit.kinds_files.cloning import Cloned, write

pytestmark = pytest.mark.slow

_SIZE = 300_000


def _act(folder: Path, *, subvolume: bool) -> None:
    """Follow a folder: a base, a tick, a point."""
    site = Cloned(folder, subvolume=subvolume)
    with closing(site.follower):
        site.checkpoint()
        write(site.tree / "a", 5000, b"changed")
        site.tick()
        write(site.tree / "b", 5000, b"changed")
        site.checkpoint()


def _killed_after(calls: int, act: Callable[[], None]) -> bool:
    """Run it in a child that kills itself after so many calls of ioctl; whether it was killed."""
    child = fork()
    if child == 0:
        left, real = calls, fcntl.ioctl

        def counted(fd: int, request: int, argument: Any = 0) -> Any:
            nonlocal left
            answer = real(fd, request, argument)
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        fcntl.ioctl = counted
        try:
            act()
        except BaseException:  # noqa: BLE001 - the child must never come back
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status == 0 or os.WIFSIGNALED(status)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("kind", ["xfs", "btrfs", "subvolume"])
def test_nothing_is_left(kind: str, mounts: Mounts) -> None:
    """No file, no snapshot after the next start, and who follows next goes on."""
    subvolume = kind == "subvolume"
    folder = mounts.fresh_dir("btrfs" if subvolume else kind)
    if subvolume:
        subprocess.run(["btrfs", "-q", "subvolume", "create", folder / "tree"], check=True)
    (folder / "tree").mkdir(exist_ok=True)
    for name in ("a", "b"):
        (folder / "tree" / name).write_bytes(noise(_SIZE, ord(name)))
    calls = 1
    while _killed_after(calls, lambda: _act(folder, subvolume=subvolume)):
        calls += 1
        assert sorted(os.listdir(folder)) == ["state", "tree"]
        assert sorted(os.listdir(folder / "tree")) == ["a", "b"]
        site = Cloned(folder, subvolume=subvolume)
        with closing(site.follower):
            ours = Snapshots(b"", str(folder / "state")).name.decode()
            assert ours not in os.listdir(folder.parent)
            site.checkpoint()
            write(site.tree / "a", calls, b"again")
            site.tick()
            site.verify()
        for path in folder.glob("scan*"):
            path.joinpath("basis.sqlite").unlink()
            path.joinpath("basis.lock").unlink()
            path.rmdir()
    assert calls > 10
    if subvolume:
        subprocess.run(["btrfs", "-q", "subvolume", "delete", folder / "tree"], check=True)
