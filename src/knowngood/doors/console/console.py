"""The console as a whole: what its addresses share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from knowngood.core.errors import KnowngoodError
from knowngood.doors.console.desk import Desk
from knowngood.doors.console.gate import Gate
from knowngood.doors.console.jobs import Jobs


@dataclass(frozen=True, slots=True)
class Console:
    """What pages read, what was begun from them, and who may come in."""

    desk: Desk
    jobs: Jobs
    gate: Gate
    explain: Callable[[Exception], KnowngoodError]
    """What nobody foresaw, in words; its details are kept."""
