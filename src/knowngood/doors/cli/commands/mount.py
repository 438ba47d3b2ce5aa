"""`knowngood mount`: all points as a file system, to look into with any program."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from knowngood.doors.cli.opening import PassphraseFile, RecoveryKeyFile, workshop
from knowngood.doors.cli.session import current
from knowngood.doors.cli.words import absolute, count_text
from knowngood.doors.mount.serve import serve
from knowngood.doors.mount.shelf import Listing

app = typer.Typer()
_TOLD = 1000  # different troubles that are told of


@app.command(help="Show all points as a read-only file system, until Ctrl-C: FOLDER/SERVICE/COMPONENT/MOMENT/…")
def mount(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(help="An empty folder.", metavar="FOLDER")],
    service: Annotated[str, typer.Option("--service", "-s", help="Only this service.", metavar="NAME")] = "",
    allow_other: Annotated[
        bool, typer.Option("--allow-other", help="Other users may look, too, as far as the rights of files allow.")
    ] = False,
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """Mount."""
    session = current(context)
    out = session.out
    parts = workshop(session, passphrase_file, recovery_key_file).parts()
    where = absolute(folder)
    told: set[tuple[str, str]] = set()

    def ready(listing: Listing) -> None:
        services = [name.decode() for name in listing.services]
        fields = {"folder": where, "process": os.getpid(), "services": services}

        def tell() -> None:
            out.note(f"mounted at {where}: {count_text(len(services), 'service')} ({', '.join(services[:10])})")
            out.note(f"look into {where}/SERVICE/COMPONENT/latest, or any moment, such as 14:02")
            out.note(f"stop with Ctrl-C, or: umount {where}")

        out.result("mount", fields, tell)
        out.close()  # whoever waits for it learns of it now

    def trouble(path: str, reason: str) -> None:
        if len(told) < _TOLD and (path, reason) not in told:
            told.add((path, reason))
            if out.as_json:
                out.event({"event": "unreadable", "path": path, "reason": reason})
            else:
                out.warn(f"{path}: {reason}")

    serve(where, parts, service=service or None, allow_other=allow_other, ready=ready, trouble=trouble)
    out.note(f"{where} is unmounted")
