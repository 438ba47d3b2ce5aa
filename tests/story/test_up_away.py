"""`knowngood up` begins while the vault is away: what happens from then on can be had when it is back."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from knowngood.core.instants import iso_text, now_ns
from tests.story.test_up import up
from tests.user import User, in_process

_DEADLINE = 90.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder to protect."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}").write_text(f"content {number}")
    return folder


@pytest.fixture
def user(tmp_path: Path, data: Path) -> User:
    """With a service whose points are far apart."""
    user = User(tmp_path)
    user.begins("shop", data)
    user.does("policy", "set", "shop", "rpo=1d", "points=12h")
    return user


def _waits(user: User, more_than: int) -> int:
    """Wait until more records than that wait for the vault; how many."""
    deadline = time.monotonic() + _DEADLINE
    while True:
        follower = _follower(user)
        if follower["waiting"] and follower["waiting"]["records"] > more_than:
            return follower["waiting"]["records"]
        assert time.monotonic() < deadline, follower


def _follower(user: User) -> dict[str, Any]:
    deadline = time.monotonic() + _DEADLINE
    while True:
        answer = in_process(["--home", str(user.home), "status", "--json"])
        (service,) = answer.json["services"]
        if service["followers"]:
            return service["followers"][0]
        assert time.monotonic() < deadline, service


def _landed(user: User) -> None:
    """Wait until nothing waits any more."""
    deadline = time.monotonic() + _DEADLINE
    while (follower := _follower(user))["waiting"]:
        assert time.monotonic() < deadline, follower


def _versions(user: User, data: Path, count: int) -> list[tuple[str, bytes]]:
    """Versions of a file, and the moments at which they were there, while the vault is away."""
    waiting, seen = _waits(user, 0), []
    for number in range(count):
        (data / "note").write_bytes(b"version %d" % number)
        waiting = _waits(user, waiting)  # that may have been a base, which had read the file before
        (data / "poke").write_bytes(b"%d" % number)
        waiting = _waits(user, waiting)
        seen.append((iso_text(now_ns()), b"version %d" % number))
    return seen


@pytest.mark.slow
def test_it_begins_while_the_vault_is_away(user: User, data: Path) -> None:
    """Killed, begun again without the vault, killed and begun again: each moment that was noted comes back."""
    with up(user) as running:
        running.until("point", service="shop")
        running.ends(signal.SIGKILL, status=-signal.SIGKILL)
    user.vault.rename(user.folder / "away")
    (data / "note").write_bytes(b"unseen")
    seen: list[tuple[str, bytes]] = []
    for _ in range(2):
        with up(user) as running:
            running.until("trouble", service="shop")
            seen += _versions(user, data, 2)
            assert "wait here" in user.does("status", status=1).out
            running.ends(signal.SIGKILL, status=-signal.SIGKILL)
    assert not user.vault.exists()
    with up(user) as running:
        _waits(user, 0)
        (user.folder / "away").rename(user.vault)
        _landed(user)
        for moment, content in (seen[0], seen[2]):  # after the others, what was lost may have happened
            assert user.does("cat", "shop", "note", "--at", moment).raw == content
        running.ends()
    user.does("vault", "check", "--read-data")
    covered = user.asks("timeline", "shop")["components"][0]["covered"]
    *before, last = [each["broken"] is not None for each in covered]
    assert (len(before) >= 2, all(before), last) == (True, True, False)


def test_a_first_day_without_the_vault(user: User, data: Path) -> None:
    """There never was a point: all of a small folder waits, and lands with the first one."""
    user.vault.rename(user.folder / "away")
    with up(user) as running:
        running.until("trouble", service="shop")
        seen = _versions(user, data, 2)
        (user.folder / "away").rename(user.vault)
        _landed(user)
        for moment, content in seen:
            assert user.does("cat", "shop", "note", "--at", moment).raw == content
        running.ends()
    assert user.does("cat", "shop", "7", "--at", user.points()[-1]).raw == b"content 7"
    user.does("vault", "check", "--read-data")


def test_without_anything_known_of_the_vault(user: User, data: Path) -> None:
    """Nothing can be kept then, and it says so; with the vault back, it goes on by itself."""
    (user.home / "descriptor").unlink()
    user.vault.rename(user.folder / "away")
    with up(user) as running:
        running.until("trouble", service="shop")
        follower = _follower(user)
        assert (follower["behind"], follower["waiting"]) == (None, None)
        assert "there is no vault" in follower["failure"]
        (user.folder / "away").rename(user.vault)
        running.until("point", service="shop")
        running.ends()
