"""`knowngood init`: make a vault, or join one, and print the recovery kit."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from knowngood.control.workshop import RecoveryKit
from knowngood.core.errors import Exists, UsageError
from knowngood.doors.cli.opening import (
    PassphraseFile,
    RecoveryKeyFile,
    ask_new_passphrase,
    read_passphrase,
    workshop,
)
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import Session, current
from knowngood.doors.cli.words import absolute

app = typer.Typer()


@app.command(help="Make a vault for this machine, or join one that exists; prints the recovery kit once.")
def init(
    context: typer.Context,
    vault: Annotated[str, typer.Option("--vault", help="Folder of the vault.", metavar="DIR")] = "",
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Keep the private key on this machine instead.")
    ] = False,
    join: Annotated[bool, typer.Option("--join", help="Use a vault that is already there.")] = False,
) -> None:
    """Make or join a vault."""
    session = current(context)
    if passphrase_file and no_passphrase and not join:
        raise UsageError("--passphrase-file and --no-passphrase exclude each other", hint="leave one of the two out")
    with session.lock():
        present = session.home.config().vault
        location = absolute(vault) if vault else present or os.path.join(session.home.path, "vault")
        if present is not None and not (join and present == location):  # to join it once more renews the keys here
            raise Exists(
                f"this home already uses the vault {present}",
                hint="use another home for another vault: knowngood --home DIR init --vault DIR",
            )
        if os.path.exists(location) and not os.path.isdir(location):
            raise UsageError(f"{location} is not a folder", hint="name a folder with --vault")
        shop = workshop(session, passphrase_file, recovery_key_file)
        if join:
            joined = shop.join_vault(location, keep=no_passphrase)
            fields = {"vault": location, "vault_id": joined.id.hex(), "joined": True, "recovery_key": None}
            session.out.result("init", fields, lambda: _tell_joined(session, location, kept=no_passphrase))
            return
        passphrase = None if no_passphrase else _new_passphrase(passphrase_file)
        kit = shop.create_vault(location, passphrase)
    fields = {"vault": location, "vault_id": kit.vault_id, "joined": False, "recovery_key": kit.recovery_key}
    session.out.result("init", fields, lambda: print_kit(session.out, kit))


def _tell_joined(session: Session, location: str, *, kept: bool) -> None:
    session.out.note(f"joined the vault {location}")
    key = "" if kept else " --recovery-key-file FILE"
    session.out.note(f"next, to have its services here: knowngood service adopt --all{key}")


def _new_passphrase(path: str) -> bytes:
    passphrase = read_passphrase(path) if path else ask_new_passphrase()
    if passphrase is None:
        raise UsageError(
            "there is nobody to ask for a passphrase", hint="give --passphrase-file FILE, or --no-passphrase"
        )
    return passphrase


def print_kit(out: Output, kit: RecoveryKit) -> None:
    """The recovery kit, for people: to be printed or written down, and kept away from this machine."""
    out.line("RECOVERY KIT: keep this away from this machine; it is not shown again by itself")
    out.line()
    out.pairs([("vault", kit.vault), ("vault id", kit.vault_id), ("recovery key", kit.recovery_key)])
    out.line()
    out.line("With the vault's folder and this key everything can be recovered, on any machine:")
    out.line(f"  knowngood init --vault {kit.vault} --join --recovery-key-file FILE")
    out.line("  knowngood service adopt --all --recovery-key-file FILE")
    out.line("  knowngood recover SERVICE --recovery-key-file FILE")
    out.line("or, without this program, with the single file rescue.py.")
    if kit.kept_here:
        out.line("The key is also kept on this machine, so that recovery asks for nothing.")
    if kit.passphrase:
        out.line("The vault also opens with its passphrase.")
