"""A thread that left the host's network, and does not see its sockets; everybody else stays where they are."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import pytest

from knowngood.linux.apart import Isolation, apart

_CONNECT = "import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


@pytest.mark.root
def test_sockets_of_the_host_are_hidden() -> None:
    """Those that are there, and those that come into /run later; not those of servers that are started there."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir="/run") as running:
        before, later, own = f"{folder}/before", f"{running}/later", f"{folder}/own"
        with closing(_listening(before)):
            reached: dict[str, bool] = {}

            def act() -> None:
                with closing(_listening_elsewhere(later)), closing(_listening(own)):
                    for path in (before, later, own):
                        done = subprocess.run(["python3", "-c", _CONNECT, path], check=False, capture_output=True)
                        reached[path] = done.returncode == 0
                Path(f"{running}-not-of-the-host").write_text("")

            assert apart(act, lambda: None, folder) == Isolation(network=True, sockets=True)
            assert reached == {before: False, later: False, own: True}
            with socket.socket(socket.AF_UNIX) as ours:
                ours.connect(before)
            assert not os.path.exists(f"{running}-not-of-the-host")


@pytest.mark.root
def test_what_is_to_be_kept_stays() -> None:
    """A private folder below /run is seen, and the sockets beside it are not."""
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        path = f"{folder}/socket"
        with closing(_listening(path)):
            seen: list[bool] = []

            def act() -> None:
                Path(f"{folder}/file").write_text("x")
                with socket.socket(socket.AF_UNIX) as ours, suppress(ConnectionRefusedError):
                    ours.connect(path)
                    seen.append(True)

            apart(act, lambda: None, f"{folder}/private")
            assert not seen
            assert Path(f"{folder}/file").read_text() == "x"


def _listening(path: str) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.bind(path)
    found.listen()
    return found


def _listening_elsewhere(path: str) -> socket.socket:
    """As a server of the host would be, once the thread has left."""
    made = socket.socket(socket.AF_UNIX)
    made.bind(f"/proc/{os.getpid()}/root{path}")
    made.listen()
    return made
