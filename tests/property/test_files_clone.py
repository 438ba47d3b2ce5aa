"""Clones by chance: whatever happens to the blocks of files between two ticks, replay comes to what is there."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from tests.loops import Mounts
from tests.property.test_files_follow import Changer
from tests.unit.kinds_files.blocks import BLOCK, BlockChanger
from tests.unit.kinds_files.cloning import LEAST, Cloned

KINDS = ("xfs", "btrfs", "btrfs, compressed", "btrfs, not copied on write")


def prepared(kind: str, mounts: Mounts) -> Path:
    """A folder on a file system of this kind."""
    name, _, option = kind.partition(", ")
    folder = mounts.fresh_dir(name)
    if option == "compressed":
        if not shutil.which("btrfs"):
            pytest.skip("needs the command btrfs (tools/system-packages)")
        subprocess.run(["btrfs", "property", "set", folder, "compression", "zstd"], check=True)
    elif option:
        subprocess.run(["chattr", "+C", folder], check=True)
    return folder


def whatever_happens(folder: Path, seed: int) -> int:
    """Change files at random; verify each tick. How many clones told of changes."""
    some = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=folder) as base:
        site = Cloned(Path(base))
        with closing(site.follower):
            blocks, names = BlockChanger(some), Changer(site.tree, some)
            files = [site.tree / f"file{number}" for number in range(3)]
            for path in files:
                length = some.randrange(2 * LEAST, 500_000)
                path.write_bytes(some.randbytes(length) if some.random() < 0.7 else bytes(range(250)) * (length // 250))
            site.checkpoint()
            for _ in range(some.randrange(3, 8)):
                for _ in range(some.choice((1, 2, 5))):
                    with suppress(OSError, ValueError):
                        if some.random() < 0.85:
                            blocks.change(some.choice(files), some.choice(files))
                        else:
                            names.change()
                if some.random() < 0.2:
                    site.checkpoint()
                else:
                    site.tick()
                site.verify()
            return site.clones.count


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=7)
@given(seed=st.integers(0, 1 << 32))
def test_whatever_happens(kind: str, seed: int, mounts: Mounts) -> None:
    """Replay comes to what is there after every tick."""
    whatever_happens(prepared(kind, mounts), seed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_times(kind: str, mounts: Mounts) -> None:
    """The same, again and again."""
    folder = prepared(kind, mounts)
    cloned = sum(whatever_happens(folder, seed) for seed in range(150))
    assert cloned > 150


_BLOCKS = 200


def _write_round(fd: int, number: int) -> None:
    """Write a number into each block of a file, in order."""
    for block in range(_BLOCKS):
        os.pwrite(fd, number.to_bytes(8, "big") * (BLOCK // 8), BLOCK * block)


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_a_file_that_never_rests(kind: str, mounts: Mounts) -> None:
    """What is captured of it is a state that it had: blocks up to one are of a round, the others of the one before."""
    site = Cloned(prepared(kind, mounts))
    path = site.tree / "file"
    ended = threading.Event()
    with path.open("wb", buffering=0) as file, closing(site.follower):
        _write_round(file.fileno(), 0)
        site.checkpoint()

        def write() -> None:
            number = 0
            while not ended.is_set():
                number += 1
                _write_round(file.fileno(), number)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen = {_round(site)}
            while len(seen) < 10:
                site.checkpoint() if len(seen) % 4 == 3 else site.tick()
                assert site.captured.problem_count == 0
                seen.add(_round(site))
        finally:
            ended.set()
            writer.join()
        site.tick()
        site.verify()


def _round(site: Cloned) -> tuple[int, int]:
    """Where the writer was in what was captured."""
    data = site.replayed()[b"file"][-1]
    assert isinstance(data, bytes)
    numbers = [int.from_bytes(data[at : at + 8], "big") for at in range(0, len(data), BLOCK)]
    assert data == b"".join(each.to_bytes(8, "big") * (BLOCK // 8) for each in numbers)
    first = numbers.count(numbers[0])
    assert numbers == [numbers[0]] * first + [numbers[0] - 1] * (_BLOCKS - first)
    return numbers[0], first
