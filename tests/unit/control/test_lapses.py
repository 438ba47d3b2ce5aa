"""What is remembered of how promises were kept: the worst of a day, and when writes were not waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from knowngood.control.home import Home
from knowngood.control.lapses import Lapses
from knowngood.control.up.protocol import FollowerState
from knowngood.core.instants import SECOND

HOUR = 3600 * SECOND
NOW = 500_000 * HOUR


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty one."""
    return Home.at(str(tmp_path))


def says(unsafe: str | None) -> list[FollowerState]:
    """One follower."""
    return [FollowerState(component="db", capture="journal", unsafe=unsafe)]


def test_the_worst_of_a_day(home: Home) -> None:
    """It is forgotten after 24 hours, survives a restart, and is none of another service's business."""
    lapses = Lapses(home)
    assert lapses.worst("shop", NOW) is None
    lapses.measured("shop", 5.0, NOW)
    lapses.measured("shop", 90.0, NOW + HOUR)
    lapses.measured("shop", 1.0, NOW + HOUR)
    lapses.save(NOW + HOUR, ending=True)
    again = Lapses(home)
    assert again.worst("shop", NOW + HOUR) == 90
    assert again.worst("shop", NOW + 24 * HOUR) == 90
    assert again.worst("shop", NOW + 25 * HOUR) is None
    assert again.worst("other", NOW) is None
    for hour in range(1000):
        again.measured("shop", 1.0, NOW + hour * HOUR)
    again.save(NOW + 1000 * HOUR, ending=True)
    assert Path(home.lapses).stat().st_size < 1000


def test_a_clock_that_is_set_back(home: Home) -> None:
    """What is of a time to come does not count."""
    lapses = Lapses(home)
    lapses.measured("shop", 99.0, NOW + 100 * HOUR)
    lapses.measured("shop", 1.0, NOW)
    assert lapses.worst("shop", NOW) == 1


def test_breaches(home: Home) -> None:
    """When one begins and ends; nobody who does not know ends it; there are never many."""
    lapses = Lapses(home)
    assert lapses.heard("shop", says(None), NOW) == []
    (began,) = lapses.heard("shop", says("the vault was late"), NOW)
    assert (began.component, began.until_ns, began.why) == ("db", None, "the vault was late")
    assert lapses.heard("shop", says("the vault was late"), NOW + 1) == []
    assert Lapses(home).breaches("shop") == []
    lapses.save(NOW + 1)
    again = Lapses(home)
    assert again.heard("shop", says(None), NOW + 2) == []
    (ended,) = again.heard("shop", says(""), NOW + 3)
    assert (ended.since_ns, ended.until_ns) == (NOW, NOW + 3)
    for number in range(100):
        again.heard("shop", says("late"), NOW + 2 * number + 10)
        again.heard("shop", says(""), NOW + 2 * number + 11)
    assert len(again.breaches("shop")) == 20
    assert again.breaches("shop")[-1].since_ns == NOW + 208
    again.keep_to({"other"})
    assert again.breaches("shop") == []


def test_saving_is_rare_and_never_fatal(home: Home) -> None:
    """Once a minute; a breach at once; a file that nobody understands is none; a disk that is full is tried again."""
    lapses = Lapses(home)
    lapses.measured("shop", 1.0, NOW)
    lapses.save(NOW)
    lapses.measured("shop", 2.0, NOW)
    lapses.save(NOW + 59 * SECOND)
    assert Lapses(home).worst("shop", NOW) == 1
    lapses.save(NOW + 60 * SECOND)
    assert Lapses(home).worst("shop", NOW) == 2
    Path(home.lapses).write_bytes(b"\xff nonsense")
    assert Lapses(home).worst("shop", NOW) is None
    Path(home.lapses).unlink()
    Path(home.lapses).mkdir()
    lapses.heard("shop", says("late"), NOW + 61 * SECOND)
    lapses.save(NOW + 61 * SECOND)
    Path(home.lapses).rmdir()
    lapses.save(NOW + 200 * SECOND)
    assert len(Lapses(home).breaches("shop")) == 1
