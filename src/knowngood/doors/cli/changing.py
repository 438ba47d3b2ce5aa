"""Showing the plan of a change, and carrying it out: the same for every command that changes a service."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from knowngood.control.changes import Difference, ServiceChange
from knowngood.control.derived import ours_inside
from knowngood.control.up.client import nudge
from knowngood.doors.cli.describe import component_text, kept_text
from knowngood.doors.cli.session import Session
from knowngood.doors.cli.shapes import change_shape

_DONE = {"create": "created", "change": "changed", "remove": "removed", "none": "is already so"}
_WOULD = {"create": "would be created", "change": "would be changed", "remove": "would be removed"}


def change(
    session: Session, document: str, plan: Callable[[], ServiceChange], *, dry_run: bool, then: str = ""
) -> None:
    """Make the plan; print it, or carry it out under the lock. `then` is what to do next, for people."""
    planned, path = plan(), None  # what cannot be planned does not even create a home
    if not dry_run:
        with session.lock():
            planned = plan()
            path = planned.carry_out(session.home)
        nudge(session.home)
    for warning in [*planned.warnings(), *missing_paths(planned), *_ours(session, planned)]:
        session.out.warn(warning)
    session.out.result(
        document,
        change_shape(planned, path, dry_run=dry_run),
        lambda: tell_change(session, planned, path, dry_run=dry_run, then=then),
    )


def missing_paths(planned: ServiceChange) -> list[str]:
    """Components that are new here, and whose paths lead nowhere."""
    known = planned.before.components if planned.before else ()
    new = [each for each in (planned.after.components if planned.after else ()) if each not in known]
    return [f"{each.path} does not exist now" for each in new if each.path and not os.path.lexists(each.path)]


def _ours(session: Session, planned: ServiceChange) -> list[str]:
    """What of a service that becomes another one is our own."""
    changed = planned.after is not None and planned.action in ("create", "change")
    return list(ours_inside(session.home, planned.after)) if changed and planned.after else []


def tell_change(session: Session, planned: ServiceChange, path: str | None, *, dry_run: bool, then: str = "") -> None:
    """A change for people: what is done, or would be, value by value; and where the file is."""
    out = session.out
    verb = (_WOULD if dry_run else _DONE).get(planned.action, _DONE["none"])
    head = f"service '{planned.name}' {verb}"
    lines = [] if planned.action == "remove" else _lines(planned)
    if dry_run:
        out.line(head)
        for line in lines:
            out.line(line)
        return
    out.note(head + (f": {path}" if path and planned.action != "remove" else ""))
    for line in lines:
        out.note(line)
    if planned.action == "remove":
        out.note("its points stay where they are")
        out.note(f"to bring it back: knowngood service apply {path}")
    elif then and planned.action != "none":
        out.note(then)


def _lines(planned: ServiceChange) -> list[str]:
    """Whole components in a line each; of those that stay, and of the policy, the values that change."""
    old = {each.name: each for each in planned.before.components} if planned.before else {}
    new = {each.name: each for each in planned.after.components} if planned.after else {}
    lines = [f"  - {component_text(each)}" for name, each in old.items() if name not in new]
    lines += [f"  + {component_text(each)}" for name, each in new.items() if name not in old]
    if planned.before is None and planned.after is not None:
        return [*lines, f"  keeps {kept_text(planned.after.policy)}"]
    whole = {f"components.{name}." for name in old.keys() ^ new.keys()}
    return lines + [_line(each) for each in planned.differences() if not each.item.startswith(tuple(whole))]


def _line(difference: Difference) -> str:
    if difference.before is None:
        return f"  + {difference.item}: {_value(difference.after)}"
    if difference.after is None:
        return f"  - {difference.item}: {_value(difference.before)}"
    return f"  ~ {difference.item}: {_value(difference.before)} → {_value(difference.after)}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
