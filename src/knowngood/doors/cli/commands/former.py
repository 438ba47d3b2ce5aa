"""`knowngood former`: what recoveries in place have replaced and kept, and letting it go."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from knowngood.control.former import Former, bytes_of, drop_former, list_former
from knowngood.core.errors import ExitStatus, NotFound
from knowngood.core.instants import iso_text, when_text
from knowngood.core.sizes import bytes_text
from knowngood.doors.cli.opening import confirmed
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import current
from knowngood.doors.cli.words import absolute

app = typer.Typer()


@app.command(help="List what recoveries in place have replaced and kept; with --drop, remove it for good.")
def former(
    context: typer.Context,
    drop: Annotated[
        list[str] | None, typer.Option("--drop", help="Remove this one: its path, as it is listed.", metavar="PATH")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before removing.")] = False,
) -> int:
    """List, or remove."""
    session = current(context)
    known = list_former(session.home)
    wanted = [absolute(each) for each in drop or ()]
    if unknown := set(wanted) - {each.path for each in known}:
        raise NotFound(f"no recovery of this home has kept {min(unknown)}", hint="see: knowngood former")
    chosen = [each for each in known if each.path in wanted] if wanted else list(known)
    sizes = [bytes_of(each) for each in chosen]
    lines = [_line(each, size) for each, size in zip(chosen, sizes, strict=True)]
    dropping = bool(wanted) and not dry_run
    if dropping:
        for line in lines:
            session.out.note(f"to be removed: {line}")
        dropping = confirmed(session, "remove this for good?", yes=yes, silence_is_no=True)
    if dropping:
        with session.lock():
            for each in chosen:
                drop_former(session.home, each)
    fields = {"former": [_shape(*each) for each in zip(chosen, sizes, strict=True)], "dropped": dropping}
    freed = f"{bytes_text(sum(sizes))} freed" if dropping else ""
    session.out.result("former", fields, lambda: _tell(session.out, lines, freed))
    return ExitStatus.DONE


def _shape(one: Former, size: int) -> dict[str, Any]:
    return {
        "service": one.service,
        "component": one.component,
        "path": one.path,
        "since": iso_text(one.since_ns),
        "bytes": size,
    }


def _line(one: Former, size: int) -> str:
    return f"{one.path} ({one.service}/{one.component}, replaced {when_text(one.since_ns)}, {bytes_text(size)})"


def _tell(out: Output, lines: list[str], freed: str) -> None:
    if freed:
        out.note(freed)
        return
    for line in lines:
        out.line(line)
    if not lines:
        out.note("nothing is kept")
