"""Turns of scrubbing, each a process of its own: on time, one at a time, and what they found is told once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from knowngood.control.home import Home
from knowngood.control.up.protocol import Told
from knowngood.control.up.scrubbing import EVERY, FIRST, Scrubs
from tests.user import User


@pytest.fixture
def user(tmp_path: Path) -> User:
    """With a vault that has a point, and parity for it."""
    user = User(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_bytes(os.urandom(300_000))
    user.does("init", "--vault", user.vault, "--no-passphrase")
    user.does("service", "add", "shop", "--files", data)
    user.does("protect", "shop")
    user.does("tidy")
    return user


@pytest.fixture
def scrubs(user: User) -> Iterator[Scrubs]:
    """Begun at zero."""
    scrubs = Scrubs(Home.at(str(user.home)), 0.0)
    yield scrubs
    scrubs.stop()


def _ended(scrubs: Scrubs, now: float) -> Told | None:
    """What the turn came to that is under way."""
    assert scrubs._child is not None
    scrubs._child._process.wait(120)
    news = scrubs.tick(now)
    assert not scrubs.busy
    return news


def test_what_is_damaged_comes_back_and_is_told_once(user: User, scrubs: Scrubs) -> None:
    assert scrubs.tick(FIRST - 1) is None
    assert not scrubs.busy
    scrubs.tick(FIRST)
    assert scrubs.busy
    assert _ended(scrubs, FIRST + 1) is None
    (pack,) = (each for each in (user.vault / "packs").rglob("*") if each.is_file())
    good = pack.read_bytes()
    pack.unlink()
    scrubs.tick(FIRST + EVERY)
    news = _ended(scrubs, FIRST + EVERY + 1)
    assert news is not None
    assert (news.code, "came back from parity: 1" in news.message) == ("healed", True)
    assert pack.read_bytes() == good
    parity = user.vault / "parity"
    parity.rename(user.vault / "aside")
    pack.write_bytes(good[:-1] + b"?")
    user.does("vault", "check", "--read-data", status=6)
    for turn, told in ((2, "damaged"), (3, None)):
        scrubs.tick(FIRST + turn * EVERY)
        news = _ended(scrubs, FIRST + turn * EVERY + 1)
        assert (news.code if news else None) == told


_SHOW = """
import os
from knowngood.linux.calls import libc
from knowngood.linux.priority import be_idle
be_idle()
print(os.getpriority(os.PRIO_PROCESS, 0), libc.syscall(252, 1, 0) >> 13)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the number of ioprio_get is that of another machine")
def test_who_is_idle_waits_for_everybody() -> None:
    shown = subprocess.run([sys.executable, "-c", _SHOW], capture_output=True, check=True, text=True).stdout.split()
    assert shown == ["19", "3"]
