"""Words for moments: what `--at` may say, and how moments and points are shown."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from knowngood.core.ids import short
from knowngood.core.instants import SECOND, iso_text, when_text
from knowngood.core.model import Checkpoint, Point
from knowngood.core.sizes import span_text
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.words import count_text
from knowngood.flow.moment import Moment
from knowngood.flow.state import State, evidence

At = Annotated[
    str,
    typer.Option(
        "--at", help="A moment ('14:02', '-90s', 'yesterday 18:00', 'latest') or a point's id.", metavar="WHEN|POINT"
    ),
]


def totals_of(checkpoints: list[Checkpoint]) -> dict[str, int]:
    """Sums over components. Bytes."""
    return {
        "files": sum(each.totals.files for each in checkpoints),
        "directories": sum(each.totals.directories for each in checkpoints),
        "bytes": sum(each.totals.bytes for each in checkpoints),
        "new_bytes": sum(each.totals.landed_bytes for each in checkpoints),
        "problems": sum(each.problem_count for each in checkpoints),
    }


def point_shape(point: Point, checkpoints: list[Checkpoint]) -> dict[str, Any]:
    """A point as `--json` prints it."""
    return {
        "id": point.id.hex(),
        "service": point.service,
        "name": point.name or None,
        "moment": iso_text(point.moment_ns),
        "started": iso_text(point.started_ns),
        "received": iso_text(point.received_ns),
        "level": point.level,
        "status": point.status,
        "evidence": {
            "method": point.evidence.get("method", ""),
            "spread": float(point.evidence["spread-seconds"]) if "spread-seconds" in point.evidence else None,
            "asked": point.evidence.get("asked"),
            "lowered": point.evidence.get("lowered"),
            "held": float(point.evidence["held-seconds"]) if "held-seconds" in point.evidence else None,
            "times": [f"{name[9:]}: {each}" for name, each in point.evidence.items() if name.startswith("times of ")],
        },
        **totals_of(checkpoints),
        "components": [_component(each) for each in checkpoints],
    }


def _component(checkpoint: Checkpoint) -> dict[str, Any]:
    totals = checkpoint.totals
    return {
        "name": checkpoint.component,
        "kind": checkpoint.kind,
        "path": checkpoint.source,
        "host": checkpoint.host,
        "capture": checkpoint.capture,
        "checkpoint": short(checkpoint.id),
        "files": totals.files,
        "bytes": totals.bytes,
        "changed_files": totals.changed_files,
        "read_bytes": totals.read_bytes,
        "new_bytes": totals.landed_bytes,
        "problems": checkpoint.problem_count,
    }


def moment_shape(moment: Moment, opened: list[State]) -> dict[str, Any]:
    """A moment as `--json` prints it: when, and what each component's state was made of."""
    found = evidence(moment, opened)
    return {
        "asked": None if moment.asked_ns is None else iso_text(moment.asked_ns),
        "at": iso_text(found.at_ns),
        "level": found.level,
        "evidence": {
            "method": found.method,
            "spread": None if found.spread_ns is None else round(found.spread_ns / SECOND, 3),
        },
        "components": [_state(each) for each in opened],
    }


def _state(state: State) -> dict[str, Any]:
    return {
        "name": state.checkpoint.component,
        "point": state.stand.point.id.hex(),
        "checkpoint": short(state.checkpoint.id),
        "changes": state.changes,
        "position": state.sequence,
        "last": iso_text(state.last_ns),
        "covered": state.covered,
        "thinned": state.thinned,
        "set_back": round(state.set_back_ns / SECOND, 3),
    }


def moment_text(moment: Moment, opened: list[State]) -> str:
    """`point 3f2a91bc of 2026-11-20 14:00:07`, or `2026-11-20 14:02:07, point 3f2a91bc of … + 1 204 changes`."""
    changes = sum(each.changes for each in opened)
    points = {each.stand.point.id: each.stand.point for each in opened}
    made = ", ".join(f"point {short(each.id)} of {when_text(each.moment_ns)}" for each in points.values())
    if not changes:
        return made
    fraction = 3 if moment.asked_ns is None or moment.asked_ns % SECOND else 0
    at = when_text(evidence(moment, opened).at_ns, fraction=fraction)
    return f"{at}, made of {made} + {count_text(changes, 'change')}"


def asked_text(moment: Moment) -> str:
    """`point 3f2a91bc of 2026-11-20 14:00:07`, or `2026-11-20 14:02:07`: what was asked for, before it is opened."""
    if moment.asked_ns is not None:
        return when_text(moment.asked_ns, fraction=3 if moment.asked_ns % SECOND else 0)
    return f"point {short(moment.point.id)} of {when_text(moment.point.moment_ns)}"


def tell_limits(out: Output, moment: Moment, opened: list[State]) -> None:
    """What somebody should know who asked for a moment, and gets the nearest that there is."""
    for each in opened:
        name = each.checkpoint.component
        if each.thinned:
            out.note(f"{name}: the log of that time is not kept any more; this is the point before it")
        elif moment.asked_ns is not None and each.sequence is not None and not each.covered:
            out.note(f"{name}: the log ends with a change of {when_text(each.last_ns)}; what came later is not in it")
        if each.set_back_ns > SECOND:
            out.note(f"{name}: its host's clock was set back by {span_text(each.set_back_ns / SECOND)} in that time")
