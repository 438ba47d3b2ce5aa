"""Scrubbing on schedule: a turn each hour, in a process of its own that stays out of the way and knows what is due."""

from __future__ import annotations

from typing import Any

from knowngood.control.home import Home
from knowngood.control.up.child import Child
from knowngood.control.up.protocol import Told

EVERY = 3600.0
_HEALED = "healed"
FIRST = 900.0
"""Seconds from the start to the first turn: a process that keeps dying must not keep reading."""


class Scrubs:
    """The turns of one keeper. Seconds are on the steady clock."""

    def __init__(self, home: Home, now: float) -> None:
        self._home = home
        self._child: Child | None = None
        self._told = ""
        self.due = now + FIRST

    @property
    def busy(self) -> bool:
        """Whether a turn is under way."""
        return self._child is not None

    def tick(self, now: float) -> Told | None:
        """Begin a turn when it is due; say what the one that has ended came to, when that is news."""
        news = None
        if self._child is not None and (answered := self._child.ended()) is not None:
            self._child = None
            news = _news(answered.document) if answered.document else answered.trouble("reading back")
        if self._child is None and now >= self.due:
            self.due = now + EVERY
            try:
                self._child = Child(self._home, "vault", "scrub")
            except OSError as wrong:
                news = Told("failed", f"nothing is read back: {wrong.strerror}")
        if news is not None and news.code != _HEALED:  # that is news each time: a disk gets worse
            news, self._told = (news if news.message != self._told else None), news.message
        return news

    def stop(self) -> None:
        """End the turn: it goes on where it stopped."""
        child, self._child = self._child, None
        if child is not None:
            child.stop()


def _news(document: dict[str, Any]) -> Told | None:
    """What a turn found wrong, and what came back; None when all is well."""
    findings, healed = document.get("findings") or (), document.get("healed") or ()
    if not findings and not healed:
        return None
    back = f"objects of the vault that were damaged, and came back from parity: {len(healed)}; test its disk"
    if not findings:
        return Told(_HEALED, back, "knowngood vault check --read-data")
    services = sorted({name for each in findings for name in each.get("services", ())})
    whose = f", which affects {', '.join(services)}" if services else ""
    lost = f"{len(findings)} things in the vault are damaged{whose}"
    return Told("damaged", f"{lost}; {back}" if healed else lost, "knowngood vault check --heal")
