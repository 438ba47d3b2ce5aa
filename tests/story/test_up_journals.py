"""`knowngood up` journals a component: every single write can be had back, and what was synced survives the server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from knowngood.core.instants import iso_text, now_ns
from knowngood.testing.trees import picture
from tests.mounted import needs_fuse
from tests.story.shop import assert_same
from tests.story.test_up import up
from tests.user import User

pytestmark = [pytest.mark.root, needs_fuse]
_DEADLINE = 90.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder to protect."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "ledger").write_text("balance 0")
    return folder


@pytest.fixture
def user(tmp_path: Path, data: Path) -> User:
    """With a service whose one component is to be journalled."""
    user = User(tmp_path)
    user.begins("shop", data)
    user.does("policy", "set", "shop", "rpo=1d", "points=12h")
    file = user.home / "services" / "shop.yaml"
    file.write_text(file.read_text().replace("kind: files", "kind: files\n    capture: journal"))
    return user


def _until(user: User, capture: str) -> dict[str, Any]:
    deadline = time.monotonic() + _DEADLINE
    while True:
        (service,) = user.asks("status")["services"]
        found = [each for each in service["followers"] if each["capture"] == capture]
        if found and service["point"]:
            return found[0]
        assert time.monotonic() < deadline, service["followers"]


def _recorded(user: User, more_than: int) -> int:
    deadline = time.monotonic() + _DEADLINE
    while True:
        (component,) = user.asks("timeline", "shop")["components"]
        if component["records"] > more_than:
            return component["records"]
        assert time.monotonic() < deadline, component


def test_any_write(user: User, data: Path, tmp_path: Path) -> None:
    """Hundreds of writes within a second: before each of them the file comes back as it was then."""
    with up(user) as running:
        running.until("point", service="shop")
        _until(user, "journal")
        moments = []
        fd = os.open(data / "ledger", os.O_WRONLY | os.O_TRUNC)
        for number in range(200):
            os.pwrite(fd, f"balance {number:06}".encode(), 0)
            moments.append((number, now_ns()))
        os.close(fd)
        (data / "ledger").rename(data / "closed")
        truth = picture(data)
        _recorded(user, 200)
        for number, moment in moments[3::60]:
            at = iso_text(moment)
            assert user.does("cat", "shop", "ledger", "--at", at).raw == f"balance {number:06}".encode()
        user.does("recover", "shop", "--to", tmp_path / "out", "--at", iso_text(now_ns()))
        assert_same(tmp_path / "out" / "data", truth)
        point = user.asks("protect", "shop")["point"]
        assert point["components"][0]["capture"] == "journal"
        running.ends()
    assert not os.path.ismount(data)
    assert (data / "closed").read_bytes() == b"balance 000199"
    user.does("vault", "check", "--read-data")
    (component,) = user.asks("timeline", "shop")["components"]
    assert [each["broken"] for each in component["covered"]] == [None]


_TWO = """
import os, sys
number = 0
while True:
    number += 1
    for folder in sys.argv[1:]:
        fd = os.open(f"{folder}/n", os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(fd, b"%09d" % number, 0)
        os.close(fd)
"""


def test_a_point_of_two_folders_is_held(tmp_path: Path) -> None:
    """A program writes into one and then into the other without a pause: in every held point the second is at most one
    behind, never ahead."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    user = User(tmp_path)
    user.begins()
    lines = [f"  {each.name}: {{kind: files, path: {each}, capture: journal}}" for each in (one, other)]
    policy = "policy: {hold: 1s, rpo: 1d, points: {held: 1s}}"
    (tmp_path / "shop.yaml").write_text("\n".join(["service: shop", "components:", *lines, policy, ""]))
    user.does("service", "apply", tmp_path / "shop.yaml")
    held: list[dict[str, Any]] = []
    with up(user) as running:
        running.until("point", service="shop")
        _until(user, "journal")
        writer = subprocess.Popen([sys.executable, "-c", _TWO, str(one), str(other)])
        try:
            deadline = time.monotonic() + _DEADLINE
            while len(held) < 2:
                running.until("point", service="shop")
                held = [each for each in user.asks("points", "shop")["points"] if each["level"] == "L1"]
                held = [each for each in held if all(c["capture"] == "journal" for c in each["components"])]
                assert time.monotonic() < deadline, user.asks("points", "shop")["points"]
        finally:
            writer.kill()
            writer.wait()
        running.ends()
    for point in held:
        user.does("recover", "shop", "--at", point["id"], "--to", tmp_path / point["id"])
        first, second = (int((tmp_path / point["id"] / each / "n").read_text() or 0) for each in ("one", "other"))
        assert second <= first <= second + 1, point
