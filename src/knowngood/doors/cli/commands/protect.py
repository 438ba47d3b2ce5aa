"""`knowngood protect`: make a point of a service."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import typer

from knowngood.control.derived import without_derived
from knowngood.control.services import get_service
from knowngood.control.up.client import keeper_holds, point_by_keeper
from knowngood.core.errors import Busy, ExitStatus
from knowngood.core.ids import short
from knowngood.core.instants import when_text
from knowngood.core.model import Level, ServiceSpec
from knowngood.core.sizes import bytes_text, span_text
from knowngood.doors.cli.moments import point_shape, totals_of
from knowngood.doors.cli.opening import show_bytes, workshop
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import Session, current
from knowngood.doors.cli.words import count_text
from knowngood.flow.protect import Protected, protect as protect_service

app = typer.Typer()
_SHOWN = 10


@app.command(help="Read every component of a service and make a point of it.")
def protect(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The service.", metavar="NAME")],
    label: Annotated[str, typer.Option("--name", help="A name for the point.", metavar="TEXT")] = "",
) -> int:
    """Make a point."""
    session = current(context)
    service = without_derived(session.home, get_service(session.home, name))
    return made_by(session, service, label, Level.CUT, lambda: _here(session, service, label))


def made_by(session: Session, service: ServiceSpec, label: str, level: Level, here: Callable[[], Protected]) -> int:
    """Have the keeper make a point if it follows the service, else make it `here`; tell what came of it."""
    began = time.monotonic()
    try:
        done = _by_keeper(session, service.name, label, level) if keeper_holds(session.home, service.name) else here()
    except Busy:
        if not keeper_holds(session.home, service.name):
            raise
        done = _by_keeper(session, service.name, label, level)  # it has begun to follow just now
    seconds = time.monotonic() - began
    checkpoints = list(done.checkpoints)
    problems = [
        {"component": each.component, "path": show_bytes(problem.path), "reason": problem.reason}
        for each in checkpoints
        for problem in each.problems
    ]
    fields = {
        "point": point_shape(done.point, checkpoints),
        "seconds": round(seconds, 3),
        "landed_bytes": done.landed_bytes,
        "forgotten": done.forgotten,
        "problems": problems,
    }
    document = "protect" if level == Level.CUT else "point"
    session.out.result(document, fields, lambda: _tell(session.out, done, seconds))
    return ExitStatus.INCOMPLETE if totals_of(checkpoints)["problems"] else ExitStatus.DONE


def _here(session: Session, service: ServiceSpec, label: str) -> Protected:
    with session.lock():
        parts = workshop(session).parts()
        with session.watch(parts.progress):
            return protect_service(service, parts, name=label)


def _by_keeper(session: Session, service: str, label: str, level: Level) -> Protected:
    """The point that `knowngood up` makes, which follows the service: it alone knows what changed."""
    made = point_by_keeper(session.home, service, label, "" if level == Level.CUT else level)
    catalog = workshop(session).catalog
    point = catalog.find_point(made)
    checkpoints = tuple(catalog.checkpoint(mark.checkpoint) for mark in point.marks)
    return Protected(point, checkpoints, sum(each.totals.landed_bytes for each in checkpoints))


def _tell(out: Output, done: Protected, seconds: float) -> None:
    totals = totals_of(list(done.checkpoints))
    out.note(
        f"point {short(done.point.id)} of {done.point.service}, {when_text(done.point.moment_ns)}: "
        f"{count_text(totals['files'], 'file')}, {bytes_text(totals['bytes'])}, "
        f"{bytes_text(done.landed_bytes)} new in the vault, {span_text(seconds)}"
    )
    evidence = done.point.evidence
    if "asked" in evidence:
        out.note(f"level {done.point.level}: {evidence['method']}")
    if "lowered" in evidence:
        out.warn(f"{evidence['asked']} was asked for, and not reached: {evidence['lowered']}")
    if "after-point" in evidence:
        out.warn(evidence["after-point"])
    if done.forgotten:
        out.note("what a check had found damaged was stored again, as far as it is at its source;")
        out.note("to see whether anything is left: knowngood vault check")
    if totals["problems"]:
        out.warn(f"{count_text(totals['problems'], 'thing')} could not be read as it should; the rest is protected")
        shown = [(each, problem) for each in done.checkpoints for problem in each.problems][:_SHOWN]
        for checkpoint, problem in shown:
            out.warn(f"{checkpoint.component}: {show_bytes(problem.path)}: {problem.reason}")
        if totals["problems"] > len(shown):
            out.warn(f"and {totals['problems'] - len(shown)} more; see: knowngood protect --json")
