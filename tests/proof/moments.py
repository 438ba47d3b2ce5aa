"""The proof of any moment: by chance a folder changes, its true state is noted at some instants, and each comes back.

    python -m tests.proof.moments --runs 1000 --on ext4,xfs,btrfs --workers 2

Everything is real: the kernel's events, clones where there are some, a vault on a disk, recovery into a folder. A run
is named by its number, file system and level, and does the same each time as far as the clock lets it.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.core.instants import now_ns
from knowngood.core.model import ComponentSpec, ServiceSpec
from knowngood.flow.follow import Following
from knowngood.flow.moment import moment_at
from knowngood.flow.parts import Parts
from knowngood.flow.protect import protect
from knowngood.flow.recover import Wish, recover
from knowngood.kinds.files import FilesKind
from knowngood.kinds.files.follow import clones
from knowngood.kinds.files.limits import Limits
from knowngood.stores.disk import DiskStore
from knowngood.testing.trees import Picture, differences, picture
from knowngood.vault.catalog import Catalog
from knowngood.vault.vault import create_vault
from tests.loops import Mounts, own_mounts
from tests.property.test_files_follow import Changer
from tests.unit.kinds_files.blocks import BlockChanger

LEVELS = {"ext4": ("watch",), "xfs": ("clone", "watch"), "btrfs": ("clone", "watch")}
_MOST_TICKS = 50  # until all has been told: what changes while it is read is read again
_APPENDED = 500  # bytes at a time


@dataclass(frozen=True, slots=True)
class Case:
    """One run."""

    number: int
    kind: str
    level: str


class Life:
    """A folder that is followed into a vault, and how it looked at some instants."""

    def __init__(self, base: Path, case: Case) -> None:
        self.some = random.Random(f"{case.number} {case.kind} {case.level}")
        self.base = base
        self.tree = base / "tree"
        self.tree.mkdir()
        vault, private = create_vault(DiskStore(str(base / "vault")), None)
        self.kind = FilesKind(Limits(hash_bytes=1 << 16))
        self.parts = Parts(
            vault=vault,
            catalog=Catalog(str(base / "catalog.sqlite")),
            kinds=lambda: {"files": self.kind},
            state_dir=lambda timeline: str(base / "state" / timeline.hex()),
            private=lambda: private,
        )
        component = ComponentSpec(name="c", kind="files", path=str(self.tree), capture=case.level)
        self.service = ServiceSpec(name="s", components=(component,))
        self.noted: list[tuple[int, Picture]] = []
        self.following = self._follow()

    def _follow(self) -> Following:
        return Following(self.service, self.service.components[0], self.parts)

    def run(self) -> int:
        """Live, then look whether every noted instant comes back. How many there were. Raises AssertionError."""
        with closing(self.parts.catalog):
            try:
                self._live()
            finally:
                self.following.close()
            for at_ns, good in self.noted:
                self._comes_back(at_ns, good)
        return len(self.noted)

    def _live(self) -> None:
        some = self.some
        names, blocks = Changer(self.tree, some), BlockChanger(some)
        files = [self.tree / f"file{number}" for number in range(3)]
        for path in files:
            path.write_bytes(some.randbytes(some.randrange(1, 3_000_000)))
        self._point()
        for _ in range(some.randrange(3, 9)):
            for _ in range(some.choice((1, 3, 10))):
                with suppress(OSError, ValueError):
                    blocks.change(*some.choices(files, k=2)) if some.random() < 0.4 else names.change()
            if some.random() < 0.4:
                append_by_processes(some.choices(files, k=3))
            what = some.random()
            if what < 0.15:
                self.tree.chmod(
                    0o700 + some.randrange(1, 64)
                )  # a record after the last instant: it is known up to there
                self._told()
                self.following.close()  # as when the process is killed: what changes now is seen by nobody
                names.change()
                self.following = self._follow()
                self._point()
            elif what < 0.35:
                self._point()
            self._note()

    def _point(self) -> None:
        protect(self.service, self.parts, followed={"c": self.following})

    def _told(self) -> None:
        """All that changed is in the log."""
        for _ in range(_MOST_TICKS):
            if not self.following.tick().records:
                break

    def _note(self) -> None:
        self._told()
        self.noted.append((now_ns(), true_state(self.tree)))

    def _comes_back(self, at_ns: int, good: Picture) -> None:
        with tempfile.TemporaryDirectory(dir=self.base) as there:
            to = os.path.join(there, "back")
            recover(moment_at(self.parts, "s", at_ns), Wish(component="c", to=to), self.parts, lambda _: True)
            wrong = differences(good, true_state(Path(to)))
            if wrong:
                raise AssertionError("\n".join(wrong))


def true_state(root: Path) -> Picture:
    """What is there, byte by byte, whatever of it a file system keeps as holes."""
    seen = picture(root)
    for path, each in seen.items():
        if each.kind == "file":
            content = (root / os.fsdecode(path)).read_bytes()
            seen[path] = replace(each, data=(), content=hashlib.blake2b(content).hexdigest())
    return seen


def append_by_processes(files: list[Path]) -> None:
    """Several processes append, each to its file, at the same time; they have ended when this returns."""
    children: list[int] = []
    for number, path in enumerate(files):
        child = os.fork()
        if child:
            children.append(child)
            continue
        with suppress(OSError):
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            for turn in range(5):
                os.write(fd, bytes([65 + number + turn]) * _APPENDED)
        os._exit(0)
    for child in children:
        os.waitpid(child, 0)


def live(case: Case, mounts: Mounts) -> int:
    """One run. Raises AssertionError where an instant does not come back."""
    with tempfile.TemporaryDirectory(dir=mounts.fresh_dir(case.kind)) as base:
        return Life(Path(base), case).run()


def cases(first: int, runs: int, kinds: list[str]) -> Iterator[Case]:
    """So many runs, over file systems and levels in turn."""
    every = [(kind, level) for kind in kinds for level in LEVELS[kind]]
    for number in range(first, first + runs):
        yield Case(number, *every[number % len(every)])


Found = tuple[Case, int, str] | None
"""A run, how many instants it noted, and what was wrong; None when a worker has come to its end."""


def _worker(share: list[Case], end: float, found: multiprocessing.SimpleQueue[Found]) -> None:
    own_mounts()
    unresting = patch.object(clones, "SHARE", 0.0)  # all that changed is in the log when a tick finds nothing more
    with tempfile.TemporaryDirectory() as base, closing(Mounts(Path(base))) as mounts, unresting:
        for case in share:
            if time.monotonic() > end:
                break
            try:
                found.put((case, live(case, mounts), ""))
            except pytest.skip.Exception as wrong:
                found.put((case, 0, f"skipped: {wrong}"))
            except Exception:  # noqa: BLE001 each failure is told, and the others go on
                found.put((case, 0, traceback.format_exc()))
    found.put(None)


def main() -> int:
    """Run them all; the status is 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--on", default="ext4,xfs,btrfs", help="file systems")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no run after so long")
    given = parser.parse_args()
    every, start = list(cases(given.first, given.runs, given.on.split(","))), time.monotonic()
    found: multiprocessing.SimpleQueue[Found] = multiprocessing.SimpleQueue()
    shares = [every[at :: given.workers] for at in range(given.workers)]
    workers = [multiprocessing.Process(target=_worker, args=(share, start + given.seconds, found)) for share in shares]
    for each in workers:
        each.start()
    runs, instants, failed = Counter[str](), 0, 0
    ended = 0
    while ended < given.workers:
        one = found.get()
        if one is None:
            ended += 1
            continue
        case, noted, wrong = one
        runs["skipped" if wrong.startswith("skipped") else f"{case.kind}, {case.level}"] += 1
        instants += noted
        if wrong and not wrong.startswith("skipped"):
            failed += 1
            sys.stderr.write(f"{case}:\n{wrong}\n")
    for each in workers:
        each.join()
    told = "; ".join(f"{count} runs on {what}" for what, count in sorted(runs.items()))
    seconds = time.monotonic() - start
    sys.stdout.write(f"{instants} instants, {failed} runs failed: {told}, in {seconds:.0f} s\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
