"""`knowngood serve`: the console, for a browser on this machine."""

from __future__ import annotations

import os
import secrets
from typing import Annotated

import typer

from knowngood.core.errors import KnowngoodError
from knowngood.doors.cli.failures import write_details
from knowngood.doors.cli.session import Session, current

app = typer.Typer()
_PORT = 8427


@app.command(help="Serve the console to browsers of this machine, until it is stopped; prints the address to open.")
def serve(
    context: typer.Context,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 for any that is free.")] = _PORT,
) -> None:
    """Serve. The address has a key in it, which is good until the server ends; from elsewhere, come through ssh -L."""
    from knowngood.doors.console.console import Console
    from knowngood.doors.console.desk import Desk
    from knowngood.doors.console.gate import Gate
    from knowngood.doors.console.jobs import Jobs
    from knowngood.doors.console.serving import HOST, listening, serve as serve_console

    session = current(context)
    session.home.vault_path()  # a home without a vault is a mistake, and not a trouble that passes
    key = secrets.token_urlsafe(24)
    with listening(port) as at:
        address = f"http://{HOST}:{at.getsockname()[1]}/"
        entrance = f"{address}sign-in?key={key}"
        console = Console(
            Desk(session.home, session.plugins),
            Jobs(session.home),
            Gate(key),
            lambda wrong: _explained(wrong, session),
        )

        def tell() -> None:
            session.out.line(f"open {entrance}")
            session.out.note("who has this address may recover and read everything; Ctrl-C ends the server")

        fields = {"address": address, "entrance": entrance, "process": os.getpid()}
        session.out.result("serve", fields, tell)
        serve_console(console, at)


def _explained(wrong: Exception, session: Session) -> KnowngoodError:
    try:
        where = f"the details are in {write_details(wrong, session)}"
    except (KnowngoodError, OSError):
        where = ""
    found = KnowngoodError(f"something happened that nobody foresaw: {type(wrong).__name__}", hint=where)
    found.code = "unexpected"
    return found
