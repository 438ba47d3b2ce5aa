"""`knowngood tidy`: hide what the policy no longer keeps, collect what was hidden long enough."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Any

import typer

from knowngood.control.services import list_services
from knowngood.control.up.work import note_tidied
from knowngood.core.errors import ExitStatus
from knowngood.core.ids import short
from knowngood.core.instants import iso_text, when_text
from knowngood.core.sizes import bytes_text
from knowngood.doors.cli.collected import collected_shape, parity_shape, tell_collected
from knowngood.doors.cli.opening import workshop
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import current
from knowngood.doors.cli.words import count_text, day_text
from knowngood.flow.tidy import Judged, TidyPlan, plan_tidy, tidy as carry_out
from knowngood.vault.fold import Folded
from knowngood.vault.parity.keep import Kept

app = typer.Typer()


@app.command(help="Hide points that the policies no longer keep, and collect what was hidden long enough.")
def tidy(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what each point is kept for, and until when; change nothing.")
    ] = False,
) -> int:
    """Tidy."""
    session = current(context)
    listing = list_services(session.home)
    for broken in listing.broken:
        session.out.warn(f"service '{broken.name}' is left alone: {broken.error.message}")
    policies = {service.name: service.policy for service in listing.services}
    with nullcontext() if dry_run else session.lock():
        parts = workshop(session).parts()
        with session.watch(parts.progress):
            plan = plan_tidy(policies, parts)
            done = None if dry_run else carry_out(plan, parts)
        if done is not None:
            note_tidied(session.home)
    ended = plan if done is None else done
    collected, hindrance = ended.collected, ended.hindrance
    if hindrance is not None:
        session.out.warn("\n".join([f"nothing is collected: {hindrance.message}", *hindrance.hint.splitlines()]))
    folded = done.folded if done else Folded()
    fields = {
        "dry_run": dry_run,
        "services": [
            {"name": name, "points": [_shape(each) for each in judged]} for name, judged in plan.services.items()
        ],
        "expired": [point.id.hex() for point in plan.expiring],
        "thinned": [
            {"service": each.service, "component": each.component, "records": each.records} for each in plan.thinnings
        ],
        "folded": {"segments": folded.segments, "into": folded.into},
        "collected": collected_shape(collected) if collected else None,
        "parity": parity_shape(done.parity if done else Kept()),
    }

    def tell() -> None:
        if dry_run:
            _tell_plan(session.out, plan)
        else:
            session.out.note(f"{count_text(len(plan.expiring), 'point')} hidden")
        _tell_logs(session.out, plan, folded, dry_run=dry_run)
        if collected:
            tell_collected(session.out, collected, dry_run=dry_run)

    session.out.result("tidy", fields, tell)
    return ExitStatus.DAMAGED if hindrance is not None else ExitStatus.DONE


def _tell_logs(out: Output, plan: TidyPlan, folded: Folded, *, dry_run: bool) -> None:
    for each in plan.thinnings:
        would = "would be" if dry_run else "are"
        out.note(f"{count_text(each.records, 'record')} of the log of {each.component} {would} hidden")
    if folded.segments:
        out.note(f"{count_text(folded.segments, 'segment')} of logs are {folded.into} now")


def _shape(judged: Judged) -> dict[str, Any]:
    verdict = judged.verdict
    return {
        "point": judged.point.id.hex(),
        "moment": iso_text(judged.point.moment_ns),
        "keep": verdict.keep,
        "reasons": list(verdict.reasons),
        "until": iso_text(verdict.until_ns) if verdict.keep and verdict.until_ns is not None else None,
    }


def _tell_plan(out: Any, plan: TidyPlan) -> None:
    for name, judged in plan.services.items():
        if not judged:
            continue
        out.line(name)
        rows = []
        for each in judged:
            until = "" if each.verdict.until_ns is None else day_text(each.verdict.until_ns)
            fate = ", ".join(each.verdict.reasons) if each.verdict.keep else "would be hidden"
            rows.append(
                [short(each.point.id), when_text(each.point.moment_ns), fate, until if each.verdict.keep else ""]
            )
        out.table(("point", "moment", "kept as", "until"), rows)
    if plan.collected:
        out.line(f"the vault needs {bytes_text(plan.collected.needed_bytes)}")
