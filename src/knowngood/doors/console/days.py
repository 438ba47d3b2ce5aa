"""Days of a service: how promises were kept on each, as a strip and as a calendar. Kept, late, broken and unknown are
four different things."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from knowngood.core.sizes import span_text

SIGNS = {"kept": "", "late": "–", "broken": "×", "unknown": ""}
"""What stands on a day beside its colour; an unknown one is empty, and has an edge."""
_CELL = 12
_TOP = 12
_LEFT = 26


def strip(days: Sequence[Mapping[str, Any]], today: str, count: int) -> list[dict[str, Any]]:
    """The last `count` days, oldest first; those of which nothing is recorded are unknown."""
    known = {each["day"]: each for each in days}
    last = date.fromisoformat(today)
    shown = [(last - timedelta(days=back)).isoformat() for back in range(count - 1, -1, -1)]
    return [_shown(day, known.get(day)) for day in shown]


def _shown(day: str, found: Mapping[str, Any] | None) -> dict[str, Any]:
    if found is None:
        return {"day": day, "state": "unknown", "text": f"{day}: unknown, nobody watched"}
    spans = [f"{span_text(found[name])} {name}" for name in SIGNS if found[name] >= 1]
    return {
        "day": day,
        "state": found["state"],
        "text": f"{day}: {found['state']} ({', '.join(spans) or 'just begun'})",
    }


def runs(shown: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Days of a strip that are alike, one after the other, as one: where it begins, and how many there are."""
    found: list[dict[str, Any]] = []
    for state, days in groupby(enumerate(shown), key=lambda each: each[1]["state"]):
        (start, first), *rest = days
        until = f" to {rest[-1][1]['day']}: {state}" if rest else ""
        text = first["day"] + until if rest else first["text"]
        found.append({"at": start, "count": 1 + len(rest), "state": state, "sign": SIGNS[state], "text": text})
    return found


def strip_text(shown: Sequence[Mapping[str, Any]]) -> str:
    """All of it in words, for those who do not see it."""
    found = Counter(each["state"] for each in shown)
    return f"The last {len(shown)} days: " + ", ".join(f"{found[name]} {name}" for name in SIGNS if found[name])


def calendar(days: Sequence[Mapping[str, Any]], today: str, weeks: int = 53) -> dict[str, Any]:
    """A column for each week, a row for each day of the week, as places on a drawing."""
    last = date.fromisoformat(today)
    count = (weeks - 1) * 7 + last.weekday() + 1
    shown = strip(days, today, count)
    cells = [
        {**each, "x": _LEFT + place // 7 * _CELL, "y": _TOP + place % 7 * _CELL, "sign": SIGNS[each["state"]]}
        for place, each in enumerate(shown)
    ]
    months = [
        {"x": cell["x"], "text": date.fromisoformat(cell["day"]).strftime("%b")}
        for cell in cells
        if date.fromisoformat(cell["day"]).day <= 7 and cell["y"] == _TOP
    ]
    bad = [each for each in reversed(shown) if each["state"] in ("late", "broken")]
    return {
        "cells": cells,
        "months": months,
        "width": _LEFT + weeks * _CELL,
        "height": _TOP + 7 * _CELL,
        "text": strip_text(shown),
        "bad": bad,
    }
