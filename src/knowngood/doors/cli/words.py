"""Numbers and names as people read them, safe for their terminals."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta

from knowngood.core.instants import SECOND, now_ns


def clean(text: str, *, lines: bool = False) -> str:
    """Text that cannot steer a terminal: what is not printable is shown as an escape. Bytes that are not UTF-8 too."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or (lines and each == "\n") else _escape(each) for each in text)


def _escape(each: str) -> str:
    if 0xDC80 <= ord(each) <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{ord(each) - 0xDC00:02x}"
    return each.encode("unicode_escape").decode("ascii")


def day_text(moment: int, *, now: int | None = None) -> str:
    """`today 14:02`, `yesterday 18:00`, `2026-11-18 09:30`: a moment in a table, in the local time zone."""
    moment_local = datetime.fromtimestamp(moment // SECOND).astimezone()
    today = datetime.fromtimestamp((now_ns() if now is None else now) // SECOND).astimezone().date()
    clock = moment_local.strftime("%H:%M")
    if moment_local.date() == today:
        return f"today {clock}"
    if moment_local.date() == today - timedelta(days=1):
        return f"yesterday {clock}"
    return f"{moment_local:%Y-%m-%d} {clock}"


def count_text(count: int, thing: str, things: str = "") -> str:
    """`1 point`, `2 points`, `12 345 points`."""
    return f"{count:,} ".replace(",", " ") + (thing if count == 1 else things or thing + "s")


def absolute(path: str) -> str:
    """A path as somebody typed it, made absolute; `..` is followed as the system would follow it."""
    path = os.path.expanduser(path) if path.startswith("~") else path
    if ".." in path.split("/"):
        folder, last = os.path.split(path.rstrip("/"))
        return os.path.realpath(path) if last in ("", "..") else os.path.join(os.path.realpath(folder), last)
    return os.path.normpath(os.path.join(os.getcwd(), path))


def stamp_text() -> str:
    """The time now, for the name of a file."""
    return time.strftime("%Y%m%dT%H%M%S", time.localtime())
