"""A service: how it stands, its days, and the way to every moment of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knowngood.core.instants import parse_when
from knowngood.core.sizes import bytes_text, span_short, span_text
from knowngood.doors.cli.words import count_text, day_text
from knowngood.doors.console.days import calendar
from knowngood.doors.console.home import answers
from knowngood.doors.console.timeline import SPANS

Document = Mapping[str, Any]


def service_values(status: Document, promises: Document) -> dict[str, Any]:
    """What the page is made of, from `status` and `promises` of this one service."""
    (found,) = status["services"]
    days = next((each["days"] for each in promises["services"]), ())
    return {
        "place": "home",
        "name": found["name"],
        "here": f"/services/{found['name']}",
        "service": found,
        "answers": answers(found),
        "promised": _promised(found),
        "followers": [{"component": each["component"], "text": _follower(each)} for each in found["followers"]],
        "breaches": [_breach(each) for each in found["breaches"]],
        "calendar": calendar(days, promises["today"]),
        "spans": list(SPANS),
    }


def _promised(found: Document) -> str:
    if not found["rpo"]:
        return "Nothing is promised yet."
    every = f"; a point every {span_short(found['every'])}" if found["every"] else ""
    rto = f"; back within {span_short(found['rto'])}" if found["rto"] else ""
    return f"At most the last {span_short(found['rpo'])} may be lost{rto}{every}."


def _follower(each: Document) -> str:
    said = f"followed by {each['capture']}"
    if each["failure"]:
        return f"{said}: {each['failure']}"
    if base := each["base"]:
        whole = f" of {bytes_text(base['total_bytes'])}" if base["total_bytes"] else ""
        return f"{said}; a base is being read: {bytes_text(base['bytes'])}{whole}"
    if waiting := each["waiting"]:
        there = f"{count_text(waiting['records'], 'change')}, {bytes_text(waiting['bytes'])}"
        return f"{said}; {there} wait here since {day_text(parse_when(waiting['since']))}: the vault takes nothing"
    behind = "" if each["behind"] is None else f", {span_text(each['behind'])} behind"
    return f"{said}{behind}" + (f"; {each['note']}" if each["note"] else "")


def _breach(each: Document) -> str:
    until = "until now" if each["until"] is None else f"until {day_text(parse_when(each['until']))}"
    return f"{each['component']}, from {day_text(parse_when(each['since']))} {until}: {each['reason']}"
