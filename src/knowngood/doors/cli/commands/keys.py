"""`knowngood vault keys`: which keys there are, the recovery kit, the passphrase, a new key pair."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from knowngood.control.workshop import RecoveryKit
from knowngood.core.errors import UsageError
from knowngood.doors.cli.commands.init import print_kit
from knowngood.doors.cli.opening import (
    PassphraseFile,
    RecoveryKeyFile,
    ask_new_passphrase,
    read_passphrase,
    read_recovery_key,
    workshop,
)
from knowngood.doors.cli.session import Session, current
from knowngood.doors.cli.words import absolute, count_text
from knowngood.vault.descriptor import read_key_files

app = typer.Typer(no_args_is_help=True, help="Keys of the vault.")
NewPassphraseFile = Annotated[
    str, typer.Option("--new-passphrase-file", help="File whose first line is the new passphrase.", metavar="FILE")
]
NoPassphrase = Annotated[
    bool, typer.Option("--no-passphrase", help="Keep the private key on this machine instead of in the vault.")
]


@app.command(help="Show which keys the vault has, and where the private ones are.")
def show(context: typer.Context) -> None:
    """Keys."""
    session = current(context)
    shop = workshop(session)
    here = os.path.exists(session.home.unlocking_key)
    keys = [
        {
            "fingerprint": key.public.fingerprint.hex(),
            "passphrase": key.lock is not None,
            "replaced_keys": len(key.previous),
            "in_use": key.public == shop.vault.writer.public,
        }
        for key in read_key_files(shop.store)
    ]

    def tell() -> None:
        for key in keys:
            lock = "under a passphrase in the vault" if key["passphrase"] else "not in the vault"
            session.out.line(f"{str(key['fingerprint'])[:16]}  private half: {lock}")
        if here:
            session.out.line(f"the private key is kept on this machine: {session.home.unlocking_key}")

    session.out.result("vault keys show", {"keys": keys, "private_key_here": here}, tell)


@app.command(help="Print the recovery kit once more.")
def kit(context: typer.Context, passphrase_file: PassphraseFile = "", recovery_key_file: RecoveryKeyFile = "") -> None:
    """Kit."""
    session = current(context)
    _show_kit(session, workshop(session, passphrase_file, recovery_key_file).kit(), "vault keys kit")


@app.command(help="Give the vault another passphrase, or none.")
def passphrase(
    context: typer.Context,
    new_passphrase_file: NewPassphraseFile = "",
    no_passphrase: NoPassphrase = False,
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """Change it."""
    session = current(context)
    with session.lock():
        shop = workshop(session, passphrase_file, recovery_key_file)
        shop.vault  # noqa: B018 - opened first: a wrong home is told before anybody types a passphrase
        shop.private  # noqa: B018 - unlocked first, for the same reason
        shop.change_passphrase(_chosen(new_passphrase_file, no_passphrase=no_passphrase))
    session.out.result(
        "vault keys passphrase",
        {"passphrase": not no_passphrase},
        lambda: session.out.note("done; the recovery key is the same as before"),
    )


@app.command(help="Replace the key pair: new data is sealed to the new one, nothing is rewritten.")
def rotate(
    context: typer.Context,
    new_passphrase_file: NewPassphraseFile = "",
    no_passphrase: NoPassphrase = False,
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """Rotate."""
    session = current(context)
    with session.lock():
        shop = workshop(session, passphrase_file, recovery_key_file)
        shop.private  # noqa: B018 - unlocked before the new passphrase is asked for
        made = shop.rotate_key(_chosen(new_passphrase_file, no_passphrase=no_passphrase))
    session.out.note("the old recovery kit is void: keep this one")
    _show_kit(session, made, "vault keys rotate")


@app.command(help="Write the vault's key file anew when it is lost, from the recovery key.")
def restore(
    context: typer.Context,
    vault: Annotated[str, typer.Option("--vault", help="Of this vault, not the home's.", metavar="DIR")] = "",
    replaced_key_file: Annotated[
        list[str] | None,
        typer.Option(
            "--replaced-key-file",
            help="File with a recovery key that this one replaced, newest first; can be repeated.",
            metavar="FILE",
        ),
    ] = None,
    new_passphrase_file: NewPassphraseFile = "",
    no_passphrase: NoPassphrase = False,
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """Restore."""
    session = current(context)
    replaced = [read_recovery_key(each) for each in replaced_key_file or ()]
    with session.lock():
        shop = workshop(session, recovery_key_file=recovery_key_file)
        location = absolute(vault) if vault else session.home.vault_path()
        plan = shop.plan_key_restore(location, replaced)
        shop.restore_keys(location, plan, _chosen(new_passphrase_file, no_passphrase=no_passphrase))
    for fingerprint, count in plan.shut.items():
        session.out.warn(
            f"{count_text(count, 'pack')} sealed to a replaced key ({fingerprint.hex()[:16]}) stay shut; with its old "
            "kit: knowngood vault keys restore --replaced-key-file FILE"
        )
    fields = {
        "vault": location,
        "fingerprint": plan.private.public.fingerprint.hex(),
        "passphrase": not no_passphrase,
        "replaced_keys": len(plan.private.previous),
        "naming_from": plan.naming_from,
        "shut_packs": sum(plan.shut.values()),
    }

    def tell() -> None:
        whence = "this home" if plan.naming_from == "home" else "the vault's commits"
        session.out.note(f"the key file is there again; the naming secret came from {whence}")
        session.out.note("the recovery key is the same as before; next: knowngood doctor")

    session.out.result("vault keys restore", fields, tell)


def _chosen(path: str, *, no_passphrase: bool) -> bytes | None:
    if no_passphrase:
        return None
    chosen = read_passphrase(path) if path else ask_new_passphrase()
    if chosen is None:
        raise UsageError(
            "there is nobody to ask for a passphrase", hint="give --new-passphrase-file FILE, or --no-passphrase"
        )
    return chosen


def _show_kit(session: Session, made: RecoveryKit, document: str) -> None:
    fields = {"vault": made.vault, "vault_id": made.vault_id, "recovery_key": made.recovery_key}
    session.out.result(document, fields, lambda: print_kit(session.out, made))
