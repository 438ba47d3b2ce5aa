"""What following costs: a tick of 1,000 changed files, of 100 among many, and of random writes into a large file.

``python -m bench.following --files 1000000 --large 4096 --on xfs,btrfs,ext4`` works in ``--scratch``, into a vault in a
folder there; the large file is on new file systems of these kinds, in files in that folder (for root).
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from bench.ground import formatted
from knowngood.core.model import ComponentSpec, ServiceSpec
from knowngood.core.ports import Store
from knowngood.core.sizes import GIB, KIB, MIB
from knowngood.flow.follow import Following
from knowngood.flow.parts import Parts
from knowngood.flow.protect import protect
from knowngood.kinds.files import FilesKind
from knowngood.stores.disk import DiskStore
from knowngood.vault.catalog import Catalog
from knowngood.vault.vault import create_vault

_FOLDER = 1000  # files
_SMALL = KIB


class Place:
    """A folder that is followed into a vault."""

    def __init__(
        self, base: Path, tree: Path | None = None, through: Callable[[DiskStore], Store] = lambda disk: disk
    ) -> None:
        self.tree = tree or base / "tree"
        self.tree.mkdir(exist_ok=True)
        self.vault = base / "vault"
        vault, private = create_vault(through(DiskStore(str(self.vault))), None)
        self.parts = Parts(
            vault=vault,
            catalog=Catalog(str(base / "catalog.sqlite")),
            kinds=lambda: {"files": FilesKind()},
            state_dir=lambda timeline: str(base / "state" / timeline.hex()),
            private=lambda: private,
        )
        self.service = ServiceSpec(
            name="bench", components=(ComponentSpec(name="c", kind="files", path=str(self.tree)),)
        )
        self.following = Following(self.service, self.service.components[0], self.parts)

    def point(self) -> None:
        """Make a point."""
        protect(self.service, self.parts, followed={"c": self.following})

    def size(self) -> int:
        """Bytes of the vault."""
        return sum(each.stat().st_size for each in self.vault.rglob("*") if each.is_file())


def measured(what: str, place: Place, act: Callable[[], object]) -> None:
    """Print what something took."""
    before, wall, cpu = place.size(), time.perf_counter(), time.process_time()
    act()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    grown = (place.size() - before) / KIB
    print(f"{what:<58} {1000 * wall:9.0f} ms {1000 * cpu:9.0f} ms CPU {grown:10.0f} KiB")


def small_files(place: Place, count: int, rng: random.Random) -> list[Path]:
    """Make some."""
    files: list[Path] = []
    for number in range(count):
        folder = place.tree / f"{number // _FOLDER:05}"
        if number % _FOLDER == 0:
            folder.mkdir()
        path = folder / f"{number % _FOLDER:04}"
        path.write_bytes(rng.randbytes(_SMALL))
        files.append(path)
    return files


def change(files: list[Path], rng: random.Random) -> None:
    """Write all of them anew."""
    for path in files:
        path.write_bytes(rng.randbytes(_SMALL))


def among_many(count: int, scratch: str) -> None:
    """Small files: few changes and many."""
    rng = random.Random(1)
    with tempfile.TemporaryDirectory(dir=scratch) as base:
        place = Place(Path(base))
        with closing(place.following):
            files = small_files(place, count, rng)
            measured(f"first point of {count:,} files", place, place.point)
            measured("tick, nothing changed", place, place.following.tick)
            for _ in range(2):
                change(rng.sample(files, 100), rng)
                measured(f"tick, 100 of {count:,} files changed", place, place.following.tick)
            for _ in range(2):
                change(rng.sample(files, min(count, 1000)), rng)
                measured("tick, 1,000 files changed, all over", place, place.following.tick)
            for _ in range(2):
                change(files[:1000], rng)
                measured("tick, 1,000 files of one folder changed", place, place.following.tick)
            measured("point after these ticks", place, place.point)


def in_one_file(size: int, scratch: str, kind: str) -> None:
    """Random writes of 4 KiB into a large file, on a new file system of a kind, or in the scratch folder itself."""
    with tempfile.TemporaryDirectory(dir=scratch) as base, ExitStack() as stack:
        if kind:
            stack.enter_context(formatted(kind, Path(base) / "tree", 2 * size + 4 * GIB))
        place = Place(Path(base))
        stack.enter_context(closing(place.following))
        _random_writes(size, place)


def _random_writes(size: int, place: Place) -> None:
    rng = random.Random(2)
    with (place.tree / "large").open("wb", buffering=0) as file:
        for _ in range(size // MIB):
            file.write(rng.randbytes(MIB))
        os.fsync(file.fileno())
        measured(f"first point of a file of {size // MIB} MiB", place, place.point)
        level = place.following.standing.level
        for name in ("first", "second", "third", "fourth"):
            for _ in range(100):
                os.pwrite(file.fileno(), rng.randbytes(4 * KIB), 4 * KIB * rng.randrange(size // (4 * KIB)))
            time.sleep(1)  # as ticks do, so that no file has to rest
            measured(f"{level}: tick after 100 writes of 4 KiB, the {name}", place, place.following.tick)
        measured("point after these ticks", place, place.point)


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000, help="how many small files")
    parser.add_argument("--large", type=int, default=1024, help="MiB of the large file")
    parser.add_argument("--on", default="", help="file systems for it: xfs, btrfs, ext4; the scratch folder if none")
    parser.add_argument("--scratch", default="/var/tmp")
    given = parser.parse_args()
    if given.files:
        among_many(given.files, given.scratch)
    for kind in given.on.split(","):
        print(kind or given.scratch)
        in_one_file(given.large * MIB, given.scratch, kind)


if __name__ == "__main__":
    main()
