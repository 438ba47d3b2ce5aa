"""Who is nobody has a feed as well."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.kinds_files_watch import nobody

TREE = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of nobody's, at a place that nobody can reach."""
    made = Path(tempfile.mkdtemp(dir="/var/tmp"))
    os.chown(made, nobody.NOBODY, nobody.NOBODY)
    yield made
    shutil.rmtree(made)


@pytest.mark.root
def test_nobody_watches_by_inotify(folder: Path) -> None:
    """Every change is covered there too, and the reason says which rights are missing for more."""
    words = [sys.executable, "-m", nobody.__name__, str(folder), "3"]
    done = subprocess.run(words, check=True, capture_output=True, cwd=TREE)
    said = json.loads(done.stdout)
    assert "CAP_SYS_ADMIN" in said.pop("reason")
    assert said == {"user": nobody.NOBODY, "feed": "inotify", "alive": True, "missed": 0, "lost": ""}
