"""Jobs: what was begun from the console. Each is one of our commands in a process of its own: it shows its progress,
can be stopped as Ctrl-C stops it, and takes nothing along when it dies. They are remembered until the server ends."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import IO, Any

from knowngood.control.home import Home
from knowngood.core.errors import ExitStatus, NotFound
from knowngood.core.ids import new_id
from knowngood.core.instants import SECOND, now_ns
from knowngood.core.sizes import bytes_text, span_text
from knowngood.doors.cli.words import count_text
from knowngood.doors.console.keyhole import as_file

_KEPT = 100
_LOG_LINES = 200
_ANSWER_BYTES = 4 << 20
_ENDING = 20.0


class Job:
    """One command that runs, or has ended. Its values are replaced by its reader, and read by pages."""

    def __init__(self, home: Home, words: Sequence[str], title: str, back: str, key: bytes | None) -> None:
        """Begin; with the vault's recovery key, where the command takes one. Raises OSError."""
        self.id = new_id().hex()
        self.title = title
        self.back = back  # the address of what it is about
        self.command = shlex.join(["knowngood", *words])
        self.began_ns = now_ns()
        self.ended_ns: int | None = None
        self.status: int | None = None
        self.document: dict[str, Any] = {}
        self.error: dict[str, Any] = {}
        self.progress: dict[str, Any] = {}
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        with as_file(key) as file:
            given = [] if file is None else [f"--recovery-key-file=/proc/self/fd/{file}"]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "knowngood", "--home", home.path, "--json", "--events", *words, *given],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[] if file is None else [file],
            )
        self._reader = threading.Thread(target=self._read, name="job", daemon=True)
        self._reader.start()

    @property
    def state(self) -> str:
        """`running`, `done`, `incomplete`, `stopped` or `failed`."""
        match self.status:
            case None:
                return "running"
            case ExitStatus.DONE:
                return "done"
            case ExitStatus.INCOMPLETE:
                return "incomplete"
            case ExitStatus.INTERRUPTED:
                return "stopped"
        return "failed"

    @property
    def part(self) -> float | None:
        """How much of it is done, from 0 to 1; None while unknown."""
        whole, done = self.progress.get("total_bytes"), self.progress.get("bytes", 0)
        return min(1.0, done / whole) if whole else None

    @property
    def text(self) -> str:
        """How far it is."""
        found = self.progress
        if not found:
            return "starting"
        parts = [found["phase"] or "starting"]
        if found["files"]:
            parts.append(count_text(found["files"], "file"))
        if found["bytes"]:
            whole = f" of {bytes_text(found['total_bytes'])}" if found["total_bytes"] else ""
            parts.append(bytes_text(found["bytes"]) + whole)
        if found["bytes_per_second"]:
            parts.append(f"{bytes_text(found['bytes_per_second'])}/s")
        if found["seconds_left"] is not None:
            parts.append(f"{span_text(found['seconds_left'])} left")
        return " · ".join(parts)

    @property
    def seconds(self) -> float:
        """How long it ran, or has run."""
        return ((self.ended_ns or now_ns()) - self.began_ns) / SECOND

    def stop(self) -> None:
        """As Ctrl-C does."""
        if self.status is None:
            self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Stop it and wait for it; the server ends."""
        self.stop()
        self._reader.join(_ENDING)
        if self._reader.is_alive():
            self._process.kill()
            self._reader.join()

    # ------------------------------------------------------------------------------------------------ its reader

    def _read(self) -> None:
        answer: list[bytes] = []
        assert self._process.stdout
        assert self._process.stderr
        hearing = threading.Thread(target=_take, args=(self._process.stdout, answer), name="job answer", daemon=True)
        hearing.start()
        with self._process:
            for line in self._process.stderr:
                self._hear(line)
            hearing.join()
        self.document = _object(b"".join(answer))
        self.ended_ns = now_ns()
        self.status = self._process.wait()

    def _hear(self, line: bytes) -> None:
        found = _object(line)
        if "error" in found:
            self.error = found["error"]
            self.log.append(f"{self.error['message']}")
        elif found.get("event") in ("phase", "progress", "end"):
            if found["event"] == "phase":
                self.log.append(found["phase"])
            self.progress = found
        elif not found:
            self.log.append(line.decode("utf-8", "replace").rstrip())


def _take(stream: IO[bytes], into: list[bytes]) -> None:
    """All of it, so that the writer never waits; what is too long is not kept."""
    length = 0
    while piece := stream.read(1 << 16):
        length += len(piece)
        if length <= _ANSWER_BYTES:
            into.append(piece)


def _object(text: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        return found if isinstance(found, dict) else {}
    return {}


class Jobs:
    """All of them, newest first."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._known: dict[str, Job] = {}

    def start(self, words: Sequence[str], title: str, back: str, key: bytes | None = None) -> Job:
        """Begin one."""
        job = Job(self._home, words, title, back, key)
        self._known[job.id] = job
        for old in [each for each in self._known.values() if each.status is not None][:-_KEPT]:
            del self._known[old.id]
        return job

    def get(self, id_: str) -> Job:
        """The one of this id. Raises NotFound."""
        job = self._known.get(id_)
        if job is None:
            raise NotFound("there is no such job; those of before the server's last start are forgotten")
        return job

    def all(self) -> list[Job]:
        """Newest first."""
        return list(reversed(self._known.values()))

    def end(self) -> None:
        """The server ends: so do they."""
        for each in self.all():
            each.end()
