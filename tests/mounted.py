"""Points mounted by the installed program, for tests that look into them. No test leaves a mount behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.user import PROGRAM, User

SECONDS = 60
"""After which what was waited for will not come."""

needs_fuse = pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="needs /dev/fuse (modprobe fuse)")


class Server:
    """`knowngood mount`, at work."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.document = self._document()

    def _document(self) -> Any:
        """What it says once everything can be reached."""
        assert self.process.stdout
        lines: list[bytes] = []
        for line in self.process.stdout:
            lines.append(line)
            if line == b"}\n":
                return json.loads(b"".join(lines))
        assert self.process.stderr
        raise AssertionError(self.process.stderr.read().decode())

    def ends(self) -> list[Any]:
        """Wait until it has ended well; returns what it said meanwhile on standard error."""
        _, err = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 0, err.decode()
        return [json.loads(line) for line in err.splitlines()]

    def stop(self) -> list[Any]:
        """Ask it to end, and wait."""
        self.process.send_signal(signal.SIGTERM)
        return self.ends()


@contextmanager
def mounted(user: User, folder: Path, *words: str, prefix: Sequence[str] = ()) -> Iterator[Server]:
    """Points of a user's vault below a folder, as long as the block lasts."""
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [*prefix, PROGRAM, "mount", folder, "--json", *words],
        env=user.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield Server(process, folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)
        process.kill()
        process.communicate()


def is_mounted(folder: Path) -> bool:
    """Whether something is mounted there; asks nobody who could have gone."""
    text = Path("/proc/self/mountinfo").read_text()
    return any(line.split()[4] == str(folder) for line in text.splitlines())


def until(true: Callable[[], bool]) -> None:
    """Look again and again until something has come about."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, "it does not come about"
