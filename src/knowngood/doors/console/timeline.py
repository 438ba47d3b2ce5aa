"""A timeline as a drawing: which moments can be had, the points on it, gaps, drills. Over it, one moment is chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from knowngood.core.ids import short
from knowngood.core.instants import SECOND, now_ns, parse_when, when_text
from knowngood.core.model import Point
from knowngood.core.sizes import span_text
from knowngood.doors.cli.words import count_text

Document = Mapping[str, Any]

SPANS = {"minutes": 600, "hour": 3600, "day": 86400, "week": 7 * 86400, "month": 31 * 86400, "year": 366 * 86400}
"""How much of a timeline is shown at once; seconds."""
_SPAN_WORDS = {"minutes": "these ten minutes"}
WIDTH, LEFT, LANE, TOP = 1000, 110, 22, 34
_TICKS = 6
_MOST_FACTS = 5000
TABLE = 50
"""Points that are also listed."""
_WEIGHT = {"suspect": 3, "proven": 2, "incomplete": 1, "recoverable": 0}
_SHAPES = {
    "L0": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "L0+": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0zM0 -8v16",
    "L1": "M0 -7L7 0L0 7L-7 0z",
    "L2": "M-6 -6h12v12h-12z",
}


class Window:
    """What of a timeline is shown: nanoseconds on a line of `WIDTH`."""

    def __init__(self, span: str, until_ns: int) -> None:
        self.until = until_ns
        self.length = SPANS[span] * SECOND
        self.start = until_ns - self.length

    def x(self, moment: int) -> float:
        """Where a moment lies; at the edge when it lies outside."""
        part = min(1.0, max(0.0, (moment - self.start) / self.length))
        return round(LEFT + part * (WIDTH - LEFT - 10), 1)

    def holds(self, moment: int) -> bool:
        """Whether a moment is shown."""
        return self.start <= moment <= self.until


def fitting_span(points: Sequence[Point], now: int) -> str:
    """The shortest span in which some points of a service lie."""
    age = (now - min((each.moment_ns for each in points[:20]), default=now)) / SECOND
    return next((name for name, length in SPANS.items() if age <= length), "year")


def timeline_values(
    name: str,
    points: Sequence[Point],
    timeline: Document | None,
    drills: Sequence[Document],
    span: str,
    until_ns: int | None = None,
) -> dict[str, Any]:
    """What the drawing is made of: points, newest first; the timeline, None where it cannot be read; drills."""
    now = now_ns()
    window = Window(span, now if until_ns is None else until_ns)
    components = timeline["components"] if timeline else []
    shown = [each for each in points if window.holds(each.moment_ns)]
    lanes = [_lane(each, number, window) for number, each in enumerate(components)]
    base = TOP + LANE * max(1, len(lanes))
    chosen = min(now, window.until)
    return {
        "name": name,
        "here": f"/services/{name}",
        "span": span,
        "spans": list(SPANS),
        "lanes": lanes,
        "marks": _marks(shown, window, base + 16),
        "drills": [_drill(each["report"], window) for each in drills if _in(window, each["report"]["finished"])],
        "ticks": list(_ticks(window)),
        "height": base + 34,
        "points_y": base + 16,
        "until": window.until,
        "earlier": str(window.start // SECOND),
        "later": str((window.until + window.length) // SECOND) if window.until + window.length // 2 < now else "",
        "first": window.start // SECOND,
        "last": window.until // SECOND,
        "at": chosen // SECOND,
        "at_text": when_text(chosen),
        "facts": json.dumps(_facts(shown, components)),
        "summary": f"{count_text(len(shown), 'point')} in {_SPAN_WORDS.get(span, 'this ' + span)}, of {len(points)}",
        "table": shown[:TABLE],
        "gaps": [text for lane in lanes for text in lane["gap_texts"]],
        "left": LEFT,
        "right": WIDTH - 10,
        "width": WIDTH,
    }


def _in(window: Window, moment: str) -> bool:
    return window.holds(parse_when(moment))


def _lane(component: Document, number: int, window: Window) -> dict[str, Any]:
    stretches, gaps, texts = [], [], []
    for each in component["covered"]:
        start, end = parse_when(each["from"]), parse_when(each["until"])
        if end >= window.start and start <= window.until:
            left, right = window.x(start), window.x(end)
            stretches.append({"x": left, "width": max(1.0, round(right - left, 1))})
        broken = each["broken"]
        if broken and window.holds(after := parse_when(broken["after"])):
            gaps.append({"x": window.x(after), "text": broken["reason"]})
            texts.append(f"{component['name']}, after {when_text(after)}: {broken['reason']}")
    y = TOP + LANE * number
    return {"name": component["name"], "y": y, "covered": stretches, "gaps": gaps, "gap_texts": texts}


def _marks(points: Sequence[Point], window: Window, y: int) -> list[dict[str, Any]]:
    """One mark for each place; where several points lie, of the one that matters most."""
    places: dict[int, tuple[Point, int]] = {}
    for each in points:
        place = round(window.x(each.moment_ns) / 4)
        found, count = places.get(place, (each, 0))
        heavier = _WEIGHT[each.status] > _WEIGHT[found.status]
        places[place] = (each if heavier else found, count + 1)
    return [
        {
            "x": window.x(each.moment_ns),
            "y": y,
            "path": _SHAPES.get(each.level, _SHAPES["L0"]),
            "status": each.status,
            "text": f"{when_text(each.moment_ns)}: {each.level}, {each.status}"
            + (f", and {count - 1} more" if count > 1 else ""),
        }
        for each, count in places.values()
    ]


def _drill(report: Document, window: Window) -> dict[str, Any]:
    took = span_text(report["seconds"])
    return {
        "x": window.x(parse_when(report["finished"])),
        "outcome": report["outcome"],
        "text": f"{when_text(parse_when(report['finished']))}: drill, {report['outcome']}, {took}",
    }


def _ticks(window: Window) -> Iterator[dict[str, Any]]:
    for number in range(_TICKS):
        moment = window.start + window.length * number // (_TICKS - 1)
        text = when_text(moment)
        yield {"x": window.x(moment), "text": text[11:16] if window.length <= SPANS["day"] * SECOND else text[5:10]}


def _facts(points: Sequence[Point], components: Sequence[Document]) -> dict[str, Any]:
    """What the scrubber needs to say what there is at a second: points, oldest first, and covered stretches."""
    return {
        "points": [
            [each.moment_ns // SECOND, short(each.id), each.level, each.status, when_text(each.moment_ns)]
            for each in reversed(points[:_MOST_FACTS])
        ],
        "covered": [
            [
                [parse_when(stretch["from"]) // SECOND, parse_when(stretch["until"]) // SECOND]
                for stretch in each["covered"]
            ]
            for each in components
        ],
    }
