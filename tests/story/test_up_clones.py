"""`knowngood up` where files can be cloned: a large file is never read again, and every moment of it can be had."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from knowngood.core.instants import iso_text, now_ns
from knowngood.core.sizes import KIB, MIB
from tests.story.test_up import up
from tests.user import User

_DEADLINE = 90.0


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_a_large_file(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Its first change is told by what differs; status and points show the level; each moment comes back."""
    data: Path = request.getfixturevalue(f"{kind}_dir") / "data"
    data.mkdir()
    path = data / "large"
    path.write_bytes(os.urandom(4 * MIB))
    os.sync()
    user = User(tmp_path)
    user.begins("shop", data)
    user.does("policy", "set", "shop", "rpo=1d", "points=12h")
    with up(user) as running:
        running.until("point", service="shop")
        _until(user, "clone")
        before = sum(each.stat().st_size for each in user.vault.rglob("*") if each.is_file())
        then, first = iso_text(now_ns()), path.read_bytes()
        with path.open("r+b") as file:
            file.seek(MIB)
            file.write(os.urandom(4 * KIB))
        _recorded(user)
        grown = sum(each.stat().st_size for each in user.vault.rglob("*") if each.is_file()) - before
        assert grown < 100 * KIB
        assert user.does("cat", "shop", "large", "--at", then).raw == first
        assert user.does("cat", "shop", "large", "--at", "latest").raw == path.read_bytes()
        point = user.asks("protect", "shop")["point"]
        assert point["components"][0]["capture"] == "clone"
        running.ends()
    user.does("vault", "check", "--read-data")


def _until(user: User, level: str) -> None:
    deadline = time.monotonic() + _DEADLINE
    while True:
        (service,) = user.asks("status")["services"]
        if any(each["capture"] == level and each["behind"] is not None for each in service["followers"]):
            return
        assert time.monotonic() < deadline, service["followers"]


def _recorded(user: User) -> None:
    deadline = time.monotonic() + _DEADLINE
    while not user.asks("timeline", "shop")["components"][0]["records"]:
        assert time.monotonic() < deadline
