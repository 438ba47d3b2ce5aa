"""Arguments and options that several commands share."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from knowngood.doors.cli.session import Session


def complete_service(context: typer.Context, incomplete: str) -> list[str]:
    """Names of services, for the shell. Broken files count: their names are what is to be mended."""
    session = context.find_object(Session) or Session(())
    try:
        names = os.listdir(session.home.services)
    except OSError:
        return []
    return sorted(
        each.removesuffix(".yaml") for each in names if each.startswith(incomplete) and each.endswith(".yaml")
    )


ServiceName = Annotated[
    str, typer.Argument(metavar="SERVICE", help="Name of the service.", autocompletion=complete_service)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be changed; change nothing.")]
