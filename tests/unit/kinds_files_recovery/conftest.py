"""A folder with one of everything, captured once; tests recover it elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from knowngood.testing.trees import Picture, picture
from tests.unit.kinds_files_recovery.recovering import Kept, age, capture, make_plain_zoo, make_zoo, unlock


class Zoo:
    """The folder, its picture, and its checkpoint."""

    def __init__(self, root: Path) -> None:
        self.root = root
        if os.geteuid() == 0:
            make_zoo(root)
        else:
            make_plain_zoo(root)
            age(root)
        self.picture: Picture = picture(root)
        self.kept: Kept = capture(root)


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    """One of everything. Tests must not change it."""
    base = tmp_path_factory.mktemp("zoo")
    yield Zoo(base / "zoo")
    unlock(base)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncs would wait for all that others write to this disk. Tests of syncing look at the calls."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for module in ("rounds", "stage", "flush"):
        monkeypatch.setattr(f"knowngood.kinds.files.recovery.{module}.sync_file_system", lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A place to recover to; files in it may have flags that keep them from being deleted."""
    yield tmp_path
    unlock(tmp_path)
