"""A vault to rescue from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.format.rescuing import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty vault."""
    return Bench(tmp_path)
