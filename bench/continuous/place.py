"""A folder on a file system of its own, followed by a real `knowngood up` into a vault elsewhere."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.continuous.figures import cpu_of, until
from bench.ground import fresh
from bench.workloads import Data

KNOWNGOOD = Path(os.environ.get("KNOWNGOOD_BIN", Path(sys.prefix, "bin", "knowngood")))
FOLDER = 1000  # files
_IDLE_LOOKS = 3


class Place:
    """A service of one folder."""

    def __init__(self, base: Path, tree: Path) -> None:
        self.tree = tree
        self.vault = base / "vault"
        self.home = base / "home"
        self.env = {**os.environ, "KNOWNGOOD_HOME": str(self.home)}
        self.files: list[Path] = []
        self.keeper: subprocess.Popen[bytes] | None = None

    def call(self, *words: str | Path) -> str:
        """What a command says."""
        argv = [str(each) for each in (KNOWNGOOD, *words)]
        return subprocess.run(argv, env=self.env, check=True, capture_output=True, text=True).stdout

    @property
    def pid(self) -> int:
        """The keeper's."""
        assert self.keeper is not None
        return self.keeper.pid

    @contextmanager
    def followed(self) -> Iterator[int]:
        """While the block runs, the keeper follows; from when it has a base on."""
        log = (self.home / "up.log").open("wb")
        self.keeper = subprocess.Popen([KNOWNGOOD, "up"], env=self.env, stdout=log, stderr=log)
        try:
            until(lambda: self._behind() is not None, seconds=1800, step=1)  # a base is read first
            yield self.pid
        except BaseException:
            print((self.home / "up.log").read_text(), self.call("status"), flush=True)
            raise
        finally:
            self.keeper.terminate()
            self.keeper.wait()
            self.keeper = None
            log.close()

    def level(self) -> str:
        """At which level the keeper follows, and why not at a better one."""
        (found,) = self._followers()
        return f"{len(self.files):,} files, level {found['capture']}" + (f": {found['note']}" if found["note"] else "")

    def _followers(self) -> list[dict[str, Any]]:
        argv = [str(KNOWNGOOD), "status", "--json"]
        done = subprocess.run(argv, env=self.env, check=False, capture_output=True, text=True)
        services = json.loads(done.stdout).get("services", []) if done.stdout else []
        return [each for service in services for each in service["followers"]]

    def _behind(self) -> float | None:
        """For how long changes may not be safe; None while nobody follows."""
        found = self._followers()
        return found[0]["behind"] if found else None

    def caught_up(self) -> None:
        """Wait until all is recorded that had changed before this call."""
        start = time.monotonic()

        def recorded() -> bool:
            passed = time.monotonic() - start
            behind = self._behind()
            return behind is not None and behind < passed

        until(recorded, step=0.5)

    def commits(self) -> int:
        """How many there are in the vault."""
        return sum(1 for each in (self.vault / "commits").rglob("*") if each.is_file())

    def settle(self) -> None:
        """Wait until the keeper has nothing to do: it takes hardly any CPU for a while."""
        calm = 0
        while calm < _IDLE_LOOKS:
            before, made = cpu_of(self.pid), self.commits()
            time.sleep(1.0)
            calm = calm + 1 if cpu_of(self.pid) - before < 0.05 and self.commits() == made else 0

    def size(self) -> int:
        """Bytes of the vault."""
        return sum(each.stat().st_size for each in self.vault.rglob("*") if each.is_file())


def small_files(tree: Path, count: int, rng: random.Random, size: int = 200) -> list[Path]:
    """Make some, a thousand to a folder."""
    files: list[Path] = []
    for number in range(count):
        folder = tree / f"{number // FOLDER:05}"
        if number % FOLDER == 0:
            folder.mkdir()
        path = folder / f"{number % FOLDER:04}"
        path.write_bytes(rng.randbytes(size))
        files.append(path)
    return files


@contextmanager
def place(scratch: Path, files: int, rng: random.Random, kind: str = "ext4") -> Iterator[Place]:
    """One with so many small files, and a vault that is empty yet."""
    base, ground = scratch / "kept", scratch / "ground"
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(parents=True)
    with fresh(ground, Data("continuous", ground, files, 2 << 30), kind):
        try:
            tree = ground / "tree"
            tree.mkdir()
            made = Place(base, tree)
            made.files = small_files(tree, files, rng)
            made.call("init", "--vault", made.vault, "--no-passphrase")
            made.call("service", "add", "bench", "--files", tree)
            yield made
        finally:
            shutil.rmtree(base)
