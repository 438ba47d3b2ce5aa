"""`knowngood status --watch`: a picture on a terminal, lines in a pipe."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from tests.user import PROGRAM, User

_DEADLINE = 60.0


@pytest.fixture
def user(tmp_path: Path) -> User:
    """With a service that promises something, and has no point."""
    (tmp_path / "data").mkdir()
    user = User(tmp_path)
    user.begins("shop", tmp_path / "data")
    user.does("policy", "set", "shop", "rpo=5m")
    return user


def reads(fd: int, wanted: bytes, seen: bytes = b"") -> bytes:
    """Read on until this has been seen."""
    end = time.monotonic() + _DEADLINE
    while wanted not in seen:
        assert select.select([fd], [], [], max(0, end - time.monotonic()))[0], seen[-300:]
        data = os.read(fd, 1 << 16)
        assert data, seen[-300:]
        seen += data
    return seen


def test_in_a_pipe(user: User) -> None:
    """A line when the answer is another one, and no other; Ctrl-C ends it with the answer's own status."""
    command = [PROGRAM, "status", "--watch"]
    with subprocess.Popen(command, env=user.environment(), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout
        first = reads(process.stdout.fileno(), b"\n")
        assert b"1 of 1 services not as promised: shop" in first
        user.does("protect", "shop")
        second = reads(process.stdout.fileno(), b"\n")
        assert second.count(b"\n") == 1
        assert b"at most the last" in second
        process.send_signal(signal.SIGINT)
        assert process.wait(_DEADLINE) == 0


def test_nobody_reads_any_more(user: User) -> None:
    """Then it ends, when there is something to say."""
    command = [PROGRAM, "status", "--watch"]
    with subprocess.Popen(command, env=user.environment(), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout
        reads(process.stdout.fileno(), b"\n")
        process.stdout.close()
        user.does("protect", "shop")
        assert process.wait(_DEADLINE) == 141


def test_on_a_terminal(user: User) -> None:
    """All of the answer is drawn, and drawn anew; q ends it, and leaves the terminal as it was."""
    controller, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    environment = {**user.environment(), "TERM": "xterm", "COLUMNS": "160", "LINES": "40"}
    try:
        with subprocess.Popen(
            [PROGRAM, "status", "--watch"], env=environment, stdin=terminal, stdout=terminal, stderr=terminal
        ) as process:
            seen = reads(controller, b"q ends it")
            assert b"services not as promised: shop" in seen
            assert b"in 24 h" in seen
            user.does("protect", "shop")
            reads(controller, b"all is as promised")
            os.write(controller, b"q")
            assert process.wait(_DEADLINE) == 0
        assert termios.tcgetattr(terminal) == before
    finally:
        os.close(controller)
        os.close(terminal)


def test_no_document(user: User) -> None:
    """There would be no end to it."""
    assert "--watch" in user.does("status", "--watch", "--json", status=2).error["hint"]
