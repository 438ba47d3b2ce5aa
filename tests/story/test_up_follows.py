"""`knowngood up` follows a service: what happens between two points can be had back, at any moment."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from knowngood.core.instants import iso_text, now_ns
from knowngood.testing.trees import picture
from tests.story.shop import assert_same
from tests.story.test_up import Up, up
from tests.user import User

_DEADLINE = 90.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder to protect."""
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    for number in range(20):
        (folder / "sub" / f"{number}").write_text(f"content {number}")
    return folder


@pytest.fixture
def user(tmp_path: Path, data: Path) -> User:
    """With a service whose points are far apart."""
    user = User(tmp_path)
    user.begins("shop", data)
    user.does("policy", "set", "shop", "rpo=1d", "points=12h")
    return user


def _until_followed(user: User) -> dict[str, Any]:
    """Ask until the follower says how far behind it is: it has a base then."""
    deadline = time.monotonic() + _DEADLINE
    while True:
        (service,) = user.asks("status")["services"]
        found = [
            each
            for each in service["followers"]
            if each["capture"] in ("watch", "clone") and each["behind"] is not None
        ]
        if found and service["point"]:
            return found[0]
        assert time.monotonic() < deadline, service["followers"]


def _recorded(user: User, more_than: int) -> int:
    """Wait until the log has more records than that; how many."""
    deadline = time.monotonic() + _DEADLINE
    while True:
        (component,) = user.asks("timeline", "shop")["components"]
        if component["records"] > more_than:
            return component["records"]
        assert time.monotonic() < deadline, component


def _begun(user: User, running: Up) -> None:
    running.until("point", service="shop")
    _until_followed(user)


def test_any_moment_between_two_points(user: User, data: Path, tmp_path: Path) -> None:
    """A file as it was, a folder that was deleted, the whole service; and the vault is sound."""
    with up(user) as running:
        _begun(user, running)
        (data / "note").write_text("the first words")
        count = _recorded(user, 0)
        first, then = picture(data), iso_text(now_ns())
        (data / "note").write_text("others")
        (data / "sub" / "3").rename(data / "moved")
        count = _recorded(user, count)
        second = iso_text(now_ns())
        for each in (data / "sub").iterdir():
            each.unlink()
        (data / "sub").rmdir()
        _recorded(user, count + 18)
        assert user.does("cat", "shop", "note", "--at", then).raw == b"the first words"
        assert user.does("cat", "shop", "note", "--at", second).raw == b"others"
        user.does("recover", "shop", "--at", then, "--to", tmp_path / "out")
        assert_same(tmp_path / "out" / "data", first)
        gone = user.asks("undelete", "shop", "--dry-run")
        assert "sub/7" in str(gone)
        user.does("recover", "shop", "--at", second, "--path", "sub")
        assert (data / "sub" / "7").read_text() == "content 7"
        running.ends()
    user.does("vault", "check", "--read-data")
    assert len(user.points()) == 1


def test_a_point_by_hand_while_it_follows(user: User, data: Path) -> None:
    """The keeper makes it, for it alone knows what changed; only that is read. It has the name that was asked for."""
    with up(user) as running:
        _begun(user, running)
        (data / "new").write_text("of today")
        point = user.asks("protect", "shop", "--name", "release")["point"]
        assert (point["name"], point["files"], point["components"][0]["capture"]) == (
            "release",
            21,
            _until_followed(user)["capture"],
        )
        assert point["components"][0]["changed_files"] == 1
        assert user.does("cat", "shop", "new", "--at", "release").raw == b"of today"
        running.ends()
    user.does("protect", "shop")


def test_after_being_away(user: User, data: Path) -> None:
    """What happened while nobody followed is a gap, and is shown as one; after it, all moments can be had again."""
    with up(user) as running:
        _begun(user, running)
        (data / "note").write_text("one")
        count = _recorded(user, 0)
        running.ends()
    (data / "note").write_text("two")
    with up(user) as running:
        running.until("point", service="shop")
        _until_followed(user)
        (data / "note").write_text("three")
        _recorded(user, count)
        running.ends()
    (component,) = user.asks("timeline", "shop")["components"]
    assert [each["broken"] is not None for each in component["covered"]] == [True, False]
    assert user.does("cat", "shop", "note", "--at", "latest").raw == b"three"


def _waits(user: User, more_than: int) -> int:
    """Wait until more records than that wait for the vault; how many."""
    deadline = time.monotonic() + _DEADLINE
    while True:
        (follower,) = user.does("status", "--json", status=1).json["services"][0]["followers"]
        if follower["waiting"] and follower["waiting"]["records"] > more_than:
            return follower["waiting"]["records"]
        assert time.monotonic() < deadline, follower


def _writes_while_it_is_away(user: User, data: Path) -> list[tuple[str, bytes]]:
    """Three versions of a file, and the moments at which they were there."""
    count, seen = 0, []
    for content in (b"one", b"two", b"three"):
        (data / "note").write_bytes(content)
        count = _waits(user, count)
        seen.append((iso_text(now_ns()), content))
    return seen


def test_a_vault_that_is_away_for_a_while(user: User, data: Path) -> None:
    """What happens meanwhile waits here, and is in the log at its own time when the vault is back."""
    with up(user) as running:
        _begun(user, running)
        user.vault.rename(user.folder / "away")
        seen = _writes_while_it_is_away(user, data)
        assert "wait here" in user.does("status", status=1).out
        (user.folder / "away").rename(user.vault)
        _recorded(user, 2)
        for moment, content in seen:
            assert user.does("cat", "shop", "note", "--at", moment).raw == content
        running.ends()
    user.does("vault", "check", "--read-data")


def test_killed_while_the_vault_is_away(user: User, data: Path) -> None:
    """The next process lands what waited; only what happened after the kill is a gap."""
    with up(user) as running:
        _begun(user, running)
        user.vault.rename(user.folder / "away")
        seen = _writes_while_it_is_away(user, data)
        running.ends(signal.SIGKILL, status=-signal.SIGKILL)
    (user.folder / "away").rename(user.vault)
    (data / "note").write_bytes(b"unseen")
    with up(user) as running:
        running.until("point", service="shop")
        _until_followed(user)
        running.ends()
    for moment, content in seen[:-1]:  # the last one cannot be told from what was lost after it
        assert user.does("cat", "shop", "note", "--at", moment).raw == content
    assert user.does("cat", "shop", "note", "--at", "latest").raw == b"unseen"
    (component,) = user.asks("timeline", "shop")["components"]
    assert component["covered"][0]["broken"]
    user.does("vault", "check", "--read-data")
