"""Directories of any size are listed in order, within bounded memory."""

from __future__ import annotations

import errno
import os
import random
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from knowngood.core.errors import KnowngoodError, NoSpace
from knowngood.kinds.files.capture.listing import Spill, Spool, sorted_names
from knowngood.kinds.files.limits import Limits
from tests.unit.kinds_files.capturing import Site


def names_in(folder: Path, spill: Spill) -> list[bytes]:
    """The names of a folder as listed."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        return list(sorted_names(fd, spill))
    finally:
        os.close(fd)
        spill.close()


@pytest.mark.parametrize("limit", [1, 2, 7, 100, 101, 1000])
def test_names_come_in_order_whatever_the_limit(tmp_path: Path, limit: int) -> None:
    """With one run, with many, and with more than are merged at once."""
    folder = tmp_path / "d"
    folder.mkdir()
    rng = random.Random(limit)
    names = {rng.randbytes(rng.randint(1, 200)).replace(b"/", b"_").replace(b"\0", b"_") for _ in range(100)}
    names -= {b".", b".."}
    for name in names:
        os.mknod(os.fsencode(folder) + b"/" + name)
    assert names_in(folder, Spill(os.fspath(tmp_path), limit)) == sorted(names)
    assert [path.name for path in tmp_path.iterdir()] == ["d"], "runs have no names"


def test_name_that_is_listed_twice_counts_once(tmp_path: Path) -> None:
    """A directory that changes while it is read may show a name twice."""
    spill = Spill(os.fspath(tmp_path), 3)
    runs = [spill.write([b"a", b"c"]), spill.write([b"a", b"b"]), spill.write([b"b"])]
    assert list(spill.merged(runs)) == [b"a", b"b", b"c"]


def test_spooled_names_keep_their_order(tmp_path: Path) -> None:
    """In memory or on disk."""
    spool = Spool(Spill(os.fspath(tmp_path), 3))
    for part in ([b"a", b"b"], [b"c"], [], [b"d", b"e", b"f"], [b"g"]):
        spool.extend(part)
    assert list(spool) == [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]


@pytest.mark.parametrize(("number", "expected"), [(errno.ENOSPC, NoSpace), (errno.EIO, KnowngoodError)])
def test_full_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type) -> None:
    """No room to sort is an error of its own, not a problem of the directory."""

    def fail(**_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    (tmp_path / "a").touch()
    with pytest.raises(expected):
        names_in(tmp_path, Spill(os.fspath(tmp_path), 1))


@pytest.fixture
def quick_dir() -> Iterator[Path]:
    """A folder in memory, where there is one: for very many files."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def test_two_hundred_thousand_files_in_one_directory(quick_dir: Path) -> None:
    """Captured through sorted runs; unchanged the next time; one removal costs a page or two."""
    site = Site(quick_dir, limits=Limits(spill_names=20_000))
    fd = os.open(site.tree, os.O_RDONLY)
    for number in range(200_000):
        os.mknod(b"%x" % (number * 7919), dir_fd=fd)
    os.close(fd)
    first = site.capture()
    assert first.captured.totals.files == 200_000
    names = [entry.name for entry in first.tree.entries()]
    assert all(before < after for before, after in pairwise(names))
    assert max(block.count for block in first.tree.blocks()) <= 4096
    assert b"" not in [block.names for block in first.tree.blocks()]
    (site.tree / f"{5000 * 7919:x}").unlink()
    second = site.capture()
    assert second.captured.totals.files == 199_999
    assert (second.captured.totals.changed_files, second.captured.problem_count) == (0, 0)
    assert len(second.sink.paged) <= 12  # of hundreds; after how many the cuts are the same again is chance


def test_many_directories_below_one(tmp_path: Path) -> None:
    """Directories that wait to be walked do not pile up in memory either."""
    site = Site(tmp_path, limits=Limits(spill_names=10))
    for number in range(105):
        site.write(f"d{number:03d}/e/f", b"%d" % number)
    shot = site.capture()
    assert sum(entry.is_file for entry in shot.entries.values()) == 105
    assert shot.captured.root == site.capture().captured.root
