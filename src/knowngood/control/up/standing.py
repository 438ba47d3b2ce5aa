"""How things stand: written by the loop, read by the doorkeeper's thread. Every value is replaced, none is changed."""

from __future__ import annotations

import math
import os
from collections.abc import Collection

from knowngood.control.schedule import Now, Obligation, Row, Schedule, Verb
from knowngood.control.up.followers import Followers
from knowngood.control.up.protocol import Doing, Failure, Running, ServiceNow, Told, plain
from knowngood.control.up.work import COMPLETE, Newest
from knowngood.core.instants import SECOND
from knowngood.core.model import Point
from knowngood.core.progress import Progress

_STUCK_IDLE = 60.0
_STUCK_AT_WORK = 900.0
"""Seconds without any movement after which the loop counts as stuck. At work, that is: while no counter changes, or
while it is recorded what changed: a million files at once take minutes on a busy machine."""


class Standing:
    """The state of a keeper."""

    def __init__(self, since_ns: int, by: str, schedule: Schedule, followers: Followers) -> None:
        self._since_ns = since_ns
        self._by = by
        self._schedule = schedule
        self._followers = followers
        self._newest: dict[str, bytes] = {}  # service → its newest point, of any status
        self._complete: dict[str, tuple[bytes, float | None]] = {}  # … its newest complete one, and when it was begun
        self._failures: dict[str, Failure] = {}
        self._pulse: tuple[object, float] = (None, 0.0)
        self.doing: tuple[Obligation, int, Progress] | None = None
        self.recording = False  # what changed
        self.waiting_for = ""
        self.stopping = False
        self.beats = 0

    # ------------------------------------------------------------------------------------------------- from the loop

    def known(self, service: str) -> bytes | None:
        """The id of the newest point."""
        return self._newest.get(service)

    def found(self, service: str, newest: Newest, now: Now) -> None:
        """These are its newest points. How old they are, the wall clock says, once."""
        if newest.point:
            self._newest[service] = newest.point.id
        if newest.complete:
            age = (now.wall_ns - newest.complete.started_ns) / SECOND
            self._complete[service] = (newest.complete.id, now.steady - age if age >= 0 else None)

    def made(self, service: str, point: Point, began: Now) -> None:
        """A point was made here."""
        self._newest[service] = point.id
        if point.status in COMPLETE:
            self._complete[service] = (point.id, began.steady)

    def failed(self, service: str, why: Told, now: Now) -> bool:
        """Something failed. Returns whether that is news."""
        before = self._failures.get(service)
        same = before is not None and (before.code, before.message) == (why.code, why.message)
        attempts = before.attempts + 1 if before else 1
        self._failures[service] = Failure(
            code=why.code, message=why.message, hint=why.hint, at_ns=now.wall_ns, attempts=attempts
        )
        return not same

    def well(self, service: str) -> Failure | None:
        """It works. Returns what did not until now."""
        return self._failures.pop(service, None)

    def forget_others(self, services: Collection[str]) -> None:
        """Only these are there, and the tidying."""
        for known in (self._newest, self._complete, self._failures):
            for name in known.keys() - {*services, ""}:
                known.pop(name)

    def line(self) -> str:
        """What is going on, for the service manager."""
        if self.doing:
            return f"{self.doing[0].verb} {self.doing[0].service}"
        if self._failures:
            return "trouble: " + ", ".join(f"{name or 'tidy'}: {why.message}" for name, why in self._failures.items())
        return "all is well"

    # ------------------------------------------------------------------------------------------- from other threads

    def moves(self, now: float) -> bool:
        """Whether the loop moves: it has gone round, or the counters of its verb have changed, not too long ago."""
        doing = self.doing
        beat: tuple[object, ...] = (self.beats,)
        if doing:
            counters = doing[2]
            beat += (counters.files, counters.bytes, counters.landed_bytes, len(counters.phases))
        if beat != self._pulse[0]:
            self._pulse = (beat, now)
        return now - self._pulse[1] < (_STUCK_AT_WORK if doing or self.recording else _STUCK_IDLE)

    def running(self, now: Now) -> Running:
        """All of it."""
        failures = self._failures.copy()
        rows = self._schedule.rows()
        return Running(
            process=os.getpid(),
            since_ns=self._since_ns,
            started_by=self._by,
            stopping=self.stopping,
            waiting_for=plain(self.waiting_for),
            doing=self._doing(),
            services=tuple(self._service(row, failures, now) for row in rows if row.verb == Verb.PROTECT),
            tidy_due_in=next((_due_in(row, now) for row in rows if row.verb == Verb.TIDY), None),
            tidy_failure=failures.get(""),
        )

    def _service(self, row: Row, failures: dict[str, Failure], now: Now) -> ServiceNow:
        point, begun = self._complete.get(row.service, (b"", None))
        return ServiceNow(
            name=row.service,
            age=None if begun is None else now.steady - begun,
            point=point.hex(),
            newest=self._newest.get(row.service, b"").hex(),
            due_in=_due_in(row, now),
            failure=failures.get(row.service),
            followers=self._followers.states(row.service),
        )

    def _doing(self) -> Doing | None:
        if self.doing is None:
            return None
        what, since, progress = self.doing
        return Doing(
            verb=what.verb,
            service=what.service,
            since_ns=since,
            phase=plain(progress.phase),
            files=progress.files,
            total_files=progress.total_files,
            bytes=progress.bytes,
            total_bytes=progress.total_bytes,
            landed_bytes=progress.landed_bytes,
            current=plain(progress.current),
        )


def _due_in(row: Row, now: Now) -> float | None:
    return None if row.due == math.inf else max(0.0, row.due - now.steady)
