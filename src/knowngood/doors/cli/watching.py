"""Look again and again: on a terminal one picture that changes, elsewhere a line whenever the answer is another one."""

from __future__ import annotations

import io
import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from knowngood.core.errors import UsageError
from knowngood.core.instants import now_ns, when_text
from knowngood.doors.cli.output import Output, is_terminal

EVERY = 2.0
"""Seconds between two looks."""
_QUIT = b"qQ\x03\x04"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: the exit status for it, what makes it another answer than the one before, one sentence, and
    all of it for people."""

    status: int
    answer: object
    line: str
    tell: Callable[[Output], None]


def keep_looking(out: Output, look: Callable[[], Look]) -> int:
    """Until somebody types q or Ctrl-C, or reads no more. The exit status of the last look. Raises UsageError, and what
    a look raises."""
    if out.as_json:
        raise UsageError("a view that changes has no document", hint="leave out --watch, and ask as often as you like")
    with _keys(out) as keys, _picture(out, keys) as show:
        found = look()
        try:
            show(found)
            while not _enough(keys):
                found = look()
                show(found)
        except KeyboardInterrupt:
            pass
    return found.status


@contextmanager
def _picture(out: Output, keys: int) -> Iterator[Callable[[Look], None]]:
    """Shows what was found."""
    if not is_terminal(out.stdout):
        before: object = None

        def write(found: Look) -> None:
            nonlocal before
            if found.answer != before:
                out.line(f"{when_text(now_ns())}  {found.line}")
                out.close()  # at once; and we see when nobody reads any more
                before = found.answer

        yield write
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=out.stdout, highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:

        def draw(found: Look) -> None:
            below = f"{when_text(now_ns())}, every {EVERY:.0f} s; {'q' if keys >= 0 else 'Ctrl-C'} ends it"
            live.update(Text(f"{_drawn(out, found, console.width)}\n\n{below}", no_wrap=True), refresh=True)

        yield draw


def _drawn(out: Output, found: Look, width: int) -> str:
    """What the command says without --watch."""
    drawn = io.StringIO()
    found.tell(Output(stdout=drawn, stderr=out.stderr))
    return "\n".join(line[:width] for line in drawn.getvalue().splitlines())


@contextmanager
def _keys(out: Output) -> Iterator[int]:
    """Where single keys can be read while the block runs; -1 for nowhere."""
    if not is_terminal(out.stdout) or not is_terminal(sys.stdin):
        yield -1
        return
    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    try:
        tty.setcbreak(keys)
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)


def _enough(keys: int) -> bool:
    """Wait until it is time for the next look; whether somebody has typed that there need be none."""
    files = [keys] if keys >= 0 else []
    if not select.select(files, [], [], EVERY)[0]:
        return False
    typed = os.read(keys, 64)
    return not typed or any(each in _QUIT for each in typed)
