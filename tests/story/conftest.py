"""For all tales: nothing may be left behind. For most: the shop as it is on the first day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from knowngood.testing.clock import DAY, FakeClock
from knowngood.testing.trees import Picture, picture
from tests.leaks import nothing_left_behind
from tests.recorder import Recorder
from tests.story.shop import build_shop, some_bytes
from tests.story.tale import Tale
from tests.user import User

__all__ = ["good", "nothing_left_behind", "shop", "tale"]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The shop."""
    return build_shop(tmp_path / "shop")


@pytest.fixture
def good(shop: Path) -> Picture:
    """As it was."""
    return picture(shop)


@pytest.fixture
def tale(tmp_path: Path) -> Iterator[Tale]:
    """Begun: a few files, and a point."""
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (data / "ledger").write_bytes(some_bytes(3 << 20))
    (data / "note").write_text("the first words")
    (data / "sub" / "old").write_bytes(b"old" * 100)
    with FakeClock() as clock:
        clock.move(-DAY)
        user = User(tmp_path)
        user.begins("shop", data)
        tale = Tale(user, data, Recorder(user, data), clock)
        tale.recorder.protects()
        yield tale
