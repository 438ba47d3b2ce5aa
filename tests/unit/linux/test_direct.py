"""Runs past the page cache: whatever their places and lengths, and whatever the disk takes of them, every byte."""

from __future__ import annotations

import ctypes
import errno
import itertools
import mmap
import os
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from knowngood.linux.direct import DirectRuns, open_direct
from tests.loops import FILE_SYSTEMS, Mounts

MIB = 1 << 20


@contextmanager
def both_ways(path: Path) -> Iterator[tuple[int, int]]:
    """A file that is open through the cache and past it; where there is no way past it, twice the same way."""
    plain = os.open(path, os.O_RDWR | os.O_CREAT)
    direct = open_direct(str(path))
    direct = os.dup(plain) if direct is None else direct
    try:
        yield plain, direct
    finally:
        os.close(direct)
        os.close(plain)


def cut(data: bytes, some: random.Random) -> Iterator[bytes]:
    """In parts of any length, none at all among them."""
    at = 0
    while at < len(data):
        size = some.choice((0, 1, 100, 4096, 70_000, 5 * MIB))
        yield data[at : at + size]
        at += size


def written(path: Path, seed: int) -> None:
    """Runs next to each other, in any order; afterwards all of it is there."""
    some = random.Random(seed)
    whole = some.randbytes(some.choice((1, 4095, 4096, 4097, 3 * MIB, 4 * MIB, 9 * MIB + 5)))
    borders = sorted({0, len(whole), *(some.randrange(len(whole) + 1) for _ in range(some.randrange(5)))})
    runs = list(itertools.pairwise(borders))
    some.shuffle(runs)
    with both_ways(path) as (plain, direct):
        writer = DirectRuns()
        for begin, end in runs:
            writer.write(plain, direct, begin, cut(whole[begin:end], some))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("seed", range(12))
def test_runs_anywhere(tmp_path: Path, seed: int) -> None:
    written(tmp_path / "file", seed)


@pytest.mark.root
@pytest.mark.parametrize("kind", sorted(FILE_SYSTEMS))
def test_runs_on(kind: str, mounts: Mounts) -> None:
    for seed in range(4):
        written(mounts.fresh_dir(kind) / "file", seed)


@pytest.mark.parametrize("whole_blocks", [True, False])
def test_a_disk_that_takes_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, whole_blocks: bool) -> None:
    """What it leaves is written next, also when it ends within a block."""
    pwrite = os.pwrite

    def partly(handle: int, data: Any, at: int) -> int:
        half = len(data) // 2
        return pwrite(handle, data[: (half - half % 4096 if whole_blocks else half) or len(data)], at)

    data = random.Random(1).randbytes(MIB)
    with both_ways(tmp_path / "file") as (plain, direct):
        monkeypatch.setattr(os, "pwrite", partly)
        DirectRuns().write(plain, direct, 0, [data])
    assert (tmp_path / "file").read_bytes() == data


def test_a_disk_with_larger_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses, and gets all of it through the cache."""
    pwrite = os.pwrite
    data = random.Random(1).randbytes(MIB)
    with both_ways(tmp_path / "file") as (plain, direct):

        def refusing(handle: int, data: Any, at: int) -> int:
            if handle == direct:
                raise OSError(errno.EINVAL, "")
            return pwrite(handle, data, at)

        monkeypatch.setattr(os, "pwrite", refusing)
        DirectRuns().write(plain, direct, 0, [data])
    assert (tmp_path / "file").read_bytes() == data


def test_errors_of_the_disk_come_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written through the cache instead, a full or broken disk would show much later."""

    def broken(*_: Any) -> int:
        raise OSError(errno.EIO, "")

    with both_ways(tmp_path / "file") as (plain, direct):
        monkeypatch.setattr(os, "pwrite", broken)
        with pytest.raises(OSError, match=f"Errno {errno.EIO}"):
            DirectRuns().write(plain, direct, 0, [bytes(8192)])


def test_a_file_system_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told from files that cannot be opened."""
    with pytest.raises(FileNotFoundError):
        open_direct(str(tmp_path / "none"))
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(OSError(errno.EINVAL, "")))
    assert open_direct(str(tmp_path)) is None


@pytest.mark.root
def test_it_is_past_the_cache(mounts: Mounts) -> None:
    """Nothing of whole blocks is kept in memory."""
    path = mounts.fresh_dir("ext4") / "file"
    with both_ways(path) as (plain, direct):
        DirectRuns().write(plain, direct, 0, [random.Random(1).randbytes(4 * MIB)])
    assert cached_bytes(path) == 0


def cached_bytes(path: Path) -> int:
    """How much of a file is in the page cache: mincore(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    size = path.stat().st_size
    pages = size // mmap.PAGESIZE
    found = (ctypes.c_ubyte * pages)()
    with path.open("rb+") as file, closing(mmap.mmap(file.fileno(), size)) as view:
        address = (ctypes.c_char * size).from_buffer(view)
        wrong = libc.mincore(ctypes.byref(address), ctypes.c_size_t(size), found)
        del address
    assert not wrong
    return sum(each & 1 for each in found) * mmap.PAGESIZE
