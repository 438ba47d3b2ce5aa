"""What is answered at each address that only shows something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from knowngood.control.kit import kit_is_kept
from knowngood.core.errors import KnowngoodError, UsageError
from knowngood.core.instants import SECOND, now_ns
from knowngood.doors.console import care, inside
from knowngood.doors.console.asking import Words, page, query, service_in
from knowngood.doors.console.browse import browse_values, compare_values, file_values, history_values, search_values
from knowngood.doors.console.console import Console
from knowngood.doors.console.home import STRIP_DAYS, home_values
from knowngood.doors.console.inside import Place
from knowngood.doors.console.service import service_values
from knowngood.doors.console.timeline import SPANS, fitting_span, timeline_values

Common = Mapping[str, Any]
View = Callable[[Console, Request, Common], Response]


def home(console: Console, _: Request, common: Common) -> Response:
    """Could data be lost, how much, how fast would it be back?"""
    status, headline, trouble = console.desk.status()
    names = [each["name"] for each in status["services"]]
    values = home_values(status, console.desk.promises(names, STRIP_DAYS), headline)
    return page("home.html", {**common, **values, "trouble": trouble, "kit_reminder": _kit_reminder(console)})


def _kit_reminder(console: Console) -> bool:
    with suppress(KnowngoodError), console.desk.open() as shop:
        return not kit_is_kept(console.desk.home, shop.vault.id)
    return False


def service(console: Console, request: Request, common: Common) -> Response:
    """One service."""
    name = service_in(request)
    status, _, trouble = console.desk.status(name)
    return page("service.html", {**common, **service_values(status, console.desk.promises([name])), "trouble": trouble})


def timeline(console: Console, request: Request, common: Common) -> Response:
    """The timeline of a service, a part of its page."""
    name, asked = service_in(request), query(request)
    points, wrong, found = console.desk.points(name), None, None
    if points:
        try:
            found = console.desk.timeline(name)
        except KnowngoodError as trouble:
            wrong = trouble
    span = asked.one("span") or fitting_span(points, now_ns())
    if span not in SPANS:
        raise UsageError(f"'{span}' is not a span of a timeline", hint=f"it is one of: {', '.join(SPANS)}")
    until = asked.number("until", 0, 1 << 33) * SECOND
    values = timeline_values(name, points, found, console.desk.drills(name), span, until or None)
    return page("timeline.html", {**common, **values, "table": console.desk.shapes(values["table"]), "wrong": wrong})


def place_in(request: Request, asked: Words) -> Place:
    """Where somebody looks: in an address as it is, in a form packed."""
    where = Words(asked.one("pick")) if asked.one("pick") else asked
    return Place(service_in(request), asked.one("at") or "latest", where.one("component"), where.one("path"))


def browse(console: Console, request: Request, common: Common) -> Response:
    """Files at a moment, or those that were searched for."""
    asked = query(request)
    place, pattern = place_in(request, asked), asked.one("find").strip()
    if pattern:
        found = inside.find(console.desk, place, pattern)
        return page("browse.html", {**common, **search_values(place, found, pattern)})
    found = inside.listing(console.desk, place, asked.one("after"))
    return page("browse.html", {**common, **browse_values(place, found)})


def file(console: Console, request: Request, common: Common) -> Response:
    """One file at a moment: what is known of it, and its beginning."""
    place = place_in(request, query(request))
    return page("file.html", {**common, **file_values(place, inside.preview(console.desk, place))})


def history(console: Console, request: Request, common: Common) -> Response:
    """Every version of a path."""
    place = place_in(request, query(request))
    return page("history.html", {**common, **history_values(place, inside.history(console.desk, place))})


def compare(console: Console, request: Request, common: Common) -> Response:
    """What differs between two moments."""
    asked = query(request)
    place, other = place_in(request, asked), asked.one("from")
    if not other:
        raise UsageError("say with which moment to compare", hint="such as '-1h', 'yesterday 18:00' or a point's id")
    return page("compare.html", {**common, **compare_values(place, inside.compare(console.desk, place, other), other)})


VIEWS: dict[str, View] = {
    "/": home,
    "/services/new": care.new,
    "/services/{service}": service,
    "/services/{service}/timeline": timeline,
    "/services/{service}/browse": browse,
    "/services/{service}/file": file,
    "/services/{service}/compare": compare,
    "/services/{service}/history": history,
    "/services/{service}/recover": care.recover,
    "/services/{service}/policy": care.policy,
    "/drills": care.drills,
    "/vault": care.vault,
    "/jobs": care.jobs,
    "/jobs/{job}": care.job,
}
"""By address. Each runs in a thread of its own, and changes nothing."""
