"""The program `knowngood`: global options, commands that are loaded when they are called, and how a run ends."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import knowngood
from knowngood.control.plugins import Plugins
from knowngood.core.errors import ExitStatus
from knowngood.doors.cli.failures import report
from knowngood.doors.cli.registry import COMMANDS
from knowngood.doors.cli.session import Session, current

PROGRAM = "knowngood"
_COMPLETE = "_KNOWNGOOD_COMPLETE"  # set by the shell when it asks for completions
_EVERYWHERE = "Everywhere"


# --------------------------------------------------------------------------------------------------- global options


def _set(context: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """Note a global option where it was given; where it was not, what was noted before stays."""
    session = context.find_object(Session)
    if value and session is not None:
        setattr(session.settings, param.name, value)
    return value


def _option(flag: str, help_text: str, **more: Any) -> Any:
    return typer.Option(
        flag,
        help=help_text,
        callback=_set,
        expose_value=False,
        is_eager=True,
        rich_help_panel=_EVERYWHERE,
        show_default=False,
        **more,
    )


def _everywhere(
    home: Annotated[str, _option("--home", "Folder of configuration, keys and services.", metavar="FOLDER")] = "",
    json: Annotated[bool, _option("--json", "Answer with one JSON document.")] = False,
    quiet: Annotated[bool, _option("--quiet", "Say only what was asked for, and errors.")] = False,
    events: Annotated[bool, _option("--events", "Report progress as lines of JSON on standard error.")] = False,
) -> None:
    """Options that can stand before and after every command."""


@cache
def _global_options() -> tuple[Any, ...]:
    template = typer.Typer(add_completion=False)
    template.command()(_everywhere)
    return tuple(typer.main.get_command(template).params)


def _with_global_options(command: Any) -> Any:
    command.params.extend(_global_options())
    if isinstance(command, TyperGroup):
        for each in command.commands.values():
            _with_global_options(each)
    return command


# ------------------------------------------------------------------------------------------------------ lazy loading


@cache
def load(name: str) -> Any:
    """A command with all that it needs; its module is imported now."""
    entry = COMMANDS[name]
    command = typer.main.get_command(getattr(importlib.import_module(entry.module), entry.app))
    command.name = name
    return _with_global_options(command)


class LazyGroup(TyperGroup):
    """Knows every command by name and summary; imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, entry in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=entry.summary, rich_help_panel=entry.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that was named, and the words after it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name is not None and command is not None else command, rest


app = typer.Typer(
    cls=LazyGroup,
    help="Keep services recoverable to any moment, and prove it.",
    epilog="The point of backup is recovery. Begin with: knowngood init",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(context: typer.Context, value: bool) -> None:
    if value:
        current(context).out.line(f"{PROGRAM} {knowngood.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        for line in context.get_help().splitlines():  # empty when rich has drawn it
            current(context).out.line(line)
        raise typer.Exit(ExitStatus.USAGE)


# --------------------------------------------------------------------------------------------------------------- run


@cache
def _program() -> Any:
    command = typer.main.get_command(app)
    command.params.extend(_global_options())
    return command


def run(arguments: Sequence[str], plugins: Plugins) -> int:
    """Run one command; returns the exit status. A command may return one; None is 0."""
    session = Session(arguments, plugins)
    try:
        with session.ending, _program().make_context(PROGRAM, list(arguments), obj=session) as context:
            status = context.command.invoke(context)
        session.out.close()
        return status if isinstance(status, int) else ExitStatus.DONE
    except (Exception, KeyboardInterrupt) as wrong:  # noqa: BLE001 every run ends in one line and a status
        return _ended(wrong, session)


def _ended(wrong: BaseException, session: Session) -> int:
    status = report(wrong, session)
    try:
        session.out.close()
    except Exception as worse:  # noqa: BLE001 the same
        session.out.abandon()
        return status or report(worse, session)
    return status


def main(plugins: Plugins) -> None:
    """Run the words of the command line, and end the process."""
    if os.environ.get(_COMPLETE):
        _program().main(prog_name=PROGRAM)  # answers the shell, and ends
    sys.exit(run(sys.argv[1:], plugins))
