"""Inside a moment: listing, searching, reading, comparing, a page at a time, as documents of docs/json.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from knowngood.core.buffers import Buffer
from knowngood.core.errors import NotFound, UsageError
from knowngood.core.instants import iso_text
from knowngood.doors.cli.commands.history import history_shape
from knowngood.doors.cli.commands.look import change_shape, entry_shape
from knowngood.doors.cli.moments import moment_shape, moment_text
from knowngood.doors.console.desk import Desk
from knowngood.flow import history as past, look
from knowngood.flow.choose import chosen_moment, named_points
from knowngood.flow.moment import Moment
from knowngood.flow.state import State, evidence

PAGE = 200
"""Entries on one page."""
PREVIEW = 64 << 10
"""Bytes of a file that are shown."""
MOST = 500
"""Results of a search, and changes between two moments, that are shown at once."""


@dataclass(frozen=True, slots=True)
class Place:
    """What somebody looks at: a service at a moment, a component (empty: the only one, or all), a path below it."""

    service: str
    at: str = "latest"
    component: str = ""
    path: str = ""


def listing(desk: Desk, place: Place, after: str = "") -> dict[str, Any]:
    """A page of `ls`: entries that come after a name; `more` says after which the next page begins. Without a component
    where there are several, these."""
    with desk.parts() as parts:
        moment = chosen_moment(parts, place.service, place.at)
        with look.views(moment, place.component or None, parts) as opened:
            entries: list[dict[str, Any]] = []
            more = ""
            if len(opened) == 1:
                name = opened[0].checkpoint.component
                begun = after.encode("utf-8", "surrogateescape")
                found = look.listing(opened[0], place.path, below=False, after=begun)
                entries = [entry_shape(name, each) for each in islice(found, PAGE + 1)]
                if len(entries) > PAGE:
                    entries.pop()
                    more = entries[-1]["path"].rpartition("/")[2]
            return {**head(moment, [each.state for each in opened]), "entries": entries, "more": more}


def find(desk: Desk, place: Place, pattern: str) -> dict[str, Any]:
    """`find`, its first results; `more` says whether there are others. A word without a sign of a pattern is a part."""
    wanted = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
    with desk.parts() as parts:
        moment = chosen_moment(parts, place.service, place.at)
        with look.views(moment, place.component or None, parts) as opened:
            found = (
                entry_shape(view.checkpoint.component, each) for view in opened for each in look.find(view, wanted)
            )
            with closing(found):
                entries = list(islice(found, MOST + 1))
            return {
                **head(moment, [each.state for each in opened]),
                "entries": entries[:MOST],
                "more": len(entries) > MOST,
            }


def compare(desk: Desk, place: Place, other: str) -> dict[str, Any]:
    """`diff` from another moment to this one, its first changes."""
    with desk.parts() as parts:
        new = chosen_moment(parts, place.service, place.at)
        old = chosen_moment(parts, place.service, other)
        only = place.component or None
        with look.views(old, only, parts) as lefts, look.views(new, only, parts) as rights:
            changes = (
                change_shape(right.checkpoint.component, *change)
                for right in rights
                for left in lefts
                if left.checkpoint.component == right.checkpoint.component
                for change in look.differences(left, right)
            )
            with closing(changes):
                shown = list(islice(changes, MOST + 1))
            return {
                "old": head(old, [each.state for each in lefts]),
                "new": head(new, [each.state for each in rights]),
                "changes": shown[:MOST],
                "more": len(shown) > MOST,
            }


def opened_file(desk: Desk, place: Place) -> Iterator[tuple[dict[str, Any], Iterator[Buffer]]]:
    """One file: what `ls` says of it, and its bytes while it is open. Raises NotFound, UsageError."""
    with desk.parts() as parts:
        moment = chosen_moment(parts, place.service, place.at)
        with look.views(moment, place.component or None, parts) as opened:
            view = look.only(opened, place.path)
            entry = view.tree.lookup(look.inside(view.checkpoint, place.path))
            if entry.is_directory:
                raise UsageError(f"'{place.path}' is a folder", hint="recover it as a whole")
            shape = {
                **head(moment, [each.state for each in opened]),
                "entry": entry_shape(view.checkpoint.component, entry),
            }
            yield shape, (look.content(view, place.path) if entry.is_file else iter(()))


def preview(desk: Desk, place: Place) -> dict[str, Any]:
    """One file, and the beginning of it."""
    for shape, pieces in opened_file(desk, place):
        data = bytearray()
        for piece in pieces:
            data += piece[: PREVIEW + 1 - len(data)]
            if len(data) > PREVIEW:
                break
        return {**shape, "data": bytes(data)}
    raise NotFound(f"there is no '{place.path}'")


def history(desk: Desk, place: Place) -> dict[str, Any]:
    """`history`: every version of a path, oldest first. Raises NotFound, Locked."""
    with desk.parts() as parts:
        named_points(parts)
        found = past.history(parts.catalog.points(place.service), place.component or None, place.path, parts)
        if not any(version.entry for version in found.versions):
            raise NotFound(f"no point of '{place.service}' has '{place.path}'", hint="search for a part of its name")
        return history_shape(place.service, place.path, found)


def head(moment: Moment, states: Sequence[State]) -> dict[str, Any]:
    """The moment, how to name just this one again, and what it has."""
    replayed = any(aim.until is not None for aim in moment.aims)
    found = evidence(moment, list(states))
    return {
        "at": iso_text(found.at_ns) if replayed else moment.point.id.hex(),
        "moment": moment_shape(moment, list(states)),
        "moment_text": moment_text(moment, list(states)),
        "components": [
            {"name": each.checkpoint.component, "kind": each.checkpoint.kind, "path": each.checkpoint.source}
            for each in states
        ],
        "all_components": [aim.stand.checkpoint.component for aim in moment.aims],
        "limits": list(_limits(moment, states)),
    }


def _limits(moment: Moment, states: Sequence[State]) -> Iterator[str]:
    for state in states:
        name = state.checkpoint.component
        if state.thinned:
            yield f"{name}: the log of that time is not kept any more; this is the point before it"
        elif moment.asked_ns is not None and state.sequence is not None and not state.covered:
            yield f"{name}: the log ends before that moment; what came later is not in it"
