"""The values that our files hold, and what is said about one that does not fit."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainValidator
from pydantic_core import PydanticCustomError

from knowngood.core.captures import CAPTURES
from knowngood.core.errors import UsageError
from knowngood.core.model import MIN_EVERY
from knowngood.core.sizes import parse_span, span_short

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_NAME_FIX = "a name has 1 to 63 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit"
_CAPTURES = ("auto", *CAPTURES)
_LONGEST_YEARS = 200  # so that every moment of the ladder fits 64 bits


def wrong(problem: str, fix: str = "") -> PydanticCustomError:
    """What is said about a value that does not fit."""
    return PydanticCustomError("knowngood", "{problem}", {"problem": problem, "fix": fix})


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise wrong("must be text", f'put it in quotes: "{value}"' if isinstance(value, int | float) else "")
    if "\0" in value:
        raise wrong("holds a zero byte", "remove it")
    return value


def name_problem(name: str) -> str | None:
    """What is wrong with the name of a service or component; None when nothing is."""
    return None if _NAME.fullmatch(name) else f"'{name}' is not a name here: {_NAME_FIX}"


def _name(value: Any) -> str:
    if problem := name_problem(_text(value)):
        raise wrong(problem, "")
    return value


def normal_path(value: str) -> str:
    """An absolute path in its normal form. Raises ValueError, with the fix as its second argument."""
    if not value.startswith("/"):
        raise ValueError(f"the path '{value}' is not absolute", "begin it with /")
    if ".." in value.split("/"):
        raise ValueError(f"the path '{value}' holds '..'", "write where it leads to; links make '..' ambiguous")
    return "/" + os.path.normpath(value).lstrip("/")


def _path(value: Any) -> str:
    text = _text(value)
    try:
        return normal_path(text)
    except ValueError as bad:
        raise wrong(*bad.args) from None


def _patterns(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise wrong("must be a list", f'["{value}"]')
    if not isinstance(value, list):
        raise wrong("must be a list of patterns", '["*.tmp", "cache/"]')
    patterns = tuple(map(_text, value))
    if not all(patterns):
        raise wrong("holds an empty pattern", "remove it")
    return patterns


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise wrong("must be a list of names", "[db, uploads]")
    found = tuple(map(_name, value))
    if twice := next((each for each in found if found.count(each) > 1), None):
        raise wrong(f"names '{twice}' twice", "once is enough")
    return found


def span(value: Any) -> float:
    """A span of time in seconds, as people write it."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value == 0:
        return 0.0
    if not isinstance(value, str):
        raise wrong(f"'{value}' is not a span of time", "write a span such as 90s, 48h, 30d or 1y")
    try:
        seconds = parse_span(value)
    except UsageError as bad:
        raise wrong(bad.message, bad.hint) from None
    if seconds > _LONGEST_YEARS * 365 * 86400:
        raise wrong(f"'{value}' is longer than {_LONGEST_YEARS} years", f"write {_LONGEST_YEARS}y at most")
    return seconds


def _capture(value: Any) -> str:
    if value not in _CAPTURES:
        raise wrong(f"'{value}' is no capture level", f"levels: {', '.join(_CAPTURES)}")
    return value


def cadence(value: Any) -> float:
    """A span that is 0 or at least a second."""
    seconds = span(value)
    if 0 < seconds < MIN_EVERY:
        raise wrong(f"'{value}' is shorter than {span_short(MIN_EVERY)}", "write 1s or more, or 0 for none")
    return seconds


def words(value: Any) -> Any:
    """An empty mapping may be left out, as YAML reads `policy:` without anything below it."""
    return {} if value is None else value


Text = Annotated[str, PlainValidator(_text)]
Name = Annotated[str, PlainValidator(_name)]
Path = Annotated[str, PlainValidator(_path)]
Names = Annotated[tuple[str, ...], PlainValidator(_names)]
Patterns = Annotated[tuple[str, ...], PlainValidator(_patterns)]
Span = Annotated[float, PlainValidator(span)]
Cadence = Annotated[float, PlainValidator(cadence)]
Capture = Annotated[str, PlainValidator(_capture)]


# Every command waits for this module: forms are made ready when they are needed, and nobody's plugins are looked for.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


class Form(BaseModel):
    """A form: keys are words joined by hyphens, and none is unknown."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=lambda name: name.replace("_", "-"),
        defer_build=True,
    )
