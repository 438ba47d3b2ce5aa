"""Drills on schedule: each a process of its own, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from knowngood.control.home import Home
from knowngood.control.schedule import Now, Obligation
from knowngood.control.up.child import Answered, Child
from knowngood.control.up.protocol import Told


@dataclass(frozen=True, slots=True)
class Ended:
    """How a drill came out. `trouble` says what is wrong: of the point, of the time it took, or why there was none.
    `judged`: it came to an outcome."""

    what: Obligation
    began: Now
    outcome: str
    judged: bool
    trouble: Told | None


class Drills:
    """The drills of one keeper."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._running: tuple[Obligation, Now, Child] | None = None

    @property
    def busy(self) -> bool:
        """Whether one is under way."""
        return self._running is not None

    def start(self, what: Obligation, began: Now) -> None:
        """Begin one. Raises OSError."""
        self._running = what, began, Child(self._home, "drill", what.service)

    def ended(self) -> Iterator[Ended]:
        """The one that has ended since it was asked the last time."""
        if self._running is None:
            return
        what, began, child = self._running
        answered = child.ended()
        if answered is not None:
            self._running = None
            yield _outcome(what, began, answered)

    def stop(self) -> None:
        """End it: it takes down what it has put up."""
        running, self._running = self._running, None
        if running is not None:
            running[2].stop()


def _outcome(what: Obligation, began: Now, answered: Answered) -> Ended:
    report = answered.document.get("report")
    if not report:
        return Ended(what, began, "", judged=False, trouble=answered.trouble("the drill"))
    outcome, hint = str(report.get("outcome")), f"knowngood drills {what.service}"
    reasons = [str(each) for each in report.get("reasons") or ()]
    if report.get("rto_kept") is False:
        reasons.append(f"recovery took {report.get('seconds')} s, and {report.get('rto')} s are promised")
    trouble = Told(outcome, f"the drill: {'; '.join(reasons)}", hint) if reasons else None
    return Ended(what, began, outcome, judged=outcome != "unproven", trouble=trouble)
