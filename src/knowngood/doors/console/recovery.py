"""Recovering from the console: what is wanted, the plan that is shown, and the command that carries it out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from knowngood.control.services import find_service
from knowngood.core.errors import Busy, KnowngoodError, UsageError
from knowngood.core.model import ServiceSpec
from knowngood.core.sizes import bytes_text
from knowngood.doors.cli.commands.recover import plan_shape
from knowngood.doors.cli.words import count_text
from knowngood.doors.console.asking import Words
from knowngood.doors.console.desk import Desk
from knowngood.doors.console.inside import head
from knowngood.doors.console.pages import packed, url
from knowngood.flow.choose import chosen_moment
from knowngood.flow.recover import ComponentPlan, Wish, recover, stops_it

_MOST_PATHS = 500
_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants back, in the words of the command line."""

    service: str
    at: str
    component: str
    paths: tuple[str, ...]
    to: str
    delete: bool

    @classmethod
    def of(cls, service: str, words: Words) -> Wanted:
        """From a query or a form. `pick` is a component and a path in it. Raises UsageError."""
        picks = [Words(each) for each in words.all("pick")]
        paths = [path for path in words.all("path") if path] + [pick.one("path") for pick in picks]
        parts = {pick.one("component") for pick in picks} | {words.one("component")} - {""}
        if len(paths) > _MOST_PATHS:
            raise UsageError(f"more than {_MOST_PATHS} things are ticked", hint="recover their folder as a whole")
        component = parts.pop() if len(parts) == 1 else ""
        there = words.one("to").strip() if words.one("where") != "original" else ""
        if there and not os.path.isabs(there):
            raise UsageError(f"'{there}' is not a whole path", hint="write a folder such as /srv/then")
        wholly = not any(paths)
        return cls(
            service,
            words.one("at") or "latest",
            component,
            () if wholly else tuple(dict.fromkeys(paths)),
            there,
            delete=bool(words.one("delete")) and wholly,
        )

    def wish(self) -> Wish:
        """As the flow takes it."""
        return Wish(self.component or None, self.paths, self.to or None, self.delete)

    def command(self) -> list[str]:
        """The words that carry it out."""
        return [
            "recover",
            self.service,
            f"--at={self.at}",
            *([f"--component={self.component}"] if self.component else []),
            *(f"--path={each}" for each in self.paths),
            *([f"--to={self.to}"] if self.to else []),
            *(["--delete"] if self.delete else []),
        ]

    def fields(self) -> list[tuple[str, str]]:
        """The same as fields of a form."""
        component = "" if self.paths else self.component
        kept = [("at", self.at), ("component", component), ("to", self.to), ("delete", "1" if self.delete else "")]
        return [(name, value) for name, value in kept if value] + [("pick", each) for each in self.picks()]

    def picks(self) -> list[str]:
        """The paths as words of a form."""
        return [packed(self.component, each) for each in self.paths]


def plan(desk: Desk, wanted: Wanted) -> dict[str, Any]:
    """The plan, and a print of it: another plan has another one. Nothing is written. Raises as `recover` does."""
    plans: list[ComponentPlan] = []

    def look(made: list[ComponentPlan]) -> bool:
        plans.extend(made)
        return False

    with desk.parts() as parts:
        moment = chosen_moment(parts, wanted.service, wanted.at)
        here = _defined(desk, wanted.service)
        recover(moment, wanted.wish(), parts, look, here)
        shapes = [plan_shape(each) for each in plans]
        counted = [{name: value for name, value in each.items() if name != "samples"} for each in shapes]
        top = head(moment, [each.state for each in plans])
        pinned = replace(wanted, at=top["at"]).command()
        mark = hashlib.sha256(json.dumps([counted, pinned]).encode()).hexdigest()
        return {**top, "plans": shapes, "stops": stops_it(here), "print": mark}


def _defined(desk: Desk, name: str) -> ServiceSpec | None:
    with suppress(KnowngoodError):
        return find_service(desk.home, name)
    return None


def require_same(desk: Desk, wanted: Wanted, seen: str) -> None:
    """Raise Busy when the plan is not any more what somebody has seen and agreed to."""
    if plan(desk, wanted)["print"] != seen:
        raise Busy("what is there has changed since the plan was shown; nothing was written", hint="look at it again")


def choice_values(wanted: Wanted, components: Sequence[str]) -> dict[str, Any]:
    """What the page of the choice is made of."""
    return {
        "place": "home",
        "name": wanted.service,
        "here": f"/services/{wanted.service}",
        "wanted": wanted,
        "components": components,
        "plan": None,
    }


def plan_values(wanted: Wanted, found: Mapping[str, Any], components: Sequence[str]) -> dict[str, Any]:
    """What the page of the plan is made of. The moment in it is pinned: `latest` is the one that was planned."""
    here = f"/services/{wanted.service}"
    blocked = not found["stops"] and any(each["hindrance"] for each in found["plans"])
    writes = any(each["create"] or each["rewrite"] or each["attributes"] or each["delete"] for each in found["plans"])
    return {
        **choice_values(wanted, components),
        "plan": found,
        "pieces": [_part(each) for each in found["plans"]],
        "blocked": blocked,
        "writes": writes,
        "fields": wanted.fields(),
        "back": url(f"{here}/recover", **_query(wanted)),
    }


def _query(wanted: Wanted) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in wanted.fields():
        found.setdefault(name, []).append(value)
    return found


def _part(each: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "component": each["component"],
        "target": each["target"],
        "lines": list(_counts(each)),
        "same": each["same"],
        "notes": each["notes"],
        "hindrance": each["hindrance"],
        "samples": each["samples"][:_SAMPLES],
        "more": len(each["samples"]) > _SAMPLES,
    }


def _counts(each: Mapping[str, Any]) -> Iterator[str]:
    told = {
        "create": "to create: not there now",
        "rewrite": "to make as it was: the content differs",
        "attributes": "to set owner, rights or times of",
        "delete": "to DELETE: not there then",
    }
    yield from (f"{count_text(each[what], 'thing')} {text}" for what, text in told.items() if each[what])
    if each["write_bytes"]:
        yield f"at most {bytes_text(each['write_bytes'])} are written"
