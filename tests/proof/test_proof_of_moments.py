"""The proof of any moment runs, and holds for a few of its runs: one on each file system, at each level."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from knowngood.kinds.files.follow import clones
from tests.loops import Mounts
from tests.proof.moments import LEVELS, Case, live


@pytest.mark.parametrize(("kind", "level"), [(kind, level) for kind, levels in LEVELS.items() for level in levels])
def test_some_moments(kind: str, level: str, mounts: Mounts) -> None:
    """`make proof-moments` does it thousands of times."""
    with patch.object(clones, "SHARE", 0.0):
        assert live(Case(1, kind, level), mounts) > 2
