"""What `knowngood up` reports: one event for each point and each trouble, and nothing for each tick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from knowngood.flow.protect import Protected


class What(StrEnum):
    """Kinds of events (docs/json.md)."""

    STARTED = "started"
    SERVICES = "services"  # they were read, or read again
    POINT = "point"
    TIDIED = "tidied"
    DRILLED = "drilled"
    BREACH = "breach"  # writes that are to wait for the vault do not, or do again
    TROUBLE = "trouble"
    WELL = "well"  # a trouble is over
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line. What does not belong to an event of its kind is empty."""

    what: What
    service: str = ""
    message: str = ""
    code: str = ""
    hint: str = ""
    seconds: float | None = None
    protected: Protected | None = None


Tell = Callable[[Event], None]
