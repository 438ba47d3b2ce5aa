"""Runs rescue.py as its user would, without a new process, on vaults made for it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

from knowngood.core.model import Checkpoint, Mark, Point
from knowngood.core.progress import Progress
from knowngood.seal.keys import recovery_text
from knowngood.stores.disk import DiskStore
from knowngood.testing.vaults import SmallVault
from tests.format.shapes import Shape, write_shapes
from tests.house.files import ROOT

RESCUE = ROOT / "rescue.py"
FILE = stat.S_IFREG | 0o644
FOLDER = stat.S_IFDIR | 0o755


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rescue", RESCUE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULE = _load()


@dataclass(frozen=True, slots=True)
class Rescued:
    """What a run came to."""

    status: int
    out: str
    err: str

    @property
    def lost(self) -> list[str]:
        """What it could not restore."""
        return [line.removeprefix("lost: ") for line in self.err.splitlines() if line.startswith("lost: ")]


def rescue(*words: str | os.PathLike[str]) -> Rescued:
    """`python rescue.py WORDS`."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["rescue.py", *(os.fspath(word) for word in words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            status = MODULE.main()
        except SystemExit as left:
            status = int(left.code or 0)
    return Rescued(status, out.getvalue(), err.getvalue())


def write_key(folder: Path, text: str) -> Path:
    """A file with a recovery key or passphrase."""
    path = folder / "key.txt"
    path.write_text(text + "\n")
    return path


class Bench:
    """A vault on disk, and what it takes to rescue from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.small = SmallVault(DiskStore(folder / "vault"))
        self.key = write_key(folder, recovery_text(self.small.private.recovery_key))
        self.vault, self.to = folder / "vault", folder / "to"

    def shapes(self, *found: Shape, component: str = "c") -> Point:
        """A point over shapes."""
        with self.small.vault.session("protect") as session:
            with self.small.vault.ingest(session, Progress()) as sink:
                root = write_shapes(found, sink)
                sink.flush()
            if component == "c":
                return self.small.commit(session, root)
            made = self.small.commit(session, root)
            checkpoint = self.small.catalog.checkpoint(made.marks[0].checkpoint)
            renamed = _copy(checkpoint, component)
            point = _point_of(made, renamed)
            return self.small.vault.commit_point(session, self.small.catalog, point, (renamed,))

    def rescue(self, *words: str | os.PathLike[str]) -> Rescued:
        """Run it on this vault."""
        return rescue(self.vault, "--recovery-key-file", self.key, *words)

    def restore(self, point: Point) -> Rescued:
        """Restore a point to `to`."""
        return self.rescue("restore", point.id.hex(), "--to", self.to)

    def packs(self, folder: str = "packs") -> list[Path]:
        """The vault's packs."""
        return sorted((self.vault / folder).glob("*/*"))


def _copy(checkpoint: Checkpoint, component: str) -> Checkpoint:
    fields = {name: getattr(checkpoint, name) for name in checkpoint.__struct_fields__}
    return Checkpoint(**(fields | {"id": os.urandom(16), "component": component}))


def _point_of(point: Point, checkpoint: Checkpoint) -> Point:
    fields = {name: getattr(point, name) for name in point.__struct_fields__}
    return Point(**(fields | {"id": os.urandom(16), "marks": (Mark(checkpoint.timeline, checkpoint.id),)}))
