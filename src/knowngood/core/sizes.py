"""Sizes, rates and spans of time in people's words."""

from __future__ import annotations

import re

from knowngood.core.errors import UsageError

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

_SPAN_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "mo": 2592000, "y": 31536000}
_SPAN = re.compile(
    r"(\d+(?:\.\d+)?)(?:(s)(?:ec(?:ond)?s?)?|(mo)(?:nths?)?|(m)(?:in(?:ute)?s?)?"
    r"|(h)(?:ours?)?|(d)(?:ays?)?|(w)(?:eeks?)?|(y)(?:ears?)?)"
)
_SIZE_BYTES = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": GIB, "t": 1 << 40, "p": 1 << 50}


def bytes_text(count: float) -> str:
    """`1536` → `1.5 KiB`."""
    if abs(count) < KIB:
        return f"{int(count)} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        count /= 1024
        if abs(count) < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} PiB"


def parse_size(text: str) -> int:
    """`64M` or `64 MiB` → bytes. Raises UsageError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([bkmgtp]?)(?:i?b)?\s*", text.lower())
    if not found:
        raise UsageError(f"'{text}' is not a size", hint="write a size such as 500M or 20GiB")
    return int(float(found[1]) * _SIZE_BYTES[found[2]])


def span_text(seconds: float) -> str:
    """`5400` → `1 h 30 min`; two units at most."""
    if seconds < 0:
        return "-" + span_text(-seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    for unit, size, lower, lower_size in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if seconds >= size:
            rest = int(seconds % size // lower_size)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {lower}" if rest else "")
    return f"{seconds:.0f} s"


def parse_span(text: str) -> float:
    """`48h`, `30d`, `1h30m`, `90s`, `2 hours` → seconds. Raises UsageError."""
    rest = text.strip().lower().replace(" ", "")
    total, used = 0.0, False
    while rest:
        found = _SPAN.match(rest)
        if not found:
            raise UsageError(f"'{text}' is not a span of time", hint="write a span such as 90s, 48h, 30d or 1y")
        total += float(found[1]) * _SPAN_SECONDS[found[found.lastindex or 0]]
        used, rest = True, rest[found.end() :]
    if not used:
        raise UsageError("an empty span of time", hint="write a span such as 90s, 48h, 30d or 1y")
    return total


def span_short(seconds: float) -> str:
    """`172800` → `48h`: the form that policies are written in; `parse_span` reads it back as the same number."""
    if seconds == 0:
        return "0d"
    for unit, size, least in (("y", 31536000, 1), ("d", 86400, 3), ("h", 3600, 1), ("m", 60, 1)):
        if seconds >= least * size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{seconds:f}".rstrip("0") + "s"
