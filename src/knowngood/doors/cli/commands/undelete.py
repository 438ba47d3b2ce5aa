"""`knowngood undelete`: what was deleted, and chosen things back to where they were."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from knowngood.core.errors import ExitStatus
from knowngood.core.instants import iso_text, parse_when, when_text
from knowngood.core.ports import Recovered
from knowngood.core.sizes import bytes_text
from knowngood.doors.cli.commands.look import Component, Service, entry_shape
from knowngood.doors.cli.commands.recover import done_shape, tell_done, tell_plans
from knowngood.doors.cli.opening import PassphraseFile, RecoveryKeyFile, confirmed, show_bytes, workshop
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import current
from knowngood.doors.cli.words import count_text
from knowngood.flow import undelete as flow
from knowngood.flow.choose import named_points
from knowngood.flow.recover import ComponentPlan

app = typer.Typer()


@app.command(help="Show what was deleted since a moment; with --path, bring it back to where it was.")
def undelete(
    context: typer.Context,
    name: Service,
    path: Annotated[
        list[str] | None,
        typer.Option("--path", "-p", help="Bring back this path or pattern, and all below it.", metavar="P"),
    ] = None,
    since: Annotated[str, typer.Option("--since", help="Deleted after this moment.", metavar="WHEN")] = "-1d",
    component: Component = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before writing.")] = False,
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> int:
    """Undelete."""
    session = current(context)
    began, plans = time.monotonic(), list[ComponentPlan]()
    parts = workshop(session, passphrase_file, recovery_key_file).parts()
    since_ns, done = parse_when(since), list[tuple[ComponentPlan, Recovered]]()
    named_points(parts)

    def agree(made: list[ComponentPlan]) -> bool:
        plans.extend(made)
        if not dry_run:
            tell_plans(session.out.note, plans)
        return not dry_run and confirmed(session, "write this?", yes=yes)

    with session.watch(parts.progress):
        found = flow.find_deleted(name, since_ns, component or None, parts, path or ())
        if path:
            found = flow.Found(flow.chosen(found, path), found.unknown)
            done = flow.undelete(name, found.deleted, parts, agree)
    fields = {
        **_found_shape(name, since_ns, found),
        "dry_run": dry_run,
        **done_shape(plans, done),
        "seconds": round(time.monotonic() - began, 3),
    }

    def tell() -> None:
        if not path:
            _tell_found(session.out, found)
        elif done:
            tell_done(session.out, "what was deleted", fields)
        elif dry_run:
            tell_plans(session.out.line, plans)

    session.out.result("undelete", fields, tell)
    return ExitStatus.INCOMPLETE if fields["problem_count"] else ExitStatus.DONE


def _found_shape(name: str, since_ns: int, found: flow.Found) -> dict[str, Any]:
    return {
        "service": name,
        "since": iso_text(since_ns),
        "found": [
            {
                "entry": entry_shape(each.component, each.entry),
                "at": iso_text(each.moment_ns),
                "position": each.sequence,
                "is_there": each.is_there,
            }
            for each in found.deleted
        ],
        "unknown": [
            {"component": each.component, "after": iso_text(each.after_ns), "reason": each.reason}
            for each in found.unknown
        ],
    }


def _tell_found(out: Output, found: flow.Found) -> None:
    rows = [
        [
            when_text(each.moment_ns) if each.sequence is not None else f"before {when_text(each.moment_ns)}",
            "" if each.entry.is_directory else bytes_text(each.entry.size),
            f"{each.component}:{show_bytes(each.entry.path)}" + ("/" if each.entry.is_directory else ""),
            "is there again" if each.is_there else "",
        ]
        for each in found.deleted
    ]
    if rows:
        out.table(("deleted", "size", "path", ""), rows, right=(1,))
        out.note(f"{count_text(len(rows), 'thing')}; to bring some back: knowngood undelete NAME --path PATH")
    else:
        out.note("nothing was deleted")
    for each in found.unknown:
        out.warn(f"{each.component}: what was deleted after {when_text(each.after_ns)} is not all here: {each.reason}")
