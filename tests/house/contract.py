"""docs/json.md as data, and how a document is compared with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from tests.house.files import ROOT

Rows = dict[str, str]
"""Field → type, as a table of the document says."""

_ROW = re.compile(r"\| `([^`]+)` \| ([^|]+?) \|")
_SHAPE = re.compile(r"\[(\w+)\]\(#shape-(\w+)\)")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


@cache
def sections() -> dict[str, tuple[Rows, str]]:
    """Each section's fields, shapes written out, and its text."""
    text = (ROOT / "docs" / "json.md").read_text()
    found = {part.split("\n", 1)[0].strip(): part for part in re.split(r"^#{1,2} ", text, flags=re.MULTILINE)[1:]}
    shapes: dict[str, Rows] = {}
    for title, part in found.items():
        if title.startswith("Shape: "):
            shapes[title.removeprefix("Shape: ")] = dict(_rows(part, shapes))
    return {title: (dict(_rows(part, shapes)), part) for title, part in found.items()}


def _rows(part: str, shapes: dict[str, Rows]) -> Iterator[tuple[str, str]]:
    if whole := re.search(r"^The fields of an? " + _SHAPE.pattern, part, re.MULTILINE):
        yield from shapes[whole[2]].items()
    for field, kind in _ROW.findall(part):
        if shape := _SHAPE.match(kind):
            yield field, "object" + kind[shape.end() :]
            yield from ((f"{field}.{below}", type_) for below, type_ in shapes[shape[2]].items())
        else:
            yield field, kind


def described(title: str) -> Rows:
    """The fields of a command's document."""
    return {**sections()["Every document"][0], **sections()[title][0]}


# ------------------------------------------------------------------------------------------------- comparing


def _is(kind: str, value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    match kind:
        case "string" | "path":
            return isinstance(value, str)
        case "id":
            return isinstance(value, str) and re.fullmatch(r"[0-9a-f]+", value) is not None
        case "moment":
            return isinstance(value, str) and _MOMENT.fullmatch(value) is not None
        case "boolean":
            return isinstance(value, bool)
        case "integer" | "bytes":
            return whole
        case "number" | "seconds":
            return whole or isinstance(value, float)
        case "value":
            return isinstance(value, str | bool | list)
    raise AssertionError(f"docs/json.md has a type that is not explained: {kind}")


def differences(rows: Rows, value: Any, at: str = "") -> Iterator[str]:
    """Where a value is not as the rows say."""
    kind = rows.get(at, "object")
    base = kind.removesuffix(" or null")
    if value is None:
        if base == kind:
            yield f"{at}: null"
    elif isinstance(value, dict) and base == "object":
        below = {re.split(r"[.\[]", row[len(at) :].lstrip("."))[0] for row in rows if _is_below(row, at)}
        if set(value) != below:
            yield f"{at or 'the document'}: {sorted(set(value) ^ below)} only in one of code and docs/json.md"
        for key in set(value) & below:
            yield from differences(rows, value[key], f"{at}.{key}".lstrip("."))
    elif isinstance(value, list) and base.startswith("list of "):
        yield from (f"{at}: {each!r}" for each in value if not _is(base.removeprefix("list of "), each))
    elif isinstance(value, list) and (f"{at}[]" in rows or any(row.startswith(f"{at}[].") for row in rows)):
        for each in value:
            yield from differences(rows, each, f"{at}[]")
    elif base == "object" or not _is(base, value):
        yield f"{at}: {value!r} is no {kind}"


def _is_below(row: str, at: str) -> bool:
    return row != at and (not at or row.startswith(f"{at}."))


def seen(value: Any, at: str = "") -> Iterator[str]:
    """Every field that a document has; nothing lies below null."""
    if at:
        yield at
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from seen(inside, f"{at}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inside in value:
            yield from seen(inside, f"{at}[]")
