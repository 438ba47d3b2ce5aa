"""The first page: could data be lost, how much, how fast would it be back? Every service, worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from knowngood.core.instants import parse_when
from knowngood.core.sizes import span_short, span_text
from knowngood.doors.cli.words import count_text, day_text
from knowngood.doors.console.days import runs, strip, strip_text
from knowngood.doors.console.pages import url

Document = Mapping[str, Any]
STRIP_DAYS = 30


def home_values(status: Document, promises: Document, headline: str) -> dict[str, Any]:
    """What the page is made of, from the documents of `status` and `promises`."""
    days = {each["name"]: each["days"] for each in promises["services"]}
    return {
        "place": "home",
        "headline": headline,
        "kept": status["kept"],
        "keeper": keeper_text(status),
        "services": [_card(each, days.get(each["name"], ()), promises["today"]) for each in status["services"]],
    }


def _card(service: Document, days: Sequence[Document], today: str) -> dict[str, Any]:
    shown = strip(days, today, STRIP_DAYS)
    return {
        "name": service["name"],
        "url": url(f"/services/{service['name']}"),
        "state": service["state"],
        **answers(service),
        "reason": service["reason"],
        "hint": service["hint"],
        "runs": runs(shown),
        "count": len(shown),
        "days_text": strip_text(shown),
    }


def answers(service: Document) -> dict[str, str]:
    """The three answers for one service of `status`."""
    return {"could": _could(service), "much": _much(service), "fast": _fast(service)}


def _could(service: Document) -> str:
    promised = f"the last {span_short(service['rpo'])}" if service["rpo"] else ""
    match service["state"]:
        case "kept":
            return f"No more than promised: {promised}"
        case "late":
            return f"Yes, just now: more than {promised}"
        case "broken":
            return "Yes, until somebody does something"
    return "Nobody can say" if service["rpo"] else "Nothing is promised"


def _much(service: Document) -> str:
    if service["point"] is None:
        return "Everything: there is no complete point"
    if service["at_risk"] is None:
        return "Nobody can say"
    worst = f"; {span_text(service['worst'])} at worst in 24 h" if service["worst"] is not None else ""
    return f"The last {span_text(service['at_risk'])} now{worst}"


def _fast(service: Document) -> str:
    promised = f", {span_text(service['rto'])} promised" if service["rto"] else ""
    if service["expected_recovery"] is None:
        return f"Unknown: it was never rehearsed{promised}"
    proven = f"proven {day_text(parse_when(service['last_drill']))}" if service["proven"] else "not proven"
    return f"In {span_text(service['expected_recovery'])}{promised}; {proven}"


def keeper_text(status: Document) -> str:
    """What the keeper does."""
    keeper, doing = status["keeper"], status["doing"]
    if keeper is None:
        return "Nobody keeps the promises: knowngood up does not run."
    if doing is not None:
        whole = f" of {count_text(doing['total_files'], 'file')}" if doing["total_files"] else ""
        of = f" {doing['service']}" if doing["service"] else ""
        return f"Now: {doing['verb']}{of}, {doing['phase'] or 'starting'}, {count_text(doing['files'], 'file')}{whole}."
    if keeper["waiting_for"]:
        return f"Waiting: {keeper['waiting_for']}."
    return f"Promises are kept by process {keeper['process']}, since {day_text(parse_when(keeper['since']))}."
