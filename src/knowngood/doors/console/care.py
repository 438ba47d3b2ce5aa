"""Pages about recovering, drills, policies, the vault and jobs; they only show."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from knowngood.control.changes import plan_change
from knowngood.control.discover import discover
from knowngood.control.forms import RUNGS
from knowngood.control.services import cadence_warnings, get_service, ladder_warnings
from knowngood.core.errors import KnowngoodError
from knowngood.core.instants import SECOND, now_ns, parse_when, when_text
from knowngood.core.model import Policy
from knowngood.core.sizes import span_short, span_text
from knowngood.doors.cli.commands.policy import imagined, with_settings
from knowngood.doors.cli.shapes import change_shape
from knowngood.doors.cli.words import count_text, day_text
from knowngood.doors.console import recovery
from knowngood.doors.console.asking import Words, page, query, service_in
from knowngood.doors.console.console import Console
from knowngood.doors.console.home import keeper_text
from knowngood.doors.console.jobs import Job
from knowngood.doors.console.pages import url
from knowngood.doors.console.recovery import Wanted

Common = Mapping[str, Any]
_REPORTS = 50
_EVERY = 900.0
_LEAST_GROWTH = 2 * 86400.0  # seconds of points from which a pace can be told
_PROMISES = {
    "rpo": "How much may be lost at most (rpo)",
    "rto": "How long a recovery may take (rto)",
    "drill": "How often a recovery is rehearsed (drill)",
    "undo": "How long an expired point can be brought back (undo)",
}
_RUNGS = {
    "any-moment": "Every moment and point, for",
    "hourly": "The newest point of each hour, for",
    "daily": "… of each day, for",
    "weekly": "… of each week, for",
    "monthly": "… of each month, for",
    "yearly": "… of each year, for",
}
_SAID = {"done": "It is done", "failed": "It failed", "incomplete": "Done, but not all of it", "stopped": "Stopped"}


def recover(console: Console, request: Request, common: Common) -> Response:
    """What is wanted back; with `plan`, what would be done for it."""
    asked, name = query(request), service_in(request)
    wanted = Wanted.of(name, asked)
    components = console.desk.components(name)
    if not asked.one("plan"):
        return page("recover.html", {**common, **recovery.choice_values(wanted, components)})
    found = recovery.plan(console.desk, wanted)
    pinned = dataclasses.replace(wanted, at=found["at"])
    return page("recover.html", {**common, **recovery.plan_values(pinned, found, components)})


def drills(console: Console, request: Request, common: Common) -> Response:
    """Reports of drills, newest first."""
    name = query(request).one("service")
    found = console.desk.drills(name or None)
    shown = [_drill(each) for each in found[:_REPORTS]]
    return page(
        "drills.html", {**common, "place": "drills", "name": name, "drills": shown, "more": len(found) > _REPORTS}
    )


def _drill(kept: Mapping[str, Any]) -> dict[str, Any]:
    report, here = kept["report"], f"/services/{kept['report']['service']}"
    point_url = url(f"{here}/browse", at=report["point"])
    return {**report, "signed": kept["signed"], "url": url(here), "point_url": point_url}


# ----------------------------------------------------------------------------------------------------------- policies


def policy(console: Console, request: Request, common: Common) -> Response:
    """A policy, what it keeps on a day to come, and what would change."""
    name, asked = service_in(request), query(request)
    service = get_service(console.desk.home, name)
    settings = policy_settings(asked)
    wanted = with_settings(service.policy, [f"{word}={value}" for word, value in settings])
    change = plan_change(console.desk.home, replace(service, policy=wanted)) if wanted != service.policy else None
    days = asked.number("days", 90, 36_500)
    every = wanted.every or _EVERY
    spans = {rung: span_short(length) if length else "0" for rung, length in wanted.keep.rungs()}
    values = {
        "place": "home",
        "name": name,
        "here": f"/services/{name}",
        "promises": [{"word": word, "text": text, "value": _span(wanted, word)} for word, text in _PROMISES.items()],
        "rungs": [{"word": word, "text": text, "value": spans[word]} for word, text in _RUNGS.items()],
        "days": days,
        "seen": imagined(wanted, every, days),
        "warnings": [*ladder_warnings(wanted.keep), *cadence_warnings(wanted), *(change.warnings() if change else ())],
        "changes": change_shape(change, None, dry_run=True)["changes"] if change else (),
        "settings": settings,
    }
    return page("policy.html", {**common, **values})


def policy_settings(words: Words) -> list[tuple[str, str]]:
    """The settings of a policy in a query or a form."""
    given = ((word, words.one(word).strip()) for word in (*_PROMISES, *RUNGS))
    return [(word, value) for word, value in given if value]


def _span(policy: Policy, word: str) -> str:
    seconds = getattr(policy, word)
    return span_short(seconds) if seconds else "0"


def new(console: Console, request: Request, common: Common) -> Response:
    """The form of a new service; what runs here is looked for only when somebody asks."""
    text = ""
    if query(request).one("discover"):
        text = discover("", "", console.desk.plugins.kinds().keys(), console.desk.home.path).text
    given = {"name": "", "files": "", "rpo": "5m", "yaml": text}
    return page("new.html", {**common, "place": "home", "wrong": None, "given": given})


# ------------------------------------------------------------------------------------------------ the vault, and jobs


def vault(console: Console, _: Request, common: Common) -> Response:
    """How the vault does, what fills it, for how long there is room."""
    state, findings, grown = console.desk.vault()
    rows = {
        "contents of files and databases": state["pack_bytes"],
        "folders and lists": state["page_bytes"],
        "logs of changes": state["segment_bytes"],
        "parity": state["parity_bytes"],
        "index": state["index_bytes"],
        "reserve": state["reserve_bytes"],
    }
    used, free = sum(rows.values()), state["free_bytes"]
    values = {
        "place": "vault",
        "vault": state,
        "rows": sorted(rows.items(), key=lambda each: -each[1]),
        "used": used,
        "free": free,
        "bad": state["bad_packs"],
        "forecast": _forecast(free, grown),
        "read_back": _read_back(state),
        "findings": findings,
    }
    return page("vault.html", {**common, **values})


def _forecast(free: int | None, grown: tuple[int, float]) -> str:
    """How long there is room, if it goes on as it did: new bytes, and the seconds in which they came."""
    new_bytes, seconds = grown
    if free is None or seconds < _LEAST_GROWTH or new_bytes <= 0:
        return "How fast it fills cannot be said yet: there are no points of several days."
    left = free / (new_bytes / seconds)
    return f"At the pace of the last {span_text(seconds)} there is room for about {span_text(left)}."


def _read_back(state: Mapping[str, Any]) -> str:
    if not state["oldest_read"]:
        return "not read back yet: knowngood up reads everything within a month"
    age = span_text((now_ns() - parse_when(state["oldest_read"])) / SECOND)
    return f"{count_text(state['read_packs'], 'object')} read back; the one read longest ago {age} ago"


def jobs(console: Console, _: Request, common: Common) -> Response:
    """What goes on, and what was begun from here."""
    rows = [
        {"id": job.id, "title": job.title, "state": job.state, "began": day_text(job.began_ns), "seconds": job.seconds}
        for job in console.jobs.all()
    ]
    keeper = ""
    with suppress(KnowngoodError):
        keeper = keeper_text(console.desk.status()[0])
    return page("jobs.html", {**common, "place": "jobs", "jobs": rows, "keeper": keeper})


def job(console: Console, request: Request, common: Common) -> Response:
    """One of them."""
    found = console.jobs.get(request.path_params["job"])
    values = {
        "place": "jobs",
        "job": found,
        "word": found.state,
        "said": f"{_SAID.get(found.state, '')}, after {span_text(found.seconds)}: {_summary(found)}",
        "problems": list(_problems(found)),
        "log": "\n".join(found.log),
    }
    return page("job.html", {**common, **values})


def _summary(found: Job) -> str:
    document = found.document
    match document.get("document"):
        case "recover":
            return f"{count_text(document['files'], 'file')} are as they were at {_when(document['moment']['at'])}"
        case "drill":
            return f"the point is {document['report']['outcome']}"
        case "protect":
            return f"point {document['point']['id'][:8]} of {_when(document['point']['moment'])}"
    return found.title


def _when(moment: str) -> str:
    return when_text(parse_when(moment))


def _problems(found: Job) -> Iterator[str]:
    for kept in found.document.get("kept", ()):
        yield f"What was there before is kept: {kept}"
    for each in found.document.get("problems", ())[:20]:
        yield f"{each['component']}: {each['path']}: {each['reason']}"
    yield from found.document.get("report", {}).get("reasons", ())
