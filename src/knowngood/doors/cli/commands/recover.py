"""`knowngood recover`: bring back a service, a component, or single paths."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import typer

from knowngood.control.derived import without_derived
from knowngood.control.former import note_former
from knowngood.control.services import find_service
from knowngood.core.errors import ExitStatus, KnowngoodError, UsageError
from knowngood.core.instants import SECOND, now_ns, when_text
from knowngood.core.model import ServiceSpec
from knowngood.core.ports import Recovered, RecoveryPlan
from knowngood.core.sizes import bytes_text, parse_span, span_text
from knowngood.doors.cli.commands.rows import Asked, Key, Rows, Table, Where, run_rows
from knowngood.doors.cli.commands.sandbox import run_sandbox
from knowngood.doors.cli.moments import At, moment_shape, moment_text, point_shape, tell_limits
from knowngood.doors.cli.opening import PassphraseFile, RecoveryKeyFile, confirmed, show_bytes, workshop
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import Session, current
from knowngood.doors.cli.words import absolute, count_text
from knowngood.flow.choose import LAST_KNOWN_GOOD, chosen_moment
from knowngood.flow.moment import Moment
from knowngood.flow.parts import Parts
from knowngood.flow.points import checkpoints_of
from knowngood.flow.recover import ComponentPlan, Wish, recover as recover_moment, stops_it

app = typer.Typer()
_SHOWN = 10

Paths = Annotated[
    list[str] | None, typer.Option("--path", "-p", help="Only this path or pattern; may be repeated.", metavar="P")
]
_PLACES = "Only up to a place in a database's own log: lsn=…, xid=…, before-xid=…, name=…, time=…."
Until = Annotated[str, typer.Option("--until", help=_PLACES, metavar="WHAT=VALUE")]
Into = Annotated[
    str, typer.Option("--to", help="Into this folder (rows: this file), not the original place.", metavar="DIR")
]
Only = Annotated[str, typer.Option("--component", "-c", help="Only this component.", metavar="C")]
Delete = Annotated[bool, typer.Option("--delete", help="Also delete what the point does not have.")]
Beside = Annotated[
    bool, typer.Option("--sandbox", help="Beside, on throw-away servers, until Ctrl-C; then all of it goes.")
]
Lasts = Annotated[str, typer.Option("--for", help="How long a sandbox lasts, such as 1h.", metavar="SPAN")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before writing.")]


@app.command(help="Bring back a whole service, one component, or single paths, as they were at a moment.")
def recover(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The service.", metavar="NAME")],
    at: At = "latest",
    component: Only = "",
    path: Paths = None,
    to: Into = "",
    delete: Delete = False,
    sandbox: Beside = False,
    for_: Lasts = "",
    until: Until = "",
    table: Table = "",
    where: Where = "",
    key: Key = "",
    rows: Rows = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; write nothing.")] = False,
    yes: Yes = False,
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> int:
    """Recover."""
    session = current(context)
    if delete and path:
        raise UsageError("--delete goes with whole components, not with --path", hint="leave one of the two out")
    wish = Wish(component or None, tuple(path or ()), absolute(to) if to else None, delete, _until(until))
    asked = Asked(table, where, key, rows)
    asked.check(wish, sandbox=sandbox)
    if sandbox and (wish != Wish() or dry_run):
        raise UsageError("a sandbox is of the whole service, and beside", hint="use --sandbox with --at only")
    if for_ and not sandbox:
        raise UsageError("--for goes with --sandbox", hint=f"knowngood recover {name} --sandbox --for {for_}")
    # Without the lock of the home: who needs a file back does not wait until the hourly run has ended.
    parts = workshop(session, passphrase_file, recovery_key_file).parts()
    moment = chosen_moment(parts, name, at)
    lost = _lost(moment) if at.strip().lower() == LAST_KNOWN_GOOD else None
    if lost is not None:
        since = when_text(moment.point.moment_ns)
        session.out.warn(f"what was written after {since}, {span_text(lost)} of changes, is not in it")
    service = _defined(session, name)
    if asked:
        run_rows(session, moment, wish, asked, service, parts, dry_run=dry_run, yes=yes)
        return ExitStatus.DONE
    if sandbox:
        run_sandbox(session, moment, service, parts, parse_span(for_) if for_ else 0)
        return ExitStatus.DONE
    return _recover(session, moment, wish, parts, service, lost, dry_run=dry_run, yes=yes)


def _recover(
    session: Session,
    moment: Moment,
    wish: Wish,
    parts: Parts,
    service: ServiceSpec | None,
    lost: float | None,
    *,
    dry_run: bool,
    yes: bool,
) -> int:
    began, plans = time.monotonic(), list[ComponentPlan]()

    def agree(made: list[ComponentPlan]) -> bool:
        plans.extend(made)
        if dry_run or (not stops_it(service) and any(each.plan.hindrance for each in made)):
            return not dry_run  # it is refused
        return _agreed(session, moment, made, wish, yes=yes)

    with session.watch(parts.progress):
        done = recover_moment(moment, wish, parts, agree, service)
    _remember_kept(session, moment, done)
    opened = [each.state for each in plans]
    fields = {
        "point": point_shape(moment.point, checkpoints_of(moment.point, parts)),
        "moment": moment_shape(moment, opened),
        "dry_run": dry_run,
        "lost": lost,
        **done_shape(plans, done),
        "kept": [result.kept for _, result in done if result.kept],
        "seconds": round(time.monotonic() - began, 3),
    }

    fields["plans"] = list(map(plan_shape, plans))

    def tell() -> None:
        if dry_run:
            _tell_plan(session.out, moment, plans, note=False)
        elif not done:
            session.out.note("nothing was written")
        else:
            tell_done(session.out, moment_text(moment, opened), fields)
            for kept in fields["kept"]:
                session.out.note(
                    f"what was there before is kept: {kept} (to let it go: knowngood former --drop {kept})"
                )

    session.out.result("recover", fields, tell)
    return ExitStatus.INCOMPLETE if fields["problem_count"] else ExitStatus.DONE


def _remember_kept(session: Session, moment: Moment, done: list[tuple[ComponentPlan, Recovered]]) -> None:
    """The recovery has come about, whatever becomes of this."""
    for each, result in done:
        if result.kept:
            try:
                note_former(session.home, moment.point.service, each.component, result.kept)
            except KnowngoodError as wrong:
                session.out.warn(f"'knowngood former' will not know of {result.kept}: {wrong.message}")


def _lost(moment: Moment) -> float:
    """Seconds of changes that are not inside."""
    return round(max(0, now_ns() - moment.point.moment_ns) / SECOND, 3)


def _defined(session: Session, name: str) -> ServiceSpec | None:
    """The service as it is defined now; None where it is not, or cannot be read: then it comes back all the same."""
    with suppress(KnowngoodError):
        found = find_service(session.home, name)
        return without_derived(session.home, found) if found else None
    return None


def _until(text: str) -> tuple[str, str] | None:
    what, equals, value = text.partition("=")
    if text and not (what and equals and value):
        raise UsageError(f"'{text}' is no place in a log", hint="write --until WHAT=VALUE, such as xid=1234")
    return (what, value) if text else None


def _agreed(session: Session, moment: Moment, plans: list[ComponentPlan], wish: Wish, *, yes: bool) -> bool:
    """Writing into a new folder needs no question; replacing what is there does, when there is somebody to ask."""
    if wish.to is not None and not any(_replaces(each) for each in plans):
        return True
    _tell_plan(session.out, moment, plans, note=True)
    return confirmed(session, "write this?", yes=yes)


def done_shape(plans: list[ComponentPlan], done: list[tuple[ComponentPlan, Recovered]]) -> dict[str, Any]:
    """What was planned, and what it came to, as `--json` prints it."""
    return {
        "plans": [_plan_shape(each) for each in plans],
        "files": sum(result.files for _, result in done),
        "bytes": sum(result.bytes for _, result in done),
        "written_bytes": sum(result.written_bytes for _, result in done),
        "deleted": sum(result.deleted for _, result in done),
        "problems": [
            {"component": plan.component, "path": show_bytes(each.path), "reason": each.reason}
            for plan, result in done
            for each in result.problems
        ],
        "problem_count": sum(result.problem_count for _, result in done),
    }


def target_of(plan: RecoveryPlan) -> str:
    """Where it goes."""
    return plan.place or plan.request.target


def plan_shape(each: ComponentPlan) -> dict[str, Any]:
    """The plan of one component as `recover --json` prints it."""
    return _plan_shape(each) | {"hindrance": each.plan.hindrance or None, "notes": list(each.plan.notes)}


def _replaces(each: ComponentPlan) -> bool:
    return bool(each.plan.rewrite or each.plan.attributes or each.plan.delete)


def _plan_shape(each: ComponentPlan) -> dict[str, Any]:
    plan = each.plan
    return {
        "component": each.component,
        "target": target_of(plan),
        "create": plan.create,
        "rewrite": plan.rewrite,
        "attributes": plan.attributes,
        "same": plan.same,
        "delete": plan.delete,
        "write_bytes": plan.write_bytes,
        "samples": [{"what": what, "path": show_bytes(path)} for what, path in plan.samples],
    }


def _tell_plan(out: Output, moment: Moment, plans: list[ComponentPlan], *, note: bool) -> None:
    say = out.note if note else out.line
    opened = [each.state for each in plans]
    say(f"plan: {moment_text(moment, opened)}")
    tell_limits(out, moment, opened)
    tell_plans(say, plans)


def tell_plans(say: Callable[[str], None], plans: list[ComponentPlan]) -> None:
    """What plans would do, a few lines for each."""
    for each in plans:
        plan = each.plan
        say(f"  {each.component} → {target_of(plan)}")
        say(
            f"    create {plan.create}, rewrite {plan.rewrite}, attributes only {plan.attributes}, "
            f"delete {plan.delete}, leave {plan.same}; write up to {bytes_text(plan.write_bytes)}"
        )
        for text in (*plan.notes, plan.hindrance):
            if text:
                say(f"    {text}")
        for what, path in plan.samples[:_SHOWN]:
            say(f"      {what} {show_bytes(path)}")
        if len(plan.samples) > _SHOWN:
            say("      …")


def tell_done(out: Output, what: str, fields: dict[str, Any]) -> None:
    """What a recovery came to."""
    deleted = f", {fields['deleted']} deleted" if fields["deleted"] else ""
    out.note(
        f"recovered {what}: "
        f"{count_text(fields['files'], 'file')}, {bytes_text(fields['written_bytes'])} written{deleted}, "
        f"{span_text(fields['seconds'])}"
    )
    for problem in fields["problems"][:_SHOWN]:
        out.warn(f"{problem['component']}: {problem['path']}: {problem['reason']}")
    if fields["problem_count"] > _SHOWN:
        out.warn(f"and {fields['problem_count'] - _SHOWN} more; see: knowngood recover --json")
