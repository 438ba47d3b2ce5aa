"""`knowngood recover --table` and `--key`: some rows of a moment, merged into production or written to a file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from knowngood.core.errors import UsageError
from knowngood.core.model import ServiceSpec
from knowngood.core.rows import RowsRequest, Tally, Which
from knowngood.core.sizes import span_text
from knowngood.doors.cli.moments import asked_text, point_shape
from knowngood.doors.cli.opening import confirmed
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import Session
from knowngood.doors.cli.words import absolute, count_text
from knowngood.flow.moment import Moment
from knowngood.flow.parts import Parts
from knowngood.flow.points import checkpoints_of
from knowngood.flow.recover import Wish
from knowngood.flow.row_files import format_of
from knowngood.flow.rows import RowsPlan, RowsWish, take_rows

Table = Annotated[
    str, typer.Option("--table", help="Only rows of this table, merged into production.", metavar="[SCHEMA.]TABLE")
]
Where = Annotated[str, typer.Option("--where", help="Only rows for which this SQL holds.", metavar="SQL")]
Key = Annotated[str, typer.Option("--key", help="Only this key of Redis, or those of a pattern.", metavar="NAME")]
Rows = Annotated[
    Which | None, typer.Option("--rows", help="Which rows are merged: missing (the default), changed, or all.")
]


@dataclass(frozen=True, slots=True)
class Asked:
    """What of the command line is about rows."""

    table: str = ""
    where: str = ""
    key: str = ""
    which: Which | None = None

    def __bool__(self) -> bool:
        return bool(self.table or self.key)

    def check(self, wish: Wish, *, sandbox: bool) -> None:
        """Raises UsageError when the words do not go together."""
        if not self and (self.where or self.which):
            raise UsageError("--where and --rows go with a table", hint="name it: --table orders")
        if self.where and self.key:
            raise UsageError("--where goes with --table, and not with --key", hint="leave one of the two out")
        if self and (wish.paths or wish.delete_extra or sandbox):
            raise UsageError("rows go with --at, --until and --to only", hint="leave the other words out")
        if self and wish.to:
            format_of(wish.to)
            if self.which:
                raise UsageError("--rows goes with production: a file has all rows", hint="leave one of the two out")


def run_rows(
    session: Session, moment: Moment, wish: Wish, asked: Asked, service: ServiceSpec | None, parts: Parts, **how: bool
) -> None:
    """Take them from a throw-away server, show the plan, carry it out. `how` is `dry_run` and `yes`."""
    began = time.monotonic()
    component = wish.component or _only(moment)
    request = RowsRequest(asked.table, asked.where, asked.key)
    wanted = RowsWish(
        component, request, asked.which or Which.MISSING, absolute(wish.to or "") if wish.to else "", wish.until
    )

    def agree(plan: RowsPlan) -> bool:
        if how["dry_run"]:
            return False
        if not wanted.to and not how["yes"]:
            _tell_plan(session.out, plan, moment, note=True)
        return bool(wanted.to) or confirmed(session, "merge these rows into production?", yes=how["yes"])

    with session.watch(parts.progress):
        plan, done = take_rows(moment, wanted, service, parts, session.home.sandboxes, agree)
    fields = _shape(moment, plan, done, parts, dry_run=how["dry_run"], seconds=time.monotonic() - began)
    session.out.result("recover rows", fields, lambda: _tell(session.out, plan, done, moment, fields))


def _only(moment: Moment) -> str:
    names = [each.stand.checkpoint.component for each in moment.aims]
    if len(names) != 1:
        raise UsageError("the table is of one component", hint=f"name it with --component: {', '.join(names)}")
    return names[0]


def _shape(
    moment: Moment, plan: RowsPlan, done: Tally | None, parts: Parts, *, dry_run: bool, seconds: float
) -> dict[str, Any]:
    counted = done or plan.tally
    return {
        "point": point_shape(moment.point, checkpoints_of(moment.point, parts)),
        "component": plan.wish.component,
        "table": plan.name,
        "dry_run": dry_run,
        "to": plan.wish.to or None,
        "which": None if plan.wish.to else plan.wish.which,
        "rows": counted.rows,
        "missing": counted.missing,
        "different": counted.different,
        "same": counted.same,
        "inserted": counted.inserted,
        "updated": counted.updated,
        "left_out": list(plan.left_out),
        "sandbox_seconds": round(plan.sandbox_seconds, 3),
        "seconds": round(seconds, 3),
    }


def _tell_plan(out: Output, plan: RowsPlan, moment: Moment, *, note: bool) -> None:
    say, tally = out.note if note else out.line, plan.tally
    say(f"plan: {plan.name} of {plan.wish.component}, {asked_text(moment)}")
    if plan.wish.to:
        say(f"  all rows go to {plan.wish.to}")
        return
    say(
        f"  {count_text(tally.rows, 'row')} then: {tally.missing} missing in production, {tally.different} different "
        f"there, {tally.same} the same"
    )
    say(f"  --rows {plan.wish.which}: " + _DOES[plan.wish.which])
    if plan.left_out:
        say(f"  production has no more column {', '.join(plan.left_out)}: left out")


_DOES = {
    Which.MISSING: "what is missing is added, what is there stays as it is",
    Which.CHANGED: "what is different becomes what it was, nothing is added",
    Which.ALL: "what is missing is added, what is different becomes what it was",
}


def _tell(out: Output, plan: RowsPlan, done: Tally | None, moment: Moment, fields: dict[str, Any]) -> None:
    if done is None:
        if fields["dry_run"]:
            _tell_plan(out, plan, moment, note=False)
        else:
            out.note("nothing was written")
        return
    took = span_text(fields["seconds"])
    if plan.wish.to:
        out.note(f"{count_text(done.rows, 'row')} of {plan.name} written to {plan.wish.to}, {took}")
    else:
        out.note(
            f"merged into {plan.name}: {done.inserted} added, {done.updated} as they were, "
            f"{done.rows - done.inserted - done.updated} left alone, {took}"
        )
