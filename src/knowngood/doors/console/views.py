"""What is answered at each address that only shows something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from knowngood.core.errors import KnowngoodError, UsageError
from knowngood.core.instants import SECOND, now_ns
from knowngood.doors.console import inside
from knowngood.doors.console.asking import Words, page, query, service_in
from knowngood.doors.console.browse import browse_values, compare_values, file_values, search_values
from knowngood.doors.console.desk import Desk
from knowngood.doors.console.home import STRIP_DAYS, home_values
from knowngood.doors.console.inside import Place
from knowngood.doors.console.service import service_values
from knowngood.doors.console.timeline import SPANS, fitting_span, timeline_values

Common = Mapping[str, Any]
View = Callable[[Desk, Request, Common], Response]


def home(desk: Desk, _: Request, common: Common) -> Response:
    """Could data be lost, how much, how fast would it be back?"""
    status, headline, trouble = desk.status()
    values = home_values(status, desk.promises(days=STRIP_DAYS), headline)
    return page("home.html", {**common, **values, "trouble": trouble, "kit_reminder": False})


def service(desk: Desk, request: Request, common: Common) -> Response:
    """One service."""
    name = service_in(request)
    status, _, trouble = desk.status(name)
    return page("service.html", {**common, **service_values(status, desk.promises(name)), "trouble": trouble})


def timeline(desk: Desk, request: Request, common: Common) -> Response:
    """The timeline of a service, a part of its page."""
    name, asked = service_in(request), query(request)
    points, wrong, found = desk.points(name), None, None
    if points:
        try:
            found = desk.timeline(name)
        except KnowngoodError as trouble:
            wrong = trouble
    span = asked.one("span") or fitting_span(points, now_ns())
    if span not in SPANS:
        raise UsageError(f"'{span}' is not a span of a timeline", hint=f"it is one of: {', '.join(SPANS)}")
    until = asked.number("until", 0, 1 << 33) * SECOND
    values = timeline_values(name, points, found, desk.drills(name), span, until or None)
    return page("timeline.html", {**common, **values, "wrong": wrong})


def _place(request: Request, asked: Words) -> Place:
    return Place(service_in(request), asked.one("at") or "latest", asked.one("component"), asked.one("path"))


def browse(desk: Desk, request: Request, common: Common) -> Response:
    """Files at a moment, or those that were searched for."""
    asked = query(request)
    place, pattern = _place(request, asked), asked.one("find").strip()
    if pattern:
        return page("browse.html", {**common, **search_values(place, inside.find(desk, place, pattern), pattern)})
    found = inside.listing(desk, place, asked.one("after"))
    return page("browse.html", {**common, **browse_values(place, found)})


def file(desk: Desk, request: Request, common: Common) -> Response:
    """One file at a moment: what is known of it, and its beginning."""
    place = _place(request, query(request))
    return page("file.html", {**common, **file_values(place, inside.preview(desk, place))})


def compare(desk: Desk, request: Request, common: Common) -> Response:
    """What differs between two moments."""
    asked = query(request)
    place, other = _place(request, asked), asked.one("from")
    if not other:
        raise UsageError("say with which moment to compare", hint="such as '-1h', 'yesterday 18:00' or a point's id")
    return page("compare.html", {**common, **compare_values(place, inside.compare(desk, place, other), other)})


VIEWS: dict[str, View] = {
    "/": home,
    "/services/{service}": service,
    "/services/{service}/timeline": timeline,
    "/services/{service}/browse": browse,
    "/services/{service}/file": file,
    "/services/{service}/compare": compare,
}
"""By address. Each runs in a thread of its own, and changes nothing."""
