"""Somebody at the command line: a home, a vault, and the words that are typed there."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knowngood.control.plugins import Plugins
from knowngood.doors.cli import app
from knowngood.plugins import PLUGINS

PROGRAM = Path(sys.executable).with_name("knowngood")
_OURS = ("KNOWNGOOD_", "XDG_STATE_HOME")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to."""

    status: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        """Standard output as text."""
        return self.raw.decode()

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.raw)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a run with --json: the last line on standard error."""
        return json.loads(self.err.splitlines()[-1])["error"]

    @property
    def next(self) -> str:
        """What the error says to do next; nothing when it says nothing."""
        return next((line[6:] for line in self.err.splitlines() if line.startswith("next: ")), "")


@dataclass
class User:
    """One machine's home and vault below a folder. Commands run in this process, or as the installed program."""

    folder: Path
    home: Path = field(default_factory=Path)
    vault: Path = field(default_factory=Path)
    plugins: Plugins = PLUGINS

    def __post_init__(self) -> None:
        self.home = self.folder / "home" if self.home == Path() else self.home
        self.vault = self.folder / "vault" if self.vault == Path() else self.vault

    # ------------------------------------------------------------------------------------------------- commands

    def does(self, *words: str | Path, status: int = 0, typed: str | None = None) -> Answer:
        """A command in this process, which must end with this exit status; `typed` is what somebody types meanwhile."""
        arguments = ["--home", str(self.home), *map(str, words)]
        answer = in_process(arguments, self.plugins, typed=typed)
        assert answer.status == status, f"{arguments}: {answer}"
        return answer

    def asks(self, *words: str | Path, status: int = 0) -> Any:
        """The document that a command answers with --json."""
        return self.does(*words, "--json", status=status).json

    def types(self, *words: str | Path, status: int = 0, prefix: Sequence[str] = ()) -> Answer:
        """A command of the installed program, which must end with this exit status."""
        done = subprocess.run(
            [*prefix, PROGRAM, *map(str, words)],
            check=False,
            capture_output=True,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
        )
        answer = Answer(done.returncode, done.stdout, done.stderr.decode())
        assert answer.status == status, f"{words}: {answer}"
        return answer

    def environment(self) -> dict[str, str]:
        """What a process of this user finds around it."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return {**clean, "KNOWNGOOD_HOME": str(self.home)}

    # ------------------------------------------------------------------------------------------------ short words

    def begins(self, service: str = "shop", *paths: str | Path, words: Sequence[str] = ()) -> None:
        """Make a vault whose key stays here, and a service of these folders."""
        self.does("init", "--vault", self.vault, "--no-passphrase")
        if paths:
            self.does("service", "add", service, *(word for path in paths for word in ("--files", path)), *words)

    def protects(self, service: str = "shop", *words: str, status: int = 0) -> dict[str, Any]:
        """Make a point; returns it."""
        return self.asks("protect", service, *words, status=status)["point"]

    def points(self, service: str = "shop", *words: str) -> list[str]:
        """Ids of the points, newest first."""
        return [point["id"] for point in self.asks("points", service, *words)["points"]]


def in_process(arguments: Sequence[str], plugins: Plugins = PLUGINS, *, typed: str | None = None) -> Answer:
    """Run one command here, with streams of its own.

    Nobody is at the terminal; or somebody is, who types this. Standard output is never a terminal.
    """
    out, err = io.BytesIO(), io.BytesIO()
    with _streams(out, err, typed), _environment({} if typed is None else {"TERM": "xterm", "NO_COLOR": "1"}):
        status = app.run(arguments, plugins)
        sys.stdout.flush()
        sys.stderr.flush()
    return Answer(status, out.getvalue(), err.getvalue().decode())


class _Terminal(io.TextIOWrapper):
    """Looks like somebody's terminal."""

    def isatty(self) -> bool:
        """It says so."""
        return True


@contextlib.contextmanager
def _streams(out: io.BytesIO, err: io.BytesIO, typed: str | None) -> Iterator[None]:
    kept = sys.stdin, sys.stdout, sys.stderr
    kind = io.TextIOWrapper if typed is None else _Terminal
    streams = [
        kind(io.BytesIO((typed or "").encode()), encoding="utf-8"),
        io.TextIOWrapper(out, encoding="utf-8", write_through=True),
        kind(err, encoding="utf-8", write_through=True),
    ]
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = kept
        for each in streams:
            each.detach()


@contextlib.contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    kept = dict(os.environ)
    for name in [each for each in os.environ if each.startswith(_OURS)]:
        del os.environ[name]
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
