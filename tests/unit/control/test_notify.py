"""What a service manager is told."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from knowngood.control.up.notify import Notifier
from tests.house.files import ROOT


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that listens, in either form."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify") if request.param == "path" else f"\0{tmp_path}/notify")
        listener.settimeout(10)
        yield listener


def test_what_is_said(manager: socket.socket) -> None:
    """In the words of sd_notify; the environment is left without a way to speak for us."""
    name = manager.getsockname()
    address = name if isinstance(name, str) else "@" + name[1:].decode()
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid()), "X": "y"}
    notifier = Notifier.from_environment(environment)
    assert environment == {"X": "y"}
    assert notifier.watchdog == 60
    notifier.ready()
    notifier.status("two\nlines")
    notifier.alive()
    notifier.stopping()
    said = [manager.recv(1000).decode() for _ in range(4)]
    assert said == ["READY=1", "STATUS=two lines", "WATCHDOG=1", "STOPPING=1"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "-1"},
        {"NOTIFY_SOCKET": "/" + "x" * 300},
    ],
)
def test_nobody_listens(environment: dict[str, str]) -> None:
    """Then nothing is said, and nothing fails; a watchdog that is another process's is not ours."""
    notifier = Notifier.from_environment(environment)
    assert notifier.watchdog == 0
    notifier.ready()
    notifier.alive()


@pytest.mark.needs("systemd-analyze")
def test_units_are_accepted() -> None:
    """By the systemd that is installed here."""
    units = sorted((ROOT / "packaging").glob("knowngood.*"))
    assert [each.name for each in units] == ["knowngood.service", "knowngood.socket"]
    program = shutil.which("systemd-analyze")
    assert program
    done = subprocess.run([program, "verify", *units], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
