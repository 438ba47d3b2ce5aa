"""Fixtures for the flow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from knowngood.flow.parts import Parts
from knowngood.testing.vaults import SmallVault
from tests.unit.flow.notes import NotesKind, parts_of, small_vault
from tests.unit.flow.stage import Stage, stage_in


@pytest.fixture
def vault() -> SmallVault:
    """An empty vault."""
    return small_vault()


@pytest.fixture
def kind() -> NotesKind:
    """With three places."""
    return NotesKind({f"/srv/{name}": {b"text": name.encode() * 50, b"common": b"x" * 500} for name in ("a", "b", "c")})


@pytest.fixture
def parts(vault: SmallVault, kind: NotesKind) -> Parts:
    """What verbs are given."""
    return parts_of(vault, kind)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Three files, not captured yet."""
    made = stage_in(tmp_path)
    yield made
    made.following.close()
