"""What a command answers: tables and sentences for people, or one JSON document. Errors go to standard error."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from knowngood.core.buffers import Buffer
from knowngood.core.errors import KnowngoodError, NoSpace
from knowngood.doors.cli.words import clean


class PipeClosed(Exception):
    """Whoever read our standard output has stopped reading."""


def is_terminal(stream: TextIO) -> bool:
    """Whether lines can be drawn over there."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


class Output:
    """One per run. Human text is made safe for terminals; with `as_json`, only `result` writes to standard output."""

    def __init__(
        self,
        *,
        as_json: bool = False,
        quiet: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.stdout = sys.stdout if stdout is None else stdout
        self.stderr = sys.stderr if stderr is None else stderr
        self.warnings: list[str] = []
        self.before_writing: Callable[[], None] | None = None  # takes a progress line off the terminal
        self.lock = threading.RLock()  # a progress line and what is written take turns
        self._answered = False

    # ------------------------------------------------------------------------------------------------------ answers

    def result(self, document: str, fields: Mapping[str, Any], human: Callable[[], None]) -> None:
        """The answer of a command: as a JSON document of this name, or by calling `human`. Once per run."""
        if not self.as_json:
            human()
            return
        if self._answered:
            raise RuntimeError(f"a second document, {document}, in one run")
        self._answered = True
        whole = {"document": document, **fields, "warnings": self.warnings}
        self._write(json.dumps(whole, indent=2, default=_plain) + "\n")

    def line(self, text: str = "") -> None:
        """A line of the answer, for people."""
        self._write(clean(text) + "\n")

    def raw(self, data: Buffer) -> None:
        """Bytes of the answer as they are, such as the content of a file."""
        with self.lock:
            try:
                self.stdout.flush()
                self.stdout.buffer.write(data)
            except OSError as wrong:
                raise self._unwritten(wrong) from wrong

    def note(self, text: str) -> None:
        """A line that says what was done; left out with --quiet and --json."""
        if not self.quiet and not self.as_json:
            self.line(text)

    def pairs(self, rows: Sequence[tuple[str, str]]) -> None:
        """Labels and values, one below the other."""
        width = max((len(label) for label, _ in rows), default=0)
        for label, value in rows:
            self.line(f"{label:<{width}}  {clean(value)}".rstrip())

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
        """A table; the columns whose numbers are in `right` are aligned to the right."""
        cells = [[clean(cell) for cell in row] for row in rows]
        if is_terminal(self.stdout):
            self._write(_rich_table(columns, cells, right))
        else:
            self._write(_plain_table(columns, cells, right))

    # -------------------------------------------------------------------------------------------------- on the side

    def warn(self, text: str) -> None:
        """Something to know that stops nothing. With --json it is part of the document."""
        self.warnings.append(text)
        if not self.as_json:
            self._complain(f"{self._paint('warning:', 33)} {clean(text, lines=True)}\n")

    def error(self, what: Mapping[str, Any]) -> None:
        """The end of a run that failed: `code`, `message`, `hint`, `retry`, `exit_status`."""
        if self.as_json:
            self._complain(json.dumps({"error": dict(what), "warnings": self.warnings}) + "\n")
            return
        text = f"{self._paint('error:', 31)} {clean(str(what['message']), lines=True)}\n"
        if what["hint"]:
            text += f"{self._paint('next:', 36)} {clean(str(what['hint']), lines=True)}\n"
        self._complain(text)

    def event(self, fields: Mapping[str, Any]) -> None:
        """One line of JSON on standard error, for --events."""
        self._complain(json.dumps(fields) + "\n")

    def log(self, line: str) -> None:
        """One line of a log on standard error, free of colours."""
        self._complain(clean(line) + "\n")

    def close(self) -> None:
        """Make sure that everything was taken. Raises PipeClosed, or what the disk below said."""
        try:
            self.stdout.flush()
        except OSError as wrong:
            raise self._unwritten(wrong) from wrong

    @property
    def unread(self) -> bool:
        """Whether nobody reads the answer any more; the help is written past us."""
        try:
            self.stdout.flush()
        except BrokenPipeError:
            return True
        return False

    def abandon(self) -> None:
        """Write nothing more, not even when Python ends."""
        with open(os.devnull, "wb") as nowhere:
            for stream in (self.stdout, self.stderr):
                try:
                    os.dup2(nowhere.fileno(), stream.fileno())
                except (OSError, ValueError):
                    continue  # not a file, or closed already

    # ------------------------------------------------------------------------------------------------------ writing

    def _write(self, text: str) -> None:
        with self.lock:
            if self.before_writing:
                self.before_writing()
            try:
                self.stdout.write(_encodable(text, self.stdout))
            except OSError as wrong:
                raise self._unwritten(wrong) from wrong

    def _complain(self, text: str) -> None:
        with self.lock:
            if self.before_writing:
                self.before_writing()
            with contextlib.suppress(OSError, ValueError):  # nobody listens; the exit status still tells
                self.stderr.write(_encodable(text, self.stderr))
                self.stderr.flush()

    def _unwritten(self, wrong: OSError) -> Exception:
        if wrong.errno == errno.EPIPE:
            return PipeClosed()
        kind = NoSpace if wrong.errno == errno.ENOSPC else KnowngoodError
        return kind(f"cannot write the answer: {wrong.strerror}")

    def _paint(self, text: str, colour: int) -> str:
        if not is_terminal(self.stderr) or os.environ.get("NO_COLOR"):
            return text
        return f"\x1b[{colour}m{text}\x1b[0m"


def _encodable(text: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    if encoding.lower().replace("-", "") == "utf8":
        return text
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _plain_table(columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    rows = [columns, *cells]
    widths = [max(len(row[number]) for row in rows) for number in range(len(columns))]
    lines = []
    for row in rows:
        aligned = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(aligned).rstrip() + "\n")
    return "".join(lines)


def _rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, title in enumerate(columns):
        table.add_column(title, justify="right" if number in right else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    console = Console()
    with console.capture() as drawn:
        console.print(table)
    return drawn.get()
