"""A fresh site for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.kinds_files.capturing import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A folder to protect."""
    return Site(tmp_path)
