"""`knowngood drill` and `drills`: rehearse a recovery, and look at the reports."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from knowngood.control.drills import Kept, Rehearsed, kept_reports, rehearse
from knowngood.control.services import get_service
from knowngood.core.errors import ExitStatus
from knowngood.core.ids import short
from knowngood.core.sizes import span_text
from knowngood.doors.cli.opening import PassphraseFile, RecoveryKeyFile, workshop
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import current
from knowngood.doors.cli.words import count_text
from knowngood.flow.choose import chosen_moment, named_points
from knowngood.flow.drill import Outcome
from knowngood.flow.moment import moment_of
from knowngood.flow.points import latest_point

drill_app = typer.Typer()
drills_app = typer.Typer()


@drill_app.command(help="Rehearse a recovery: bring a point back, start it, check it, and throw it away again.")
def drill(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The service.", metavar="NAME")],
    at: Annotated[
        str,
        typer.Option("--at", help="A point's id or name, or a moment; else the newest point.", metavar="WHEN|POINT"),
    ] = "",
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> int:
    """Rehearse."""
    session = current(context)
    service = get_service(session.home, name)
    shop = workshop(session, passphrase_file, recovery_key_file)
    parts = shop.parts()
    named_points(parts)
    moment = chosen_moment(parts, name, at) if at else moment_of(latest_point(parts, name), parts)
    with session.watch(parts.progress):
        done = rehearse(shop, service, moment)
    fields = {"report": done.report, "path": done.path, "page": done.page, "marked": done.judgement is not None}
    session.out.result("drill", fields, lambda: _tell(session.out, done))
    fine = done.drilled.outcome == Outcome.PROVEN and done.drilled.rto_kept is not False
    return ExitStatus.DONE if fine else ExitStatus.FAILED


def _tell(out: Output, done: Rehearsed) -> None:
    report: dict[str, Any] = done.report
    out.line(f"point {short(done.drilled.moment.point.id)} of {report['service']} is {report['outcome']}")
    for each in report["reasons"]:
        out.line(f"  {each}")
    rows = [
        [
            each["name"],
            each["kind"],
            span_text(each["recover_seconds"]),
            "-" if each["start_seconds"] is None else span_text(each["start_seconds"]),
        ]
        for each in report["components"]
    ]
    out.table(["component", "kind", "recovered in", "started in"], rows, right=[2, 3])
    for each in report["checks"]:
        out.line(f"  {each['came']}: {each['what']}: {each['got']}")
    if not report["checks"]:
        out.note("no checks are defined: it was recovered and started, and nobody looked whether it is right")
    took = span_text(report["seconds"])
    if report["rto"] is None:
        out.line(f"recovery took {took}; no rto is promised")
    else:
        kept = "kept" if report["rto_kept"] else "NOT kept"
        out.line(f"recovery took {took}: the rto of {span_text(report['rto'])} is {kept}")
    if not report["isolated"]:
        out.note("it shared the host's network: only root can take that away")
    if not report["sockets_hidden"]:
        out.note("it could see the sockets in the host's file system: only root can hide them")
    out.note(f"report: {done.page}")


@drills_app.command(help="List the reports of drills, newest first, and verify their signatures.")
def drills(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Only of this service.", metavar="[NAME]")] = "",
) -> int:
    """List reports."""
    session = current(context)
    found = list(kept_reports(session.home, workshop(session).catalog.judgements(), name or None))
    fields = {"drills": [_shape(each) for each in found]}

    def tell() -> None:
        if not found:
            session.out.note("there was no drill yet; to rehearse a recovery: knowngood drill NAME")
            return
        rows = [
            [
                each.report["service"],
                each.report["started"][:19].replace("T", " "),
                each.report["point"][:8],
                each.report["outcome"],
                span_text(each.report["seconds"]),
                "as signed" if each.signed else "NOT as signed",
            ]
            for each in found
        ]
        session.out.table(["service", "when (UTC)", "point", "outcome", "took", "report"], rows, right=[4])

    session.out.result("drills", fields, tell)
    if changed := sum(not each.signed for each in found):
        session.out.warn(f"{count_text(changed, 'report')} changed since this home signed it, or signed elsewhere")
        return ExitStatus.FAILED
    return ExitStatus.DONE


def _shape(each: Kept) -> dict[str, Any]:
    return {"path": each.path, "signed": each.signed, "judged": each.judged is True, "report": each.report}
