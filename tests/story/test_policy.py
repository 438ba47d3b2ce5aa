"""How long points are kept: a policy, hidden points that come back, and space that does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from knowngood.testing.clock import DAY, FakeClock
from tests.story.shop import MIB, some_bytes
from tests.user import User

HOUR = 3600.0


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """Time passes when the tale says so."""
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder to protect."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def user(tmp_path: Path, data: Path) -> User:
    """With a service and no point yet."""
    user = User(tmp_path)
    user.begins("shop", data)
    return user


def _stored(user: User) -> int:
    folders = ("packs", "pages", "index")
    return sum(each.stat().st_size for name in folders for each in (user.vault / name).rglob("*") if each.is_file())


def test_old_points_go_and_space_comes_back(user: User, data: Path, clock: FakeClock) -> None:
    """In two steps, a week apart: hidden first, taken away when nobody has missed them."""
    user.does("policy", "set", "shop", "any-moment=1d", "hourly=0", "daily=0", "weekly=0", "monthly=0", "undo=7d")
    points = []
    for number in range(4):
        (data / "film").write_bytes(some_bytes(2 * MIB, seed=number))
        points.append(user.protects()["id"])
        clock.move(2 * HOUR)
    full = _stored(user)
    assert full > 8 * MIB

    clock.move(DAY - 5 * HOUR)  # the first two are older than a day now
    plan = user.asks("tidy", "--dry-run")
    assert set(plan["expired"]) == set(points[:2])
    assert [each["keep"] for each in plan["services"][0]["points"]] == [True, True, False, False]
    assert user.points() == points[::-1]

    assert set(user.asks("tidy")["expired"]) == set(points[:2])
    assert user.points() == [points[3], points[2]]
    assert user.points("shop", "--expired") == [points[1], points[0]]
    assert full - _stored(user) < MIB  # small packs may have been put together
    assert "until" in user.does("points", "shop", "--expired").out

    user.does("recover", "shop", "--at", points[0], "--to", data.parent / "hidden")  # still there for who knows its id
    assert (data.parent / "hidden" / "data" / "film").read_bytes() == some_bytes(2 * MIB, seed=0)

    clock.move(7 * DAY)
    done = user.asks("tidy")
    assert done["collected"]["purged_points"] == 2
    assert 4 * MIB < done["collected"]["freed_bytes"] < 5 * MIB
    assert done["expired"] == [points[2]]  # it has grown old meanwhile, and is not the newest
    assert full - _stored(user) > 4 * MIB
    user.does("undo", "shop", points[0], status=4)
    assert user.points("shop", "--expired") == [points[2]]
    user.does("vault", "check", "--read-data")
    user.does("recover", "shop", "--delete")
    assert (data / "film").read_bytes() == some_bytes(2 * MIB, seed=3)


def test_the_newest_point_stays(user: User, data: Path, clock: FakeClock) -> None:
    """However old it is."""
    user.does("policy", "set", "shop", "any-moment=0", "hourly=0", "daily=0", "weekly=0", "monthly=0", "undo=0")
    (data / "file").write_text("x")
    points = [user.protects()["id"] for _ in range(3)]
    clock.move(10 * 365 * DAY)
    assert set(user.asks("tidy")["expired"]) == set(points[:2])
    assert user.points() == [points[2]]
    user.does("tidy")
    assert user.points("shop", "--expired") == []


def test_expire_and_undo_by_hand(user: User, data: Path, clock: FakeClock) -> None:
    """By id or by name, more than one at once, and back within the window."""
    (data / "file").write_text("x")
    first = user.protects("shop", "--name", "before the update")["id"]
    second = user.protects()["id"]
    assert user.asks("expire", "shop", second, "--dry-run")["points"] == [second]
    assert user.points() == [second, first]
    told = user.does("expire", "shop", "before the update", second[:10]).out
    assert f"knowngood undo shop {first[:8]}" in told
    assert user.points() == []
    assert user.asks("expire", "shop", second)["points"] == []  # it is hidden already

    user.does("undo", "shop", "before the update")
    assert user.points() == [first]
    user.does("undo", "shop", first, status=4)
    clock.move(7 * DAY + 1)
    user.does("vault", "collect")
    answer = user.does("undo", "shop", second, status=4)
    assert answer.err
    assert user.does("ls", "shop").out


@pytest.mark.parametrize("which", ["deadbeef", "nothing", "%", ""])
def test_expiring_what_is_not_there(which: str, user: User, data: Path) -> None:
    """Nothing at all is hidden when one of the words is wrong."""
    point = user.protects()["id"]
    user.does("expire", "shop", point, which, status=4)
    user.does("undo", "shop", which, status=4)
    assert user.points() == [point]


def test_a_point_of_another_service(user: User, data: Path) -> None:
    """Its id does not do here."""
    user.does("service", "add", "other", "--files", data)
    mine, theirs = user.protects()["id"], user.protects("other")["id"]
    user.does("expire", "shop", theirs, status=4)
    user.does("recover", "shop", "--at", theirs, "--to", data.parent / "out", status=4)
    user.does("expire", "other", theirs)
    user.does("undo", "shop", theirs, status=4)
    assert (user.points("shop"), user.points("other")) == ([mine], [])


def test_points_of_a_removed_service(user: User, data: Path, clock: FakeClock) -> None:
    """They stay until somebody says otherwise."""
    point = user.protects()["id"]
    user.does("service", "remove", "shop")
    clock.move(1000 * DAY)
    user.does("tidy")
    assert user.points() == [point]
    user.does("recover", "shop", "--to", data.parent / "out")
    user.does("protect", "shop", status=4)
    user.does("expire", "shop", point)
    assert user.points("shop", "--expired") == [point]


def test_a_broken_service_file_loses_no_points(user: User, data: Path, clock: FakeClock) -> None:
    """Its points are left alone, and the answer says so."""
    points = [user.protects()["id"] for _ in range(2)]
    clock.move(1000 * DAY)
    file = user.home / "services" / "shop.yaml"
    file.write_text(file.read_text().replace("keep:", "kept:"))
    done = user.asks("tidy")
    assert "left alone" in done["warnings"][0]
    assert user.points() == points[::-1]
    assert any("kept" in each["what"] for each in user.asks("doctor", status=1)["findings"])


def test_what_an_expired_point_shares_stays(user: User, data: Path, clock: FakeClock) -> None:
    """A file that only the hidden point had is stored again once it is collected, and not before."""
    (data / "film").write_bytes(some_bytes(2 * MIB))
    first = user.protects()["id"]
    (data / "film").unlink()
    user.protects()
    user.does("expire", "shop", first)
    (data / "film").write_bytes(some_bytes(2 * MIB))
    assert user.protects()["new_bytes"] < MIB
    third = user.points()[0]
    clock.move(8 * DAY)
    user.does("vault", "collect")
    user.does("recover", "shop", "--at", third, "--to", data.parent / "out")
    assert (data.parent / "out" / "data" / "film").read_bytes() == some_bytes(2 * MIB)
    user.does("vault", "check", "--read-data")


# ------------------------------------------------------------------------------------------------------------- clocks


def test_a_clock_that_is_set_back(user: User, data: Path, clock: FakeClock) -> None:
    """Points keep the order in which they were made, 'latest' is the last one, and nothing expires for it."""
    user.does("policy", "set", "shop", "any-moment=1h", "hourly=0", "daily=0", "weekly=0", "monthly=0", "undo=0")
    made = []
    for number in range(3):
        (data / "file").write_text(str(number))
        made.append(user.protects())
        if number == 0:
            clock.move(-DAY)
    ids = [each["id"] for each in made]
    assert user.points() == ids[::-1]
    received = [each["received"] for each in made]
    assert received == sorted(received)
    assert made[1]["moment"] < made[0]["moment"]

    assert user.does("cat", "shop", "file").out == "2"
    assert user.does("cat", "shop", "file", "--at", "now").out == "2"
    assert user.does("cat", "shop", "file", "--at", made[0]["moment"]).out == "0"
    assert user.does("cat", "shop", "file", "--at", made[1]["moment"]).out == "1"
    changes = user.asks("diff", "shop")
    assert (changes["from"], changes["to"]) == (ids[1], ids[2])
    assert [each["point"] for each in user.asks("history", "shop", "file")["versions"]] == ids

    assert user.asks("tidy")["expired"] == []
    clock.move(DAY)  # the clock is right again
    assert user.points() == ids[::-1]
    assert user.asks("tidy")["expired"] == []
    clock.move(2 * HOUR)
    assert set(user.asks("tidy")["expired"]) == set(ids[:2])
    assert user.points() == [ids[2]]


def test_a_clock_that_was_years_ahead(user: User, data: Path, clock: FakeClock) -> None:
    """A point from the future neither pushes others out, nor goes before its time; work goes on."""
    (data / "file").write_text("x")
    first = user.protects()["id"]
    clock.move(5 * 365 * DAY)
    second = user.protects()["id"]
    clock.move(-5 * 365 * DAY)
    third = user.protects()["id"]
    assert user.points() == [third, second, first]
    user.does("recover", "shop")
    user.does("vault", "check")
