"""A command of ours in a process of its own, so that one that takes long keeps no point from being made, and one that
dies takes nothing along."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import IO, Any

from knowngood.control.home import Home
from knowngood.control.up.protocol import Told

_ENDING = 10.0
_ANSWER_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Answered:
    """How it ended: its exit status, the JSON object that it printed, and that of its error; empty for none."""

    status: int
    document: dict[str, Any]
    error: dict[str, Any]

    def trouble(self, what: str) -> Told:
        """What went wrong when there was no document."""
        message = str(self.error.get("message") or f"it ended with status {self.status}")
        return Told(str(self.error.get("code") or "failed"), f"{what}: {message}", str(self.error.get("hint") or ""))


class Child:
    """One command that runs."""

    def __init__(self, home: Home, *words: str) -> None:
        """Begin. Raises OSError."""
        self._answer, self._error = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - until it ended
        self._process = subprocess.Popen(
            [sys.executable, "-m", "knowngood", "--home", home.path, "--json", *words],
            stdin=subprocess.DEVNULL,
            stdout=self._answer,
            stderr=self._error,
        )

    def ended(self) -> Answered | None:
        """What it answered, once; None while it runs."""
        status = self._process.poll()
        if status is None:
            return None
        try:
            return Answered(status, _document(self._answer), _document(self._error).get("error") or {})
        finally:
            self._close()

    def stop(self) -> None:
        """End it: it takes down what it has put up."""
        self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING)
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        self._answer.close()
        self._error.close()


def _document(file: IO[bytes]) -> dict[str, Any]:
    """The JSON object that a process wrote, or its last line."""
    file.seek(0, os.SEEK_SET)
    text = file.read(_ANSWER_BYTES)
    for part in (text, text.strip().rpartition(b"\n")[2]):
        with contextlib.suppress(ValueError):
            found = json.loads(part)
            return found if isinstance(found, dict) else {}
    return {}
