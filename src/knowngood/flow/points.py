"""Points: the newest one, and the one that a moment, an id or a name means."""

from __future__ import annotations

import msgspec

from knowngood.core.errors import NotFound
from knowngood.core.instants import when_text
from knowngood.core.model import Checkpoint, Point, ServiceSpec
from knowngood.flow.parts import Parts


def latest_point(parts: Parts, service: str) -> Point:
    """The point that arrived last. The vault's receive time never goes back, whatever a clock did. Raises NotFound."""
    return _points_of(parts, service)[0]


def point_at(parts: Parts, service: str, at: int | str) -> Point:
    """The newest point of a service at or before a moment (ns), or the one with this id or name. Raises NotFound.

    A moment is looked for among the moments that the points bear: they are what people see and type.
    """
    if isinstance(at, str):
        named = [point for point in parts.catalog.points(service) if at and point.name == at]
        found = named[0] if named else parts.catalog.find_point(at)
        if found.service != service:
            raise NotFound(
                f"point {at} is one of '{found.service}', not of '{service}'", hint=f"see: knowngood points {service}"
            )
        return found
    points = _points_of(parts, service)
    before = [point for point in points if point.moment_ns <= at]
    if before:
        return max(before, key=lambda point: (point.moment_ns, point.received_ns))
    oldest = min(point.moment_ns for point in points)
    raise NotFound(
        f"'{service}' has no point as old as {when_text(at)}",
        hint=f"the oldest is of {when_text(oldest)}; see: knowngood points {service}",
    )


def definition_of(point: Point) -> ServiceSpec | None:
    """The service as it was defined when the point was made, where it says so."""
    return msgspec.msgpack.decode(point.definition, type=ServiceSpec) if point.definition else None


def checkpoints_of(point: Point, parts: Parts) -> list[Checkpoint]:
    """The checkpoints of a point's components. Raises NotFound."""
    return [parts.catalog.checkpoint(mark.checkpoint) for mark in point.marks]


def _points_of(parts: Parts, service: str) -> list[Point]:
    points = parts.catalog.points(service)
    if points:
        return points
    if nameless := parts.catalog.nameless():
        raise NotFound(
            f"no point of '{service}' is known here, but the vault has {nameless} whose names take the private key",
            hint="knowngood vault rebuild --passphrase-file FILE, or with --recovery-key-file FILE",
        )
    known = parts.catalog.services()
    others = f"; services that have: {', '.join(known[:10])}" if known and service not in known else ""
    raise NotFound(f"'{service}' has no point yet", hint=f"make one with: knowngood protect {service}{others}")
