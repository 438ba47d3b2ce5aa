"""The desk: what pages are made of, read from a home as the documents of docs/json.md. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from knowngood.control.doctor import Advice, examine
from knowngood.control.drills import kept_reports
from knowngood.control.home import Home
from knowngood.control.keyring import Secrets
from knowngood.control.plugins import Plugins
from knowngood.control.promises import DAYS
from knowngood.control.report import vault_state
from knowngood.control.services import get_service
from knowngood.control.status import assess, headline
from knowngood.control.workshop import Workshop
from knowngood.core.instants import SECOND, now_ns
from knowngood.core.model import Point
from knowngood.doors.cli.commands.promises import promises_shape
from knowngood.doors.cli.commands.status import status_shape
from knowngood.doors.cli.commands.timeline import timeline_shape
from knowngood.doors.cli.commands.vault import state_shape
from knowngood.doors.cli.moments import point_shape
from knowngood.doors.console.keyhole import Keyhole
from knowngood.flow.parts import Parts
from knowngood.flow.points import checkpoints_of
from knowngood.flow.timeline import timelines

_GROWTH_NS = 30 * 86400 * SECOND


@dataclass(frozen=True, slots=True)
class Desk:
    """A home and what can be plugged in. Every question opens the vault anew, as a command does."""

    home: Home
    plugins: Plugins
    keyhole: Keyhole = field(default_factory=Keyhole)

    @contextmanager
    def open(self) -> Iterator[Workshop]:
        """The home's workshop, for one question."""
        shop = Workshop(self.home, self.plugins, Secrets(recovery_key=self.keyhole.key))
        try:
            yield shop
        finally:
            shop.close()

    def unlock(self, passphrase: bytes) -> None:
        """Open the vault for a while. Raises Locked when that is not its passphrase."""
        shop = Workshop(self.home, self.plugins, Secrets(passphrase=lambda: passphrase))
        try:
            self.keyhole.put(shop.private.recovery_key)
        finally:
            shop.close()

    @contextmanager
    def parts(self) -> Iterator[Parts]:
        """What the verbs of the flow are given, for one question."""
        with self.open() as shop:
            yield shop.parts()

    def status(self, service: str | None = None) -> tuple[dict[str, Any], str, Exception | None]:
        """`status`, the sentence over it, and what keeps the vault from being looked at."""
        with self.open() as shop:
            report = assess(shop, service)
        return status_shape(report), headline(report), report.trouble or report.silent

    def promises(self, services: Iterable[str], days: int = DAYS) -> dict[str, Any]:
        """`promises` of these services."""
        return promises_shape(self.home, services, days)

    def points(self, service: str) -> list[Point]:
        """All of them, newest first. Raises NotFound."""
        with self.parts() as parts:
            found = parts.catalog.points(service)
        if not found:
            get_service(self.home, service)  # raises NotFound, and says which names there are
        return found

    def shapes(self, points: Iterable[Point]) -> list[dict[str, Any]]:
        """Some points, as `points` has them."""
        with self.parts() as parts:
            return [point_shape(each, checkpoints_of(each, parts)) for each in points]

    def timeline(self, service: str) -> dict[str, Any]:
        """`timeline`. Raises Locked where the log cannot be read here."""
        with self.parts() as parts:
            return timeline_shape(service, timelines(service, parts))

    def components(self, service: str) -> list[str]:
        """The names of the components that its newest point has, or that it is defined with. Raises NotFound."""
        with self.parts() as parts:
            if points := parts.catalog.points(service):
                return [each.component for each in checkpoints_of(points[0], parts)]
        return [each.name for each in get_service(self.home, service).components]

    def vault(self) -> tuple[dict[str, Any], list[Advice], tuple[int, float]]:
        """`vault status`, what the doctor finds, and how many new bytes the points of so many seconds brought."""
        with self.open() as shop:
            parts = shop.parts()
            state = state_shape(vault_state(parts, shop.home.vault_path()))
            since = now_ns() - _GROWTH_NS
            recent = [each for each in parts.catalog.points() if each.received_ns >= since]
            new = sum(each.totals.landed_bytes for point in recent for each in checkpoints_of(point, parts))
            first = min((each.received_ns for each in recent), default=now_ns())
            return state, examine(shop), (new, (now_ns() - first) / SECOND)

    def drills(self, service: str | None = None) -> list[dict[str, Any]]:
        """The reports of `drills`, newest first."""
        with self.open() as shop:
            judged = shop.catalog.judgements()
        found = kept_reports(self.home, judged, service)
        return [{"signed": each.signed, "judged": each.judged is True, "report": each.report} for each in found]
