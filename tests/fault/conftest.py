"""Places in memory for vaults that are killed a thousand times, and the promise that nothing is left behind."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leaks import nothing_left_behind  # noqa: F401 - applies to every test here

_MEMORY = "/dev/shm"


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder, in memory where that is possible: these tests kill processes, not machines."""
    folder = Path(tempfile.mkdtemp(prefix="knowngood-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def some() -> random.Random:
    """The same chance every time."""
    return random.Random(20261120)
