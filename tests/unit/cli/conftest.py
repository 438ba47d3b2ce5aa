"""Fixtures for the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.runner import Runner


@pytest.fixture
def knowngood(tmp_path: Path) -> Runner:
    """Runs commands against a home that does not exist yet."""
    return Runner(tmp_path / "home")
