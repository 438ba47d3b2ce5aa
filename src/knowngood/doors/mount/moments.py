"""What moments are called in the file system: names that sort as time does, and that hold no colon."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from knowngood.core.ids import short
from knowngood.core.instants import SECOND, when_text
from knowngood.core.ports import PageSource

LATEST = b"latest"
_LISTED = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)(?:-(\d\d(?:\.\d{1,9})?))?")


@dataclass(frozen=True, slots=True)
class Moment:
    """One component at one point, or between points: then it brings its own pages. `identity` is that of the state."""

    identity: bytes
    root: bytes
    moment_ns: int
    received_ns: int
    pages: PageSource | None = None


def listed(moments: Iterable[Moment]) -> dict[bytes, Moment]:
    """Names of moments → moments, in the order of time, then `latest`: the one that arrived last.

    Those that share a second with one that was there before have the fraction of it, too.
    """
    named: dict[bytes, Moment] = {}
    latest: Moment | None = None
    for each in sorted(moments, key=lambda moment: moment.received_ns):
        name = when_text(each.moment_ns).replace(" ", "T").replace(":", "-")
        fraction = f"{name}.{each.moment_ns % SECOND:09d}"
        for text in (name, fraction, f"{fraction}-{short(each.identity)}"):
            if text.encode() not in named:
                named[text.encode()] = latest = each
                break
    found = dict(sorted(named.items()))
    if latest is not None:
        found[LATEST] = latest
    return found


def spoken(name: str) -> str:
    """A name in the form of the listing → the words that people type for it; all others stay as they are."""
    if found := _LISTED.fullmatch(name):
        day, hour, minute, second = found.groups()
        return f"{day} {hour}:{minute}" + (f":{second}" if second else "")
    return name
