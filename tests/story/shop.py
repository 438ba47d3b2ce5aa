"""A small shop to protect: a site, uploads and a register, with everything in it that file systems have."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

from knowngood.core.instants import SECOND
from knowngood.testing.trees import Picture, differences, picture

KIB, MIB = 1 << 10, 1 << 20


def some_bytes(count: int, seed: int = 1) -> bytes:
    """Bytes that do not compress and are the same on every run."""
    return random.Random(seed).randbytes(count)


def build_shop(folder: Path) -> Path:
    """The shop as it is on the first day. Returns its folder."""
    uploads, site = folder / "uploads", folder / "site"
    for each in (uploads / "2026", site / "assets", folder / "empty"):
        each.mkdir(parents=True)
    for number in range(20):
        (uploads / "2026" / f"invoice-{number:02d}.txt").write_text(f"invoice {number}\n" * (number * number))
    (uploads / "photo.jpg").write_bytes(some_bytes(700 * KIB))
    (uploads / "film.mp4").write_bytes(some_bytes(5 * MIB, seed=2))
    (site / "index.html").write_text("<h1>Shop</h1>\n")
    (site / "assets" / "empty.css").touch()
    (site / "run.sh").write_text("#!/bin/sh\n")
    (site / "run.sh").chmod(0o750)
    _build_strange_things(folder)
    for number, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, (1_700_000_000 + number) * SECOND + 123_456_789), follow_symlinks=False)
    return folder


def _build_strange_things(folder: Path) -> None:
    """What is rarely there, and must come back all the same."""
    strange = folder / "strange"
    strange.mkdir()
    (strange / "current").symlink_to("../site/index.html")
    (strange / "dangling").symlink_to("/nowhere/at all")
    os.link(folder / "uploads" / "photo.jpg", strange / "same photo.jpg")
    os.mkfifo(strange / "pipe")
    for name in (b"not utf-8 \xff\xfe", "Ünïcödé 漢字".encode(), b"line\nbreak", b"-rf", b" "):
        with open(os.path.join(os.fsencode(strange), name), "wb") as file:
            file.write(b"named " + name)
    with (strange / "sparse.img").open("wb") as file:
        file.truncate(64 * MIB)
        for offset in (4 * MIB, 40 * MIB):
            file.seek(offset)
            file.write(some_bytes(128 * KIB, seed=offset))
    (strange / "shut").mkdir(mode=0o500)
    (strange / "sticky").mkdir()
    (strange / "sticky").chmod(0o1777)


def ruin(folder: Path) -> None:
    """What people fear: files are changed, scrambled, cut off, deleted, swapped for other things; a note is left."""
    (folder / "site" / "index.html").write_text("<h1>hacked</h1>\n")
    film = folder / "uploads" / "film.mp4"
    with film.open("r+b") as file:  # corrupted in the middle, its time set back so that nobody may notice
        before = film.stat()
        file.seek(3 * MIB)
        file.write(b"\0" * 4096)
    os.utime(film, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.truncate(folder / "strange" / "sparse.img", 10 * MIB)
    shutil.rmtree(folder / "uploads" / "2026")
    (folder / "site" / "run.sh").chmod(0o777)
    (folder / "site" / "assets" / "empty.css").write_text("no longer empty")
    (folder / "strange" / "pipe").unlink()
    (folder / "strange" / "pipe").write_text("a file now")
    (folder / "strange" / "current").unlink()
    (folder / "strange" / "current").mkdir()
    (folder / "READ_ME_NOW.txt").write_text("your files are ours\n")


def assert_same(folder: Path, good: Picture, **options: tuple[bytes, ...]) -> None:
    """The folder looks exactly as in the picture: every byte, right, time and link."""
    assert differences(good, picture(folder, **options)) == []
