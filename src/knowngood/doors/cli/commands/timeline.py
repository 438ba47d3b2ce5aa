"""`knowngood timeline`: which moments of a service can be had, and where and why they cannot."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from knowngood.core.ids import short
from knowngood.core.instants import iso_text, when_text
from knowngood.doors.cli.opening import PassphraseFile, RecoveryKeyFile, workshop
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import current
from knowngood.doors.cli.words import count_text
from knowngood.flow.choose import named_points
from knowngood.flow.moment import Stand
from knowngood.flow.timeline import Covered, Timeline, timelines

app = typer.Typer()


@app.command(help="Show which moments can be had: points, what the log covers between them, and where it breaks.")
def timeline(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The service.", metavar="NAME")],
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """Show timelines."""
    session = current(context)
    parts = workshop(session, passphrase_file, recovery_key_file).parts()
    named_points(parts)
    with session.watch(parts.progress):
        found = timelines(name, parts)
    fields = timeline_shape(name, found)

    def tell() -> None:
        for each in found:
            _tell(session.out, each)

    session.out.result("timeline", fields, tell)


def timeline_shape(service: str, found: list[Timeline]) -> dict[str, Any]:
    """As docs/json.md says."""
    return {"service": service, "components": [_shape(each) for each in found]}


def _shape(found: Timeline) -> dict[str, Any]:
    return {
        "name": found.component,
        "timeline": found.id.hex(),
        "records": found.records,
        "points": [_point(each) for each in found.stands],
        "covered": [_covered(each) for each in found.covered],
    }


def _point(stand: Stand) -> dict[str, Any]:
    return {
        "point": stand.point.id.hex(),
        "finished": iso_text(stand.checkpoint.finished_ns),
        "position": stand.position.sequence if stand.position else None,
    }


def _covered(covered: Covered) -> dict[str, Any]:
    broken = covered.broken
    return {
        "point": covered.stand.point.id.hex(),
        "from": iso_text(covered.stand.checkpoint.finished_ns),
        "until": iso_text(covered.until_ns),
        "records": covered.records,
        "broken": broken
        and {
            "after": iso_text(broken.after_ns),
            "position": broken.sequence,
            "reason": broken.reason,
            "next": broken.following and broken.following.point.id.hex(),
        },
    }


def _tell(out: Output, found: Timeline) -> None:
    points = count_text(len(found.stands), "point")
    out.line(f"{found.component}: {points}, {count_text(found.records, 'record')} of the log")
    for each in found.covered:
        first, last = when_text(each.stand.checkpoint.finished_ns), when_text(each.until_ns)
        out.line(f"  {first} … {last}  every moment: point {short(each.stand.point.id)} + {each.records} changes")
        if each.broken is not None:
            following = each.broken.following
            again = f"known again from point {short(following.point.id)} on" if following else "no point since"
            out.line(f"  {when_text(each.broken.after_ns)} …  {each.broken.reason}; {again}")
