"""What commands need from a vault: the workshop, and where a passphrase or a recovery key comes from."""

from __future__ import annotations

import os
import sys
from getpass import getpass
from typing import Annotated

import typer

from knowngood.control.files import read_bounded
from knowngood.control.keyring import Secrets
from knowngood.control.workshop import Workshop
from knowngood.core.errors import NotFound, UsageError
from knowngood.doors.cli.output import is_terminal
from knowngood.doors.cli.session import Session
from knowngood.seal.keys import parse_recovery_text

_LIMIT = 4096
_KEYS = "Keys"
PassphraseFile = Annotated[
    str,
    typer.Option(
        "--passphrase-file",
        help="File whose first line is the vault's passphrase.",
        metavar="FILE",
        envvar="KNOWNGOOD_PASSPHRASE_FILE",
        rich_help_panel=_KEYS,
    ),
]
RecoveryKeyFile = Annotated[
    str,
    typer.Option(
        "--recovery-key-file", help="File with the recovery key of the kit.", metavar="FILE", rich_help_panel=_KEYS
    ),
]


def _read(path: str, what: str) -> bytes:
    try:
        return read_bounded(path, _LIMIT)
    except NotFound as wrong:
        raise NotFound(wrong.message, hint=f"name a file with {what} in it") from None


def read_passphrase(path: str) -> bytes:
    """The first line of a file. Raises NotFound, or UsageError when it is empty."""
    data = _read(path, "the passphrase") if path != "-" else sys.stdin.buffer.readline(_LIMIT)
    line = data.split(b"\n", 1)[0].rstrip(b"\r")
    if not line:
        raise UsageError(f"the first line of {path} is empty; a passphrase is expected there")
    return line


def read_recovery_key(path: str) -> bytes:
    """The recovery key in a file. Raises NotFound, or UsageError when a letter of it is wrong."""
    return parse_recovery_text(_read(path, "the recovery key").decode("utf-8", "replace"))


def _ask() -> bytes | None:
    if not (sys.stdin.isatty() and is_terminal(sys.stderr)):
        return None
    return getpass("passphrase of the vault: ", sys.stderr).encode()


def ask_new_passphrase() -> bytes | None:
    """Ask twice for a new passphrase; None when there is nobody to ask. Raises UsageError when they differ."""
    if not (sys.stdin.isatty() and is_terminal(sys.stderr)):
        return None
    first = getpass("new passphrase for the vault: ", sys.stderr)
    if not first:
        raise UsageError("an empty passphrase", hint="to keep the key on this machine instead: --no-passphrase")
    if getpass("once more: ", sys.stderr) != first:
        raise UsageError("the two differ; nothing was changed", hint="run the command again")
    return first.encode()


def workshop(session: Session, passphrase_file: str = "", recovery_key_file: str = "") -> Workshop:
    """The workshop of the session's home, closed with it. Secrets are read only when something asks for them."""

    def recovery_key() -> bytes | None:
        return read_recovery_key(recovery_key_file) if recovery_key_file else None

    def passphrase() -> bytes | None:
        return read_passphrase(passphrase_file) if passphrase_file else _ask()

    shop = Workshop(session.home, session.plugins, Secrets(passphrase, recovery_key))
    session.ending.callback(shop.close)
    return shop


def confirmed(session: Session, question: str, *, yes: bool, silence_is_no: bool = False) -> bool:
    """Whether to go on: `yes`, nobody there to ask, or a person who says so.

    With `silence_is_no`, nobody there to ask is not enough. Raises UsageError then.
    """
    if yes:
        return True
    if session.settings.json or not (sys.stdin.isatty() and is_terminal(sys.stderr)):
        if silence_is_no:
            raise UsageError("nobody is there to ask", hint="when you are certain: the same command with --yes")
        return True
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201 - a question, not an answer
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def show_bytes(path: bytes) -> str:
    """A path as text; bytes that are not UTF-8 are made visible later, by the output."""
    return os.fsdecode(path)
