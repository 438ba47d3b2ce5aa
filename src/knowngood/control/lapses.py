"""What a home remembers of how its promises were kept: the worst of each hour, and when writes were not waited for.

The keeper measures; whoever asks for the status reads. Bounded: a day of hours, and the last few breaches a service.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from knowngood.control.home import Home
from knowngood.control.remembered import Remembered
from knowngood.control.up.protocol import FollowerState, ServiceNow
from knowngood.core.instants import SECOND
from knowngood.core.model import ServiceSpec

HOURS = 24
_HOUR = 3600 * SECOND
_BREACHES = 20
_WHY = 300
_FILE_BYTES = 16 << 20
_SAVE_NS = 60 * SECOND


class Breach(msgspec.Struct, kw_only=True):
    """Writes of a component were acknowledged before they were durable here, though it is `synchronous`. Moments by the
    wall clock; `until_ns` is None while it lasts."""

    component: str
    since_ns: int
    until_ns: int | None = None
    why: str = ""


class _Service(msgspec.Struct):
    worst: dict[int, float] = {}  # hour since 1970 → seconds
    breaches: list[Breach] = []


class _Document(msgspec.Struct):
    services: dict[str, _Service] = {}


def risk_of(service: ServiceSpec, age: float | None, now: ServiceNow | None) -> float | None:
    """Seconds of changes that would be lost now: with logs of all components, what is not in them yet. `age` is that of
    the newest complete point."""
    behind = {each.component: each.behind for each in now.followers if each.holds} if now else {}
    delays = [behind.get(each.name) for each in service.components]
    if age is None or not delays or None in delays:
        return age
    return min(age, max(each for each in delays if each is not None))


class Lapses:
    """Read when it is made; a file that cannot be read is none. Only the keeper changes and saves it."""

    def __init__(self, home: Home) -> None:
        self._file = Remembered(home.lapses, _Document, _FILE_BYTES, _SAVE_NS)
        self._at_once = False

    def worst(self, service: str, now_ns: int) -> float | None:
        """The most that could have been lost at any moment of the last 24 hours, in seconds; None for unmeasured."""
        hours, now = self._of(service).worst, now_ns // _HOUR
        return max((risk for hour, risk in hours.items() if now - HOURS < hour <= now), default=None)

    def breaches(self, service: str) -> list[Breach]:
        """The last few, oldest first."""
        return self._of(service).breaches

    def _of(self, service: str) -> _Service:
        return self._file.document.services.get(service, _Service())

    # --------------------------------------------------------------------------------------------- from the keeper

    def measured(self, service: str, risk: float, now_ns: int) -> None:
        """So much would be lost now."""
        found, now = self._file.document.services.setdefault(service, _Service()), now_ns // _HOUR
        for hour in [each for each in found.worst if not now - HOURS < each <= now]:
            del found.worst[hour]
        if risk > found.worst.get(now, -1.0):
            found.worst[now] = round(risk, 3)
            self._file.is_new = True

    def heard(self, service: str, followers: Iterable[FollowerState], now_ns: int) -> list[Breach]:
        """What followers say of those who wait. The breaches that begin or end now."""
        news: list[Breach] = []
        found = self._file.document.services.setdefault(service, _Service())
        for each in followers:
            lasting = next((b for b in found.breaches if b.component == each.component and b.until_ns is None), None)
            if each.unsafe and lasting is None:
                breach = Breach(component=each.component, since_ns=now_ns, why=each.unsafe[:_WHY])
                found.breaches = [*found.breaches[1 - _BREACHES :], breach]
                news.append(breach)
            elif each.unsafe == "" and lasting is not None:
                lasting.until_ns = now_ns
                news.append(lasting)
        if news:
            self._file.is_new = self._at_once = True
        return news

    def keep_to(self, services: Collection[str]) -> None:
        """Only these are there."""
        self._file.keep_to(services)

    def save(self, now_ns: int, *, ending: bool = False) -> None:
        """Save what is new, not more often than once a minute; at once where a breach begins or ends."""
        self._file.save(now_ns, at_once=ending or self._at_once)
        self._at_once = False
