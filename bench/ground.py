"""Fresh ground for each turn: a new ext4 in a file, mounted for as long as the turn lasts.

ext4 gives no inode number out again for minutes after it was freed, and searches past all of those: whoever creates
many files after somebody else's many files were deleted pays for it (up to four times the time, measured here with
50,000 files). On a shared file system the order of the tools would decide the figures.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.workloads import Data

_SPARE = 4 << 30
_BLOCK = 4096
FORMATS = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q", "-m", "reflink=1"),
    "btrfs": ("mkfs.btrfs", "-q"),
}
"""How each kind of file system is made."""
_NEEDED = ("mkfs.ext4", "losetup", "mount", "umount")


def available() -> bool:
    """Whether this user can make and mount a file system here."""
    return os.geteuid() == 0 and all(map(shutil.which, _NEEDED)) and Path("/dev/loop-control").exists()


@contextmanager
def fresh(folder: Path, data: Data, kind: str = "ext4") -> Iterator[None]:
    """An empty folder for one turn, on a file system of its own where that can be."""
    if os.path.ismount(folder):  # of a run that was killed
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if not available():
        try:
            yield
        finally:
            subprocess.run(["rm", "-rf", "--", str(folder)], check=True)
        return
    inodes = str(4 * data.files + 200_000)
    lazy = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    ext4 = ("-m", "0", "-N", inodes, "-E", lazy) if kind == "ext4" else ()
    size = 5 * data.size + 4 * _BLOCK * data.files + _SPARE
    options = "noatime,noinit_itable" if kind == "ext4" else "noatime"
    with _mounted(folder, (*FORMATS[kind], *ext4), size, options):
        yield


@contextmanager
def formatted(kind: str, folder: Path, size: int) -> Iterator[None]:
    """A new file system of a kind, `size` bytes, mounted on a folder; for root."""
    folder.mkdir(parents=True)
    with _mounted(folder, FORMATS[kind], size, "noatime"):
        yield


@contextmanager
def _mounted(folder: Path, command: tuple[str, ...], size: int, options: str) -> Iterator[None]:
    image = folder.with_suffix(".image")
    device = _attach(image, size, command)
    try:
        subprocess.run(["mount", "-o", options, device, str(folder)], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
        image.unlink()
        folder.rmdir()


def _attach(image: Path, size: int, command: tuple[str, ...]) -> str:
    """A loop device with a new file system on a sparse file, past the page cache of the file system below."""
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([*command, str(image)], check=True)
    attach = ["losetup", "--find", "--show", "--direct-io=on", str(image)]
    return subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
