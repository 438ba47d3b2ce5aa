"""One run of the program: the options that count everywhere, and what commands need from outside."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cached_property

import typer

from knowngood.control.home import Home
from knowngood.control.plugins import Plugins
from knowngood.core.progress import Progress
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.progress import watch


@dataclass
class Settings:
    """Options that can stand before and after a command."""

    home: str = ""
    json: bool = False
    quiet: bool = False
    events: bool = False


class Session:
    """What a command gets as `current(context)`."""

    def __init__(self, arguments: Sequence[str], plugins: Plugins | None = None) -> None:
        self.arguments = tuple(arguments)
        self._plugins = plugins
        self.settings = Settings()
        self.ending = ExitStack()  # what is to be closed when the run ends

    @cached_property
    def out(self) -> Output:
        """Where answers go."""
        return Output(as_json=self.settings.json, quiet=self.settings.quiet)

    @cached_property
    def home(self) -> Home:
        """The home folder; reading commands do not create it."""
        return Home.at(self.settings.home or None)

    @property
    def plugins(self) -> Plugins:
        """The stores and kinds that can be used."""
        if self._plugins is None:
            raise RuntimeError("this run was given no plugins")
        return self._plugins

    @property
    def command(self) -> str:
        """The command as it was typed, for the lock and for details of errors."""
        return shlex.join(["knowngood", *self.arguments])

    def lock(self) -> AbstractContextManager[None]:
        """Hold the home while something is changed. Raises Busy, naming who holds it."""
        return self.home.lock(self.command)

    def watch(self, progress: Progress) -> AbstractContextManager[None]:
        """Show a verb's progress while the block runs: on a terminal, or as events."""
        return watch(progress, self.out, events=self.settings.events)


def current(context: typer.Context) -> Session:
    """The session of a command."""
    session = context.find_object(Session)
    if session is None:
        raise RuntimeError("a command was called without a session")
    return session
