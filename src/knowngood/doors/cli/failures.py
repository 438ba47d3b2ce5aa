"""How a run ends that did not go well: one line for people or programs, an exit status, and never a traceback."""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
import traceback

import typer

import knowngood
from knowngood.control.files import make_folder, write_durably
from knowngood.core.errors import ExitStatus, KnowngoodError, Retry
from knowngood.doors.cli.output import PipeClosed
from knowngood.doors.cli.session import Session
from knowngood.doors.cli.words import stamp_text

PIPE_CLOSED = 141
"""As a shell reports a program that was ended by SIGPIPE."""

_DETAILS_KEPT = 50


def report(wrong: BaseException, session: Session) -> int:
    """Tell what went wrong; return the exit status."""
    if isinstance(wrong, PipeClosed) or (isinstance(wrong, BrokenPipeError) and session.out.unread):
        session.out.abandon()
        return PIPE_CLOSED
    if isinstance(wrong, typer.Exit):
        return wrong.exit_code
    if isinstance(wrong, KnowngoodError):
        return _tell(session, **wrong.as_dict(), exit_status=wrong.exit_status)
    if isinstance(wrong, typer.TyperException):
        return _misunderstood(wrong, session)
    if isinstance(wrong, KeyboardInterrupt | typer.Abort):
        return _tell(
            session,
            code="interrupted",
            message="interrupted",
            hint="run the same command again to go on",
            retry=Retry.NOW,
            exit_status=ExitStatus.INTERRUPTED,
        )
    return _unexpected(wrong, session)


def _tell(session: Session, *, code: str, message: str, hint: str, retry: str, exit_status: int) -> int:
    session.out.error({"code": code, "message": message, "hint": hint, "retry": str(retry), "exit_status": exit_status})
    return exit_status


def _misunderstood(wrong: typer.TyperException, session: Session) -> int:
    """The words of the command: what typer says, in our form."""
    session.settings.json |= "--json" in session.arguments  # it may stand behind what was not understood
    context = getattr(wrong, "ctx", None)
    message = " ".join(wrong.format_message().split()).rstrip(".")
    if not message:  # a group without a command: its help was printed
        return ExitStatus.USAGE
    hint = f"{context.command_path} --help" if context else "knowngood --help"
    message = message[:1].lower() + message[1:]
    return _tell(session, code="usage", message=message, hint=hint, retry=Retry.NEVER, exit_status=ExitStatus.USAGE)


def _unexpected(wrong: BaseException, session: Session) -> int:
    what = f"unexpected {type(wrong).__name__}: {wrong}".splitlines()[0][:300]
    try:
        hint = f"the details are in {write_details(wrong, session)}; please report them"
    except (KnowngoodError, OSError):
        hint = "the details could not be written; run the command again with --home at a folder that you can write to"
    return _tell(session, code="unexpected", message=what, hint=hint, retry=Retry.NEVER, exit_status=ExitStatus.FAILED)


def write_details(wrong: BaseException, session: Session) -> str:
    """The traceback and its surroundings, in the home, or in the temporary folder while there is no home."""
    text = "\n".join(
        [
            f"command: {session.command}",
            f"version: {knowngood.__version__}",
            f"python: {platform.python_version()} on {platform.platform()}",
            "",
            "".join(traceback.format_exception(wrong)),
        ]
    )
    folder = session.home.errors if session.home.exists() else tempfile.gettempdir()
    name = f"knowngood-{stamp_text()}-{os.getpid()}.txt"
    data = text.encode("utf-8", "backslashreplace")
    try:
        make_folder(folder)
        _let_go_of_old(folder)
        write_durably(os.path.join(folder, name), data)
    except KnowngoodError:
        folder = tempfile.gettempdir()
        write_durably(os.path.join(folder, name), data)
    return os.path.join(folder, name)


def _let_go_of_old(folder: str) -> None:
    ours = sorted(each for each in os.listdir(folder) if each.startswith("knowngood-") and each.endswith(".txt"))
    for name in ours[: -_DETAILS_KEPT + 1]:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, name))
