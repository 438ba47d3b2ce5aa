"""Deterministic data sets to protect, made once and kept in the scratch folder.

python -m bench.workloads small source --scale 0.02
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from bench.content import Content

SCRATCH = Path("/var/tmp/knowngood-bench")
MIB = 1 << 20
_SEED = 20
_EPOCH_NS = 1_600_000_000 * 10**9
_SOURCE_BYTES = 1024 * MIB
_SOURCE_ROOTS = ("/usr/local/go/src", "/usr/include", sysconfig.get_path("stdlib"), "/usr/share")
_SOURCE_LARGEST = 4 * MIB


@cache
def content() -> Content:
    """The one vocabulary of this process."""
    return Content(_SEED)


@dataclass(frozen=True)
class Data:
    """A made workload: its folder, and how much is in it."""

    name: str
    root: Path
    files: int
    size: int


def _put(path: Path, body: bytes, rng: random.Random) -> int:
    """Write a file and give it a fixed time of change; returns its length."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with open(fd, "wb", buffering=0) as file:
        file.write(body)
    when = _EPOCH_NS + rng.randrange(3 * 10**7) * 10**9
    os.utime(path, ns=(when, when))
    return len(body)


def _small_folder(root: Path, number: int) -> tuple[int, int]:
    """25 files of log-normal sizes, 10 KiB each on the average."""
    rng = random.Random(f"small:{_SEED}:{number}")
    folder = root / f"{number % 40:02d}" / f"{number:05d}"
    folder.mkdir(parents=True)
    sigma, mean = 1.4, 10_500
    total = 0
    for index in range(25):
        size = min(4 * MIB, int(rng.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)))
        total += _put(folder / f"f{index:03d}", content().mixed(rng, size), rng)
    return 25, total


def _tiny_folder(root: Path, number: int) -> tuple[int, int]:
    """100 files of 0 to 1 KiB."""
    rng = random.Random(f"million:{_SEED}:{number}")
    folder = root / f"{number % 100:02d}" / f"{number:05d}"
    folder.mkdir(parents=True)
    total = 0
    for index in range(100):
        body = content().mixed(rng, rng.randint(0, 1024))
        total += _put(folder / f"f{index:03d}", body, rng)
    return 100, total


def _big_file(root: Path, kind: str, size: int, number: int) -> tuple[int, int]:
    """One large file: pages of 8 KiB, either all random or half of them random."""
    rng = random.Random(f"{kind}:{_SEED}:{number}")
    pool = b"" if kind == "random" else content().text(rng, 64 * MIB)
    path = root / f"{kind}-{number:02d}.bin"
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(rng.randbytes(MIB) if not pool else _pages(rng, pool))
    when = _EPOCH_NS + number * 10**9
    os.utime(path, ns=(when, when))
    return 1, size // MIB * MIB


def _pages(rng: random.Random, pool: bytes) -> bytes:
    """1 MiB of pages of 8 KiB, each half random and half text."""
    noise = memoryview(rng.randbytes(MIB // 2))
    parts: list[bytes | memoryview] = []
    for at in range(0, MIB // 2, 4096):
        start = rng.randrange(len(pool) - 4096)
        parts += (noise[at : at + 4096], pool[start : start + 4096])
    return b"".join(parts)


def _walk_source() -> Iterator[tuple[Path, Path]]:
    """Files of the source trees found here: (file, its relative path in the workload).

    Files above 4 MiB are left out: they are binaries, which the other workloads stand for.
    """
    for root in map(Path, _SOURCE_ROOTS):
        for folder, names, files in os.walk(root):
            names[:] = sorted(set(names) - {"__pycache__", ".git"})
            for name in sorted(files):
                path = Path(folder, name)
                if path.is_symlink() or (path.is_file() and path.stat().st_size <= _SOURCE_LARGEST):
                    yield path, Path(*root.parts[1:]) / path.relative_to(root)


def _copy_source(root: Path, scale: float) -> tuple[int, int]:
    """Copy source trees of this machine, up to 1 GiB times the scale."""
    files = total = 0
    made: set[Path] = set()
    for path, relative in _walk_source():
        if total >= _SOURCE_BYTES * scale:
            break
        target = root / relative
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        shutil.copy2(path, target, follow_symlinks=False)
        files, total = files + 1, total + target.lstat().st_size
    return files, total


def _fill(make: Callable[[int], tuple[int, int]], count: int) -> tuple[int, int]:
    """Run the maker of every folder or file number over all cores and add up."""
    with ProcessPoolExecutor() as pool:
        done = list(pool.map(make, range(count), chunksize=max(1, min(50, count // 8))))
    return sum(files for files, _ in done), sum(size for _, size in done)


def _generate(name: str, root: Path, scale: float) -> tuple[int, int]:
    """Make the named workload in an empty folder; returns its files and bytes."""
    if name == "small":
        return _fill(partial(_small_folder, root), max(2, round(2000 * scale)))
    if name == "million":
        return _fill(partial(_tiny_folder, root), max(2, round(10_000 * scale)))
    if name == "source":
        return _copy_source(root, scale)
    return _fill(partial(_big_file, root, name, round(512 * scale) * MIB), 8)


WORKLOADS = ("small", "source", "large", "random", "million")


def prepare(name: str, scratch: Path = SCRATCH, scale: float = 1.0) -> Data:
    """The named workload, made now unless a whole one is kept from before."""
    home = scratch / "data" / f"{name}-{scale:g}"
    root, note = home / "tree", home / "made.json"
    if not note.exists():
        shutil.rmtree(home, ignore_errors=True)
        root.mkdir(parents=True)
        files, size = _generate(name, root, scale)
        note.write_text(json.dumps({"files": files, "bytes": size, "seed": _SEED}))
        os.sync()
    made = json.loads(note.read_text())
    return Data(name, root, made["files"], made["bytes"])


def main() -> None:
    """Make the named workloads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=WORKLOADS)
    parser.add_argument("--scratch", type=Path, default=SCRATCH)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    for name in options.names:
        data = prepare(name, options.scratch, options.scale)
        print(f"{name}: {data.files} files, {data.size / 1e9:.3f} GB in {data.root}")


if __name__ == "__main__":
    main()
