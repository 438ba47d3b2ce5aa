"""Change steps on a workload's tree, each of which can be taken back exactly.

``one_percent`` changes, adds and removes about 1 % of the files (of large files:
1 % of the bytes); ``drop_half`` takes every second file away. Nothing is deleted:
removed files are parked next to the tree, so that ``revert`` puts back what every
tool and every round shall see alike.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from bench.workloads import MIB, Data, content

STEPS = ("one_percent", "drop_half")
_LARGE = 32 * MIB
_DAY_NS = 86_400 * 10**9
_ADDED = "added-files"
_FLIP = bytes(byte ^ 1 for byte in range(256))


def _files(root: Path) -> Iterator[Path]:
    """All the regular files of a tree, in one order."""
    for folder, names, files in os.walk(root):
        names.sort()
        for name in sorted(files):
            path = Path(folder, name)
            if not path.is_symlink():
                yield path


def _flip(path: Path, spans: list[tuple[int, int]], when: int) -> None:
    """Change the bytes of the spans by their lowest bit; done twice, nothing has changed."""
    with path.open("r+b", buffering=0) as file:
        for start, length in spans:
            file.seek(start)
            part = file.read(length)
            file.seek(start)
            file.write(part.translate(_FLIP))
    os.utime(path, ns=(when, when))


def _spans(size: int, rng: random.Random) -> list[tuple[int, int]]:
    """Where a file changes: one stretch of a small file, 1 % of a large one in MiB stretches."""
    if size >= _LARGE:
        count = max(1, size // MIB // 100)
        return [(at * MIB, MIB) for at in sorted(rng.sample(range(size // MIB), count))]
    return [(rng.randrange(max(1, size)), 64)]


class Changer:
    """Changes one workload's tree and takes the changes back, even those of a run cut short."""

    def __init__(self, data: Data) -> None:
        self.root = data.root
        self._parked = data.root.parent / "parked"
        self._journal = data.root.parent / "changed.jsonl"

    def apply(self, step: str) -> None:
        """Do the named step; each at most once between two calls of ``revert``."""
        with self._journal.open("a") as journal:
            if step == "one_percent":
                self._one_percent(journal)
            elif step == "drop_half":
                for path in list(_files(self.root))[1::2]:
                    self._park(path, journal)
            else:
                raise ValueError(f"no change step is called {step}")
        os.sync()

    def _one_percent(self, journal: TextIO) -> None:
        """Of 1 % of the files: eight in ten changed, one removed, one added."""
        rng = random.Random("one percent")
        paths = list(_files(self.root))
        large = [path for path in paths if path.stat().st_size >= _LARGE]
        chosen = sorted(rng.sample(paths, max(1, len(paths) // 100)))
        for number, path in enumerate(large or chosen):
            size = path.stat().st_size
            if not large and number % 10 == 8:
                self._park(path, journal)
            elif not large and number % 10 == 9:
                self._add(number, path.stat().st_size, rng)
            elif size:
                self._change(path, _spans(size, rng), journal)

    def _note(self, journal: TextIO, entry: dict[str, object]) -> None:
        """Write down one change before it is made."""
        print(json.dumps(entry), file=journal, flush=True)

    def _change(self, path: Path, spans: list[tuple[int, int]], journal: TextIO) -> None:
        """Change a file's bytes and its time of change, which becomes a day later."""
        when = path.stat().st_mtime_ns
        self._note(journal, {"flip": str(path), "spans": spans, "when": when})
        _flip(path, spans, when + _DAY_NS)

    def _park(self, path: Path, journal: TextIO) -> None:
        """Move a file out of the tree."""
        target = self._parked / path.relative_to(self.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._note(journal, {"park": str(path), "at": str(target)})
        path.rename(target)

    def _add(self, number: int, size: int, rng: random.Random) -> None:
        """Put a new file into the tree's folder of added files."""
        folder = self.root / _ADDED
        folder.mkdir(exist_ok=True)
        (folder / f"n{number:06d}").write_bytes(content().mixed(rng, size))

    def revert(self) -> None:
        """Take all changes back, the newest first."""
        if not self._journal.exists():
            return
        for line in reversed(self._journal.read_text().splitlines()):
            entry = json.loads(line)
            if "park" in entry:
                if os.path.lexists(entry["at"]):
                    os.rename(entry["at"], entry["park"])
            elif os.stat(entry["flip"]).st_mtime_ns != entry["when"]:
                spans = [(start, length) for start, length in entry["spans"]]
                _flip(Path(entry["flip"]), spans, entry["when"])
        added = self.root / _ADDED
        if added.exists():
            for path in added.iterdir():
                path.unlink()
            added.rmdir()
        self._journal.unlink()
