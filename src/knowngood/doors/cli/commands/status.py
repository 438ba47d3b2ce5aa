"""`knowngood status`: could data be lost, how much, and what is being done about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Annotated, Any

import typer

from knowngood.control.lapses import Breach
from knowngood.control.status import ReadBack, Report, Verdict, assess, headline
from knowngood.control.up.protocol import BaseNow, Doing, Failure, FollowerState, Running, Waiting
from knowngood.control.workshop import Workshop
from knowngood.core.errors import ExitStatus
from knowngood.core.instants import SECOND, iso_text, now_ns
from knowngood.core.sizes import bytes_text, span_short, span_text
from knowngood.doors.cli.arguments import complete_service
from knowngood.doors.cli.opening import workshop
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import current
from knowngood.doors.cli.shapes import number
from knowngood.doors.cli.watching import Look, keep_looking
from knowngood.doors.cli.words import count_text, day_text

app = typer.Typer()

_BEHIND = 5.0  # seconds; less is the way of things
_BREACHES = 3  # shown to people


@app.command(help="Could data be lost, and how much? Every service against what is promised, worst first.")
def status(
    context: typer.Context,
    service: Annotated[
        str, typer.Option("--service", help="Only this one.", metavar="NAME", autocompletion=complete_service)
    ] = "",
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again and again; q ends it. In a pipe: a line for each change.")
    ] = False,
) -> int:
    """Exit status 0 when all that is promised is kept, 1 when anything is not, or nobody can say."""
    session = current(context)

    def look() -> Look:
        with closing(Workshop(session.home, session.plugins)) as shop:
            report = assess(shop, service or None)
        stands = tuple((each.name, each.state, each.reason) for each in report.verdicts)
        return Look(_exit_status(report), (report.kept, stands), headline(report), lambda out: _tell(out, report))

    if watch:
        return keep_looking(session.out, look)
    report = assess(workshop(session), service or None)
    for wrong in (report.trouble, report.silent):
        if wrong and all(wrong.message not in each.reason for each in report.verdicts):
            session.out.warn(wrong.message)
    session.out.result("status", status_shape(report), lambda: _tell(session.out, report))
    return _exit_status(report)


def _exit_status(report: Report) -> int:
    return ExitStatus.DONE if report.kept else ExitStatus.FAILED


# -------------------------------------------------------------------------------------------------------------- JSON


def status_shape(report: Report) -> dict[str, Any]:
    """As docs/json.md says."""
    keeper = report.keeper
    return {
        "at": iso_text(now_ns()),
        "kept": report.kept,
        "keeper": _keeper_shape(keeper) if keeper else None,
        "doing": _doing_shape(keeper.doing) if keeper and keeper.doing else None,
        "services": [_verdict_shape(each) for each in report.verdicts],
        "read_back": {
            "objects": report.read_back.objects,
            "oldest": iso_text(report.read_back.oldest_ns) if report.read_back.oldest_ns else None,
            "damaged": report.read_back.damaged,
        },
    }


def _keeper_shape(keeper: Running) -> dict[str, Any]:
    return {
        "process": keeper.process,
        "since": iso_text(keeper.since_ns),
        "started_by": keeper.started_by,
        "stopping": keeper.stopping,
        "waiting_for": keeper.waiting_for or None,
        "tidy_due": _moment_in(keeper.tidy_due_in),
        "tidy_failure": _failure_shape(keeper.tidy_failure),
    }


def _doing_shape(doing: Doing) -> dict[str, Any]:
    return {
        "verb": doing.verb,
        "service": doing.service or None,
        "since": iso_text(doing.since_ns),
        "phase": doing.phase,
        "files": doing.files,
        "total_files": doing.total_files,
        "bytes": doing.bytes,
        "total_bytes": doing.total_bytes,
        "landed_bytes": doing.landed_bytes,
        "current": doing.current,
    }


def _verdict_shape(verdict: Verdict) -> dict[str, Any]:
    point, now = verdict.newest, verdict.now
    return {
        "name": verdict.name,
        "state": verdict.state,
        "reason": verdict.reason,
        "hint": verdict.fix,
        "rpo": number(verdict.promised) if verdict.promised else None,
        "every": number(verdict.every) if verdict.every else None,
        "at_risk": None if verdict.at_risk is None else round(verdict.at_risk, 3),
        "worst": None if verdict.worst is None else round(verdict.worst, 3),
        "breaches": [_breach_shape(each) for each in verdict.breaches],
        "point": point.id.hex() if point else None,
        "moment": iso_text(point.moment_ns) if point else None,
        **_proof_shape(verdict),
        "next_due": _moment_in(now.due_in) if now else None,
        "failure": _failure_shape(now.failure) if now else None,
        "followers": [_follower_shape(each) for each in now.followers] if now else [],
    }


def _breach_shape(breach: Breach) -> dict[str, Any]:
    return {
        "component": breach.component,
        "since": iso_text(breach.since_ns),
        "until": None if breach.until_ns is None else iso_text(breach.until_ns),
        "reason": breach.why,
    }


def _proof_shape(verdict: Verdict) -> dict[str, Any]:
    proof = verdict.proof
    return {
        "rto": number(verdict.rto) if verdict.rto else None,
        "expected_recovery": None if proof.expected is None else round(proof.expected, 3),
        "proven": proof.proven[0].id.hex() if proof.proven else None,
        "proven_moment": iso_text(proof.proven[0].moment_ns) if proof.proven else None,
        "last_drill": iso_text(proof.newest[1].at_ns) if proof.newest else None,
        "last_outcome": proof.newest[1].status if proof.newest else None,
        "levels": [
            {"level": level, "point": point.id.hex(), "moment": iso_text(point.moment_ns)}
            for level, point in proof.levels.items()
        ],
    }


def _failure_shape(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {
        "code": failure.code,
        "message": failure.message,
        "hint": failure.hint,
        "at": iso_text(failure.at_ns),
        "attempts": failure.attempts,
    }


def _follower_shape(state: FollowerState) -> dict[str, Any]:
    return {
        "component": state.component,
        "capture": state.capture,
        "behind": state.behind,
        "note": state.note,
        "failure": state.failure.message if state.failure else None,
        "waiting": _waiting_shape(state.waiting) if state.waiting else None,
        "base": _base_shape(state.base) if state.base else None,
        "unsafe": state.unsafe,
    }


def _waiting_shape(waiting: Waiting) -> dict[str, Any]:
    return {
        "since": iso_text(waiting.since_ns),
        "records": waiting.records,
        "bytes": waiting.bytes,
        "limit": waiting.limit,
        "full": waiting.full,
        "room": None if waiting.room is None else round(waiting.room, 3),
    }


def _base_shape(base: BaseNow) -> dict[str, Any]:
    return {
        "seconds": round(base.seconds, 3),
        "bytes": base.bytes,
        "total_bytes": base.total_bytes,
        "first": base.first,
    }


def _moment_in(seconds: float | None) -> str | None:
    return None if seconds is None else iso_text(now_ns() + int(seconds * SECOND))


# ------------------------------------------------------------------------------------------------------------ people


def _tell(out: Output, report: Report) -> None:
    out.line(headline(report))
    if report.verdicts:
        out.line()
        titles = [
            "service",
            "state",
            "at risk",
            "in 24 h",
            "promised",
            "newest point",
            "level",
            "proven",
            "recovery",
            "next",
        ]
        out.table(titles, list(map(_row, report.verdicts)))
    for each in report.verdicts:
        if each.reason:
            out.line()
            out.line(f"{each.name}: {each.reason}{_tried(each)}")
            if each.fix:
                out.line(f"    {each.fix}")
        said = [text for follower in each.now.followers for text in _behind_texts(follower)] if each.now else []
        for text in (*said, *map(_breach_text, each.breaches[-_BREACHES:])):
            out.line()
            out.line(f"{each.name}: {text}")
    out.line()
    out.line(_read_back_text(report.read_back))
    if report.keeper is None:
        out.line("running, without an answer" if report.silent else "not running: knowngood up")
    else:
        _tell_keeper(out, report.keeper)


def _read_back_text(found: ReadBack) -> str:
    if not found.objects:
        return "vault: not read back yet"
    age = span_text((now_ns() - found.oldest_ns) / SECOND)
    bad = f"; {count_text(found.damaged, 'damaged object')}: knowngood vault check --heal" if found.damaged else ""
    return f"vault: {count_text(found.objects, 'object')} read back, the one read longest ago {age} ago{bad}"


def _row(verdict: Verdict) -> list[str]:
    due = verdict.now.due_in if verdict.now else None
    return [
        verdict.name,
        verdict.state,
        "everything" if verdict.newest is None else "?" if verdict.at_risk is None else span_text(verdict.at_risk),
        "?" if verdict.worst is None else span_text(verdict.worst),
        span_short(verdict.promised) if verdict.promised else "-",
        day_text(verdict.newest.moment_ns) if verdict.newest else "-",
        verdict.newest.level if verdict.newest else "-",
        day_text(verdict.proof.proven[0].moment_ns) if verdict.proof.proven else "never",
        "?" if verdict.proof.expected is None else span_text(verdict.proof.expected),
        "-" if due is None else f"in {span_text(due)}",
    ]


def _tried(verdict: Verdict) -> str:
    failure = verdict.now.failure if verdict.now else None
    if failure is None:
        return ""
    return f" (tried {count_text(failure.attempts, 'time')}, last {day_text(failure.at_ns)})"


def _behind_texts(follower: FollowerState) -> Iterator[str]:
    """What of a component is not as it should be, and why."""
    name = follower.component
    if follower.unsafe:
        yield f"'{name}': {follower.unsafe}"
    if base := follower.base:
        whole = f" of {bytes_text(base.total_bytes)}" if base.total_bytes else ""
        meanwhile = "nothing of it is safe until then" if base.first else "its log goes on"
        done = f"{bytes_text(base.bytes)}{whole} in {span_text(base.seconds)}"
        yield f"a base of '{name}' is being read, {done}; {meanwhile}"
    if follower.waiting:
        yield _waiting_text(follower, follower.waiting)
        if follower.behind is None and follower.note:
            yield f"'{name}': {follower.note}"
        return
    why = follower.failure.message if follower.failure else "" if follower.unsafe else follower.note
    if follower.behind is not None and (why or follower.behind > _BEHIND):
        yield f"'{name}' is {span_text(follower.behind)} behind" + (f": {why}" if why else "")
    elif why and not follower.base:
        yield f"'{name}' is not followed: {why}" if not follower.holds else f"'{name}': {why}"


def _breach_text(breach: Breach) -> str:
    """When writes did not wait."""
    until = "until now" if breach.until_ns is None else f"for {span_text((breach.until_ns - breach.since_ns) / SECOND)}"
    return f"since {day_text(breach.since_ns)}, {until}: '{breach.component}': {breach.why}"


def _waiting_text(follower: FollowerState, waiting: Waiting) -> str:
    """What waits, for how long already, and how much longer it can."""
    since = f"the vault has taken nothing of '{follower.component}' since {day_text(waiting.since_ns)}"
    why = f" ({follower.failure.message})" if follower.failure else ""
    there = f"{count_text(waiting.records, 'change')}, {bytes_text(waiting.bytes)} of {bytes_text(waiting.limit)}"
    if waiting.full:
        return f"{since}{why}; {there} wait here, no more fits: what changes now will be told as one change"
    room = f", room for about {span_text(waiting.room)}" if waiting.room is not None else ""
    return f"{since}{why}; {there} wait here{room}"


def _tell_keeper(out: Output, keeper: Running) -> None:
    out.line(f"running: process {keeper.process} since {day_text(keeper.since_ns)}, started by {keeper.started_by}")
    if doing := keeper.doing:
        whole = f" of {bytes_text(doing.total_bytes)}" if doing.total_bytes else ""
        done = f"{count_text(doing.files, 'file')}, {bytes_text(doing.bytes)}{whole}"
        what = f"{doing.verb} {doing.service}".rstrip()
        out.line(f"now: {what}, since {day_text(doing.since_ns)}: {doing.phase or 'starting'}, {done}")
    elif keeper.waiting_for:
        out.line(f"waiting: {keeper.waiting_for}")
    if keeper.tidy_failure:
        out.line(f"tidy failed: {keeper.tidy_failure.message}")
