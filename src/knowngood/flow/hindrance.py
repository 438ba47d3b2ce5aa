"""What keeps a collection from going on, in the words of people: services, points, and the commands that lead out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from knowngood.core.errors import Damaged, Unaccounted
from knowngood.core.ids import short
from knowngood.core.model import Point
from knowngood.flow.parts import Parts

_SHOWN = 8  # points of each service
_WITH_KEY = "if only chunks are lost, the private key tells: knowngood vault collect --recovery-key-file FILE"


def explained(wrong: Unaccounted, parts: Parts) -> Damaged:
    """The same error, saying which points and logs it touches; its hint names the ways out, each in a line."""
    touched = set(wrong.points)
    visible = [point for point in parts.catalog.points() if point.id in touched]
    hidden = [point for point in parts.catalog.points(expired=True) if point.id in touched]
    named = _by_service([*visible, *hidden])
    texts = [f"points of {service} ({_some(points)})" for service, points in named.items()]
    if nameless := len(touched) - len(visible) - len(hidden):
        texts.append(f"{nameless} points whose names take the private key")
    logs = _logs(wrong.timelines, parts)
    texts += [f"the log of {whose}" for whose in logs.values()]
    told = f"; it touches {', '.join(texts)}" if texts else ""
    return Damaged(
        wrong.message + told, hint="\n".join(_ways(named, visible, parts, points=bool(touched), logs=bool(logs)))
    )


def _ways(named: Iterable[str], visible: list[Point], parts: Parts, *, points: bool, logs: bool) -> Iterator[str]:
    if not parts.private_here():
        yield _WITH_KEY
    heal = "".join(f", then knowngood protect {service}" for service in named)
    yield f"to store again what is at its source: knowngood vault check{heal}"
    if logs:
        yield "to see which moments of a log are lost: knowngood vault check"
    expire = "".join(
        f"knowngood expire {service} {' '.join(short(point.id) for point in some)}, then "
        for service, some in _by_service(visible).items()
    )
    if points:
        yield f"to let these points go for good: {expire}knowngood vault collect --now"


def _logs(timelines: Iterable[bytes], parts: Parts) -> dict[bytes, str]:
    """Whose logs these are; of those that no point of this home names, the beginnings of their labels."""
    found = {timeline: short(timeline) for timeline in timelines}
    points = [*parts.catalog.points(), *parts.catalog.points(expired=True)] if found else []
    for point in points:
        for mark in point.marks:
            if mark.timeline in found:
                component = parts.catalog.checkpoint(mark.checkpoint).component
                found[mark.timeline] = f"{point.service}, {component}"
    return found


def _by_service(points: Iterable[Point]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.service, []).append(point)
    return found


def _some(points: list[Point]) -> str:
    more = len(points) - _SHOWN
    return " ".join(short(point.id) for point in points[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
