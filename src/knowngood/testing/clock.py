"""Clocks that move when a test says so."""

from __future__ import annotations

import time
from types import TracebackType
from unittest.mock import patch

from knowngood.control.schedule import Now
from knowngood.core.instants import SECOND

DAY = 86400.0


class FakeClock:
    """Stands in for the wall clock while it is entered. Each look at it takes a nanosecond."""

    def __init__(self, start_ns: int | None = None) -> None:
        self.now_ns = time.time_ns() if start_ns is None else start_ns
        self._patch = patch.object(time, "time_ns", self)

    def __call__(self) -> int:
        self.now_ns += 1
        return self.now_ns

    def move(self, seconds: float) -> None:
        """Forward, or back."""
        self.now_ns += int(seconds * SECOND)

    def __enter__(self) -> FakeClock:
        self._patch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patch.stop()


class TwoClocks:
    """The two clocks that a schedule is given. Calling it gives the moment now."""

    def __init__(self, wall_ns: int = 1_800_000_000 * SECOND) -> None:
        self.steady = 1000.0
        self.wall_ns = wall_ns

    def __call__(self) -> Now:
        return Now(self.steady, self.wall_ns)

    def move(self, seconds: float) -> None:
        """Time passes on both, whether the machine sleeps or not."""
        self.steady += seconds
        self.jump(seconds)

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock, forward or back."""
        self.wall_ns += int(seconds * SECOND)
