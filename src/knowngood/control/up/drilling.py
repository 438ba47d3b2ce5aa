"""Drills on schedule: each a process of its own, so that one that takes long keeps no point from being made, and one
that dies takes nothing along. One at a time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from knowngood.control.home import Home
from knowngood.control.schedule import Now, Obligation
from knowngood.control.up.protocol import Told

_ENDING = 10.0
_ANSWER_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Ended:
    """How a drill came out. `trouble` says what is wrong: of the point, of the time it took, or why there was none.
    `judged`: it came to an outcome."""

    what: Obligation
    began: Now
    outcome: str
    judged: bool
    trouble: Told | None


@dataclass(slots=True)
class _Running:
    what: Obligation
    began: Now
    process: subprocess.Popen[bytes]
    answer: IO[bytes]
    error: IO[bytes]


class Drills:
    """The drills of one keeper."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._running: _Running | None = None

    @property
    def busy(self) -> bool:
        """Whether one is under way."""
        return self._running is not None

    def start(self, what: Obligation, began: Now) -> None:
        """Begin one. Raises OSError."""
        answer, error = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has ended
        words = ["--home", self._home.path, "--json", "drill", what.service]
        process = subprocess.Popen(
            [sys.executable, "-m", "knowngood", *words], stdin=subprocess.DEVNULL, stdout=answer, stderr=error
        )
        self._running = _Running(what, began, process, answer, error)

    def ended(self) -> Iterator[Ended]:
        """The one that has ended since it was asked the last time."""
        running = self._running
        if running is None or running.process.poll() is None:
            return
        self._running = None
        try:
            yield _outcome(running)
        finally:
            running.answer.close()
            running.error.close()

    def stop(self) -> None:
        """End it: it takes down what it has put up."""
        running, self._running = self._running, None
        if running is None:
            return
        running.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(_ENDING)
        running.process.kill()
        running.process.wait()
        running.answer.close()
        running.error.close()


def _outcome(running: _Running) -> Ended:
    what, began = running.what, running.began
    report = _document(running.answer).get("report")
    if report:
        outcome, hint = str(report.get("outcome")), f"knowngood drills {what.service}"
        reasons = [str(each) for each in report.get("reasons") or ()]
        if report.get("rto_kept") is False:
            reasons.append(f"recovery took {report.get('seconds')} s, and {report.get('rto')} s are promised")
        trouble = Told(outcome, f"the drill: {'; '.join(reasons)}", hint) if reasons else None
        return Ended(what, began, outcome, judged=outcome != "unproven", trouble=trouble)
    error = _document(running.error).get("error") or {}
    message = str(error.get("message") or f"it ended with status {running.process.returncode}")
    why = Told(str(error.get("code") or "failed"), f"the drill: {message}", str(error.get("hint") or ""))
    return Ended(what, began, "", judged=False, trouble=why)


def _document(file: IO[bytes]) -> dict[str, Any]:
    """The JSON object that a process wrote, or its last line."""
    file.seek(0, os.SEEK_SET)
    text = file.read(_ANSWER_BYTES)
    for part in (text, text.strip().rpartition(b"\n")[2]):
        with contextlib.suppress(ValueError):
            found = json.loads(part)
            return found if isinstance(found, dict) else {}
    return {}
