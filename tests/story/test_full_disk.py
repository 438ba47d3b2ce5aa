"""Disks that are full: the vault's, the home's, the one that is recovered to. What was kept stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from knowngood.testing.trees import picture
from tests.loops import Mounts
from tests.story.shop import MIB, assert_same, some_bytes
from tests.user import User

DISK_MEBIBYTES = 64


def fill(folder: Path) -> Path:
    """Somebody else's file takes every block that is left."""
    path = folder / "somebody else's"
    handle = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        for size in (MIB, 4096, 1):
            try:
                while True:
                    os.write(handle, bytes(size))
            except OSError as wrong:
                if wrong.errno != errno.ENOSPC:
                    raise
    finally:
        os.close(handle)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder to protect."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def user(tmp_path: Path, mounts: Mounts, data: Path) -> User:
    """With a vault on a small disk of its own, and a policy that keeps next to nothing."""
    user = User(tmp_path, vault=mounts.make("ext4", DISK_MEBIBYTES) / "vault")
    user.begins("shop", data)
    user.does("policy", "set", "shop", "any-moment=0", "hourly=0", "daily=0", "weekly=0", "monthly=0", "undo=0")
    return user


def _two_points(user: User, data: Path) -> list[str]:
    """Of 8 MiB each that have nothing in common."""
    points = []
    for seed in (1, 2):
        (data / "film").write_bytes(some_bytes(8 * MIB, seed))
        points.append(user.protects()["id"])
    return points


def test_a_full_vault_is_cleaned_and_goes_on(user: User, data: Path) -> None:
    """The disk has not a byte left. The reserve makes room for the cleaning, and is kept back again afterwards."""
    first, second = _two_points(user, data)
    reserve = user.asks("vault", "status")["reserve_bytes"]
    assert reserve == 16 * MIB
    (data / "film").write_bytes(some_bytes(30 * MIB, seed=3))
    error = user.does("protect", "shop", "--json", status=8).error
    assert (error["code"], error["retry"]) == ("no-space", "later")
    assert "knowngood tidy" in error["hint"]
    assert user.points() == [second, first]

    fill(user.vault.parent)
    assert user.does("protect", "shop", status=8).next
    done = user.asks("tidy")
    assert done["expired"] == [first]
    assert done["collected"]["freed_bytes"] > 7 * MIB  # its time to be missed was none at all
    assert user.points() == [second]
    assert user.asks("vault", "status")["free_bytes"] > 4 * MIB  # what only root may use was filled, too
    assert user.asks("vault", "status")["reserve_bytes"] == reserve
    user.does("vault", "check", "--read-data")

    (data / "film").write_bytes(some_bytes(5 * MIB, seed=4))
    user.protects()
    (data / "film").unlink()
    user.does("recover", "shop", "--at", second)
    assert (data / "film").read_bytes() == some_bytes(8 * MIB, seed=2)


def test_reading_from_a_full_vault(user: User, data: Path, tmp_path: Path) -> None:
    """The day of the disaster is no day to make room first."""
    _two_points(user, data)
    fill(user.vault.parent)
    user.does("recover", "shop", "--to", tmp_path / "out")
    assert_same(tmp_path / "out" / "data", picture(data))
    user.does("ls", "shop")
    user.does("vault", "check")
    assert any("left" in each["what"] for each in user.asks("doctor", status=1)["findings"])


def test_what_a_full_disk_cut_short_is_taken_away(user: User, data: Path) -> None:
    """Packs that landed for a point which never came about."""
    _two_points(user, data)
    packs = user.asks("vault", "status")["packs"]
    film = some_bytes(40 * MIB, seed=5)
    (data / "film").write_bytes(film)
    user.does("protect", "shop", status=8)
    assert user.asks("vault", "status")["packs"] >= packs
    user.does("tidy")
    user.does("tidy")
    held = sum(each.stat().st_size for each in (user.vault / "packs").rglob("*") if each.is_file())
    assert held < 9 * MIB
    user.does("vault", "check", "--read-data")


def test_the_reserve(user: User) -> None:
    """As large as there is room for, and given back on demand."""
    assert user.asks("vault", "reserve", "32M")["reserve_bytes"] == 32 * MIB
    answer = user.asks("vault", "reserve", "500M", status=8)
    assert 32 * MIB < answer["reserve_bytes"] < 64 * MIB
    assert user.asks("vault", "reserve", "0")["reserve_bytes"] == 0
    assert sum(each.stat().st_size for each in (user.vault / "reserve").iterdir()) == 0


def test_no_room_where_it_is_recovered_to(user: User, data: Path, tmp_path: Path, mounts: Mounts) -> None:
    """It is said before anything is written; what had been there stays."""
    (data / "film").write_bytes(some_bytes(20 * MIB))
    (data / "small").write_text("small")
    user.protects()
    small = mounts.make("ext4", 16)
    (small / "mine").write_text("mine")
    answer = user.does("recover", "shop", "--to", small / "out", status=8)
    assert "do not fit" in answer.err
    assert answer.next
    assert (small / "mine").read_text() == "mine"
    user.does("recover", "shop", "--to", small / "out", "--path", "small")
    assert (small / "out" / "data" / "small").read_text() == "small"


def test_the_disk_fills_during_a_recovery_in_place(user: User, tmp_path: Path, mounts: Mounts) -> None:
    """Every file is as it was or as it is to be; with room again, the same command goes on."""
    disk = mounts.make("ext4", 64)
    data = disk / "data"
    data.mkdir()
    for number in range(8):
        (data / f"{number}").write_bytes(some_bytes(2 * MIB, seed=number))
    user.does("service", "add", "disk", "--files", data)
    good = picture(data)
    user.protects("disk")
    for number in range(8):
        (data / f"{number}").write_bytes(some_bytes(2 * MIB, seed=100 + number))
    bad = picture(data)
    filler = fill(disk)
    user.does("recover", "disk", status=8)
    now = picture(data)
    assert now.keys() == good.keys()
    assert all(now[path] in (good[path], bad[path]) for path in good if path != b".")
    filler.unlink()
    user.does("recover", "disk")
    assert_same(data, good)


def test_the_home_is_full(tmp_path: Path, mounts: Mounts, data: Path) -> None:
    """An error that says so, and no damage: with room again, work goes on."""
    disk = mounts.make("ext4", 16)
    user = User(tmp_path, home=disk / "home")
    (data / "file").write_text("content")
    user.begins("shop", data)
    user.protects()
    filler = fill(disk)
    for number in range(600):
        (data / f"{number}").write_bytes(some_bytes(200, seed=number))
    error = user.does("protect", "shop", "--json", status=8).error
    assert error["code"] == "no-space"
    filler.unlink()
    assert user.protects()["files"] == 601
    user.does("vault", "check")
    user.does("recover", "shop", "--to", tmp_path / "out")
    assert_same(tmp_path / "out" / "data", picture(data))
