"""knowngood policy: how much may be lost, and how long points are kept."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from knowngood.control.changes import ServiceChange, plan_change
from knowngood.control.forms import CADENCES, POINTS, RUNGS, SPANS
from knowngood.control.services import cadence_warnings, get_service, ladder_warnings
from knowngood.core.errors import UsageError
from knowngood.core.fit import did_you_mean
from knowngood.core.instants import SECOND, iso_text, now_ns
from knowngood.core.ladder import DAY, Forecast, forecast
from knowngood.core.model import MIN_EVERY, Policy
from knowngood.core.sizes import parse_span, span_short, span_text
from knowngood.doors.cli.arguments import DryRun, ServiceName, complete_service
from knowngood.doors.cli.changing import change
from knowngood.doors.cli.describe import promise_text, rehearsal_texts
from knowngood.doors.cli.session import Session, current
from knowngood.doors.cli.shapes import number, policy_shape
from knowngood.doors.cli.words import count_text, day_text

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Say what is promised, and try it out.")

_MOST_POINTS = 1_000_000
_MEANING = {
    "any-moment": "every point",
    "hourly": "the newest point of each hour",
    "daily": "the newest point of each day",
    "weekly": "the newest point of each week",
    "monthly": "the newest point of each month",
    "yearly": "the newest point of each year",
}


def with_settings(policy: Policy, settings: list[str]) -> Policy:
    """A policy with words such as `hourly=14d` or `undo=3d` applied. Raises UsageError."""
    known = [*RUNGS, *SPANS, *POINTS]
    for word in settings:
        key, equals, value = word.partition("=")
        key = key.strip().removeprefix("keep.")
        if not equals:
            raise UsageError(f"'{word}' is not a setting", hint="write settings as hourly=14d")
        if key not in known:
            raise UsageError(f"a policy has no '{key}'", hint=did_you_mean(key, known) or f"it has: {', '.join(known)}")
        seconds = 0.0 if value.strip() == "0" else parse_span(value)
        if key in CADENCES and 0 < seconds < MIN_EVERY:
            raise UsageError(f"'{word}' is shorter than {span_short(MIN_EVERY)}", hint=f"write 1s or more, or {key}=0")
        if key in SPANS or key in POINTS:
            policy = msgspec.structs.replace(policy, **{POINTS.get(key, key): seconds})
        else:
            keep = msgspec.structs.replace(policy.keep, **{key.replace("-", "_"): seconds})
            policy = msgspec.structs.replace(policy, keep=keep)
    return policy


@app.command()
def show(context: typer.Context, name: ServiceName) -> None:
    """Show what is promised for a service."""
    session = current(context)
    policy = get_service(session.home, name).policy
    for warning in ladder_warnings(policy.keep) + cadence_warnings(policy):
        session.out.warn(warning)

    def human() -> None:
        rows = [[rung, _MEANING[rung], span_short(length) if length else "-"] for rung, length in policy.keep.rungs()]
        session.out.table(["rung", "keeps", "for"], rows)
        session.out.line()
        session.out.line("the newest sound point is always kept")
        session.out.line(f"an expired point can be brought back for {span_text(policy.undo)}")
        session.out.line(promise_text(policy))
        for line in rehearsal_texts(policy):
            session.out.line(line)

    session.out.result("policy show", {"name": name, "policy": policy_shape(policy)}, human)


@app.command(name="set")
def set_(
    context: typer.Context,
    name: ServiceName,
    settings: Annotated[
        list[str],
        typer.Argument(metavar="WORD=SPAN...", help="Such as rpo=5m, points.held=1m, hourly=14d or drill=1d."),
    ],
    dry_run: DryRun = False,
) -> None:
    """Change what is promised: how much may be lost (rpo), how long recovery may take (rto), how often points are made
    (points, points.held, points.quiesced) and recovery is rehearsed (drill), how long points are kept.

    A span of 0 turns a rung or a promise off. Example:

    knowngood policy set shop rpo=5m hourly=14d yearly=10y --dry-run
    """
    session = current(context)

    def plan() -> ServiceChange:
        service = get_service(session.home, name)
        policy = with_settings(service.policy, settings)
        return plan_change(session.home, msgspec.structs.replace(service, policy=policy))

    change(session, "policy set", plan, dry_run=dry_run, then=f"try it out: knowngood policy simulate {name}")


@app.command()
def simulate(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="SERVICE",
            help="Begin with its policy; else with the usual one.",
            autocompletion=complete_service,
        ),
    ] = None,
    every: Annotated[str, typer.Option("--every", metavar="SPAN", help="How often a point is made.")] = "1h",
    days: Annotated[
        float | None,
        typer.Option("--days", min=0, help="How many days from now; else until nothing more changes."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="RUNG=SPAN", help="Try another span; can be repeated."),
    ] = None,
    points: Annotated[bool, typer.Option("--points", help="List every point that is left.")] = False,
) -> None:
    """Show which points are left on a day to come, when one is made every so often. Changes nothing. Example:

    knowngood policy simulate shop --every 15m --days 90 --set daily=60d
    """
    session = current(context)
    policy = get_service(session.home, name).policy if name else Policy()
    policy = with_settings(policy, settings or [])
    for warning in ladder_warnings(policy.keep):
        session.out.warn(warning)
    seen, span = _imagine(policy, every, days)
    fields = simulation_shape(seen, policy, parse_span(every), span)
    session.out.result("policy simulate", fields, lambda: _tell(session, seen, policy, every, span, points=points))


def _imagine(policy: Policy, every: str, days: float | None) -> tuple[Forecast, float]:
    every_ns = round(parse_span(every) * SECOND)
    if every_ns < 1:
        raise UsageError("--every must be longer than nothing", hint="write a span such as 15m or 1h")
    longest = max(length for _, length in policy.keep.rungs()) * SECOND / DAY
    span = longest + 1 if days is None else days
    if span * DAY / every_ns > _MOST_POINTS:
        raise UsageError(
            f"a point every {every} for {span:.0f} days are more than {_MOST_POINTS} points",
            hint="use a longer --every or fewer --days",
        )
    return forecast([], policy.keep, span, now_ns=now_ns(), every_ns=every_ns), span


def imagined(policy: Policy, every: float, days: float) -> dict[str, Any]:
    """What a policy keeps on a day to come, as docs/json.md says. Raises UsageError when those are too many."""
    seen, span = _imagine(policy, span_short(every), days)
    return simulation_shape(seen, policy, every, span)


def simulation_shape(seen: Forecast, policy: Policy, every: float, days: float) -> dict[str, Any]:
    """A simulation as docs/json.md says."""
    return {
        "at": iso_text(seen.at_ns),
        "days": number(days),
        "every": number(every),
        "policy": policy_shape(policy),
        "kept": len(seen.kept),
        "gone": seen.gone,
        "rungs": [
            {
                "rung": each.name,
                "points": each.points,
                "oldest": None if each.oldest_ns is None else iso_text(each.oldest_ns),
            }
            for each in seen.rungs
        ],
        "points": [
            {
                "received": iso_text(fact.received_ns),
                "reasons": list(verdict.reasons),
                "until": None if verdict.until_ns is None else iso_text(verdict.until_ns),
            }
            for fact, verdict in seen.kept
        ],
    }


def _tell(session: Session, seen: Forecast, policy: Policy, every: str, days: float, *, points: bool) -> None:
    out = session.out
    spans = dict(policy.keep.rungs())
    out.line(
        f"with a point every {every}, {count_text(len(seen.kept), 'point')} of"
        f" {len(seen.kept) + seen.gone} are left in {span_text(days * 86400)}"
    )
    out.line()
    rows = [
        [
            each.name,
            span_short(spans[each.name]) if spans[each.name] else "-",
            str(each.points),
            "-" if each.oldest_ns is None else span_text((seen.at_ns - each.oldest_ns) / SECOND),
        ]
        for each in seen.rungs
    ]
    out.table(["rung", "for", "points", "oldest"], rows, right=[2])
    if points:
        out.line()
        out.table(
            ["received", "kept as", "until"],
            [
                [
                    day_text(fact.received_ns),
                    ", ".join(verdict.reasons),
                    "-" if verdict.until_ns is None else day_text(verdict.until_ns),
                ]
                for fact, verdict in seen.kept
            ],
        )
