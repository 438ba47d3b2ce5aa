"""Real file systems in files, mounted through loop devices, for tests that run as root."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

FILE_SYSTEMS = {
    "xfs": ("mkfs.xfs", "-q", "-m", "reflink=1"),
    "btrfs": ("mkfs.btrfs", "-q"),
    "ext4": ("mkfs.ext4", "-q", "-F"),
}
_SHARED_MEBIBYTES = 1024  # sparse: the disk holds only what tests write
_CLONE_NEWNS = 0x00020000


def own_mounts() -> None:
    """Give this process mounts of its own: nobody else sees them, and none outlives it, however it dies.

    Where that is not allowed, mounting is not either, and its tests skip.
    """
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) == 0:
        # Without this, mounts would still travel to the rest of the system.
        subprocess.run(["mount", "--make-rprivate", "/"], check=False, capture_output=True)


class Mounts:
    """File systems made on demand under one folder, unmounted by `close`."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._mounted: list[Path] = []
        self._shared: dict[str, Path | str] = {}  # the mount, or why there is none

    def make(self, kind: str, mebibytes: int) -> Path:
        """Make and mount a file system; skips the test, with the reason, where that cannot be."""
        program, *options = FILE_SYSTEMS[kind]
        if os.geteuid() != 0:
            pytest.skip(f"mounting {kind} needs root")
        if not shutil.which(program):
            pytest.skip(f"needs the command {program} (tools/system-packages)")
        folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=self._base))
        image = folder.with_suffix(".img")
        with image.open("wb") as file:
            file.truncate(mebibytes << 20)
        self._run(kind, program, *options, str(image))
        self._run(kind, "mount", "-t", kind, "-o", "loop", str(image), str(folder))
        self._mounted.append(folder)
        return folder

    def fresh_dir(self, kind: str) -> Path:
        """An empty folder on the one file system of this kind that all tests share."""
        if kind not in self._shared:
            try:
                self._shared[kind] = self.make(kind, _SHARED_MEBIBYTES)
            except pytest.skip.Exception as reason:
                self._shared[kind] = str(reason)
        shared = self._shared[kind]
        if isinstance(shared, str):
            pytest.skip(shared)
        return Path(tempfile.mkdtemp(prefix="test-", dir=shared))

    def close(self) -> None:
        """Unmount all, newest first; a busy one goes when its last user ends."""
        for folder in reversed(self._mounted):
            subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
            folder.with_suffix(".img").unlink(missing_ok=True)

    def _run(self, kind: str, *command: str) -> None:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            pytest.skip(f"no {kind} here: {command[0]}: {said}")
