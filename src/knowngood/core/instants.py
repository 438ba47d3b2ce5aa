"""Moments: nanoseconds since 1970 (UTC) inside, the user's own words and time zone outside."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from knowngood.core.errors import UsageError
from knowngood.core.sizes import parse_span

SECOND = 1_000_000_000

_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{1,9}))?)?"
_DATE = r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})"
_ABSOLUTE = re.compile(rf"{_DATE}(?:[ T]{_TIME})?(?P<zone>Z|[+-]\d{{2}}:?\d{{2}})?")
_RELATIVE_DAY = re.compile(rf"(?P<word>today|yesterday|(?P<ago>\d+) days? ago)(?: (?:at )?{_TIME})?")
_CLOCK = re.compile(_TIME)
_HINT = "write a moment such as '2026-11-20 14:02:07.35', '14:02', '-90s', 'yesterday 18:00' or 'latest'"


def now_ns() -> int:
    """The wall clock. Used to label and to keep; never to decide what is safe."""
    return time.time_ns()


def _nanos(moment: datetime, fraction: str | None) -> int:
    whole = int(moment.timestamp())
    return whole * SECOND + int((fraction or "0").ljust(9, "0"))


def _zone(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    if text == "Z":
        return UTC
    sign = -1 if text[0] == "-" else 1
    digits = text[1:].replace(":", "")
    return timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))


def _clock_of(found: re.Match[str]) -> tuple[int, int, int]:
    return int(found["hour"] or 0), int(found["minute"] or 0), int(found["second"] or 0)


def _local(naive: datetime, zone: tzinfo | None) -> datetime:
    return naive.replace(tzinfo=zone) if zone else naive.astimezone()


def _parse_known(text: str, now: int) -> int | None:
    if found := _ABSOLUTE.fullmatch(text):
        day = datetime(int(found["year"]), int(found["month"]), int(found["day"]), *_clock_of(found))
        return _nanos(_local(day, _zone(found["zone"])), found["fraction"])
    today = datetime.fromtimestamp(now // SECOND).astimezone().replace(hour=0, minute=0, second=0, tzinfo=None)
    if found := _RELATIVE_DAY.fullmatch(text):
        back = {"today": 0, "yesterday": 1}.get(found["word"]) if not found["ago"] else int(found["ago"])
        hour, minute, second = _clock_of(found)
        day = (today - timedelta(days=back or 0)).replace(hour=hour, minute=minute, second=second)
        return _nanos(_local(day, None), found["fraction"])
    if found := _CLOCK.fullmatch(text):
        hour, minute, second = _clock_of(found)
        at = _nanos(_local(today.replace(hour=hour, minute=minute, second=second), None), found["fraction"])
        if at <= now:
            return at
        before = (today - timedelta(days=1)).replace(hour=hour, minute=minute, second=second)
        return _nanos(_local(before, None), found["fraction"])  # a clock time is always the last one that has passed
    return None


def parse_when(text: str, *, now: int | None = None) -> int:
    """A moment in the user's words → nanoseconds. Local time zone unless one is written.

    A clock time without a day means its last occurrence. Raises UsageError with examples.
    """
    now = now_ns() if now is None else now
    words = " ".join(text.strip().split())
    if words.lower() in ("now", "latest"):
        return now
    if words.startswith("@") and words[1:].isdigit():
        return int(words[1:]) * SECOND
    if words.startswith("-"):
        return now - int(parse_span(words[1:]) * SECOND)
    if words.lower().endswith(" ago") and not words.lower().endswith(("day ago", "days ago")):
        return now - int(parse_span(words[:-4]) * SECOND)
    try:
        known = _parse_known(words if "T" in words else words.lower(), now)
    except (ValueError, OverflowError) as wrong:
        raise UsageError(f"'{text}' is not a moment: {wrong}", hint=_HINT) from None
    if known is None:
        raise UsageError(f"'{text}' is not a moment", hint=_HINT)
    return known


def when_text(moment: int, *, fraction: int = 0) -> str:
    """Nanoseconds → `2026-11-20 14:02:07` in the local time zone, with `fraction` digits of the second."""
    text = datetime.fromtimestamp(moment // SECOND).strftime("%Y-%m-%d %H:%M:%S")
    return text if not fraction else f"{text}.{moment % SECOND:09d}"[: len(text) + 1 + fraction]


def iso_text(moment: int) -> str:
    """Nanoseconds → ISO 8601 in UTC with nanoseconds, the form of `--json`."""
    return datetime.fromtimestamp(moment // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S") + (f".{moment % SECOND:09d}Z")
