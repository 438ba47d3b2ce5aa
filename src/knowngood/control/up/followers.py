"""Followers: what keeps up with a component between points. Who plugs one in meets this port.

A kind declares the levels at which it can be captured, and `Plugins.followers` says who follows at which. A component
is followed at the strongest level of which both know. Without a follower its points are made by scanning alone.
"""

from __future__ import annotations

import contextlib
import math
import select
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from knowngood.control.home import Home
from knowngood.control.schedule import Now
from knowngood.control.up.protocol import FollowerState, Told, told
from knowngood.core.captures import CAPTURES
from knowngood.core.errors import KnowngoodError, NotYet
from knowngood.core.model import ComponentSpec, ServiceSpec
from knowngood.core.ports import Kind
from knowngood.core.traits import KindTraits

if TYPE_CHECKING:  # every command loads the plugins, and few of them need what follows
    from knowngood.flow.follow import Following

_AGAIN = 30.0
PATIENCE = 30.0
"""Seconds that a point waits for a base that is being read; then it is made without that component."""


class Follower(Protocol):
    """Keeps up with one component. All calls come from the one loop, between verbs and never during one: what cannot
    wait that long, such as a queue of the kernel, is read by a thread of the follower's own."""

    def start(self) -> None:
        """Begin. Raises KnowngoodError; it is then tried again later."""
        ...

    def tick(self, now: Now) -> float:
        """Do what is due, and briefly; called when that is, when `fileno` can be read, and after verbs. Returns when it
        is to be at the latest, on the steady clock."""
        ...

    def rest(self) -> None:
        """Leave the vault to a verb; the next tick comes in again."""
        ...

    @property
    def following(self) -> Following | None:
        """Makes the component's checkpoints while it is followed; None when they are made without it."""
        ...

    def stop(self) -> None:
        """End, and leave nothing behind; called once after every start that returned."""
        ...

    def state(self) -> FollowerState:
        """For `knowngood status`; called from another thread."""
        ...

    def fileno(self) -> int:
        """A file that can be read when `tick` is wanted earlier; -1 for none."""
        ...


@dataclass(frozen=True, slots=True)
class Followed:
    """What a follower is given. `wants_point` asks for a point of the service soon; any thread may call it. `alone` has
    all followers of the home leave the vault, this one too."""

    home: Home
    service: ServiceSpec
    component: ComponentSpec
    wants_point: Callable[[], None]
    alone: Callable[[], None] = lambda: None


FollowerMaker = Callable[[Followed], Follower]


def strongest(captures: Iterable[str], makers: Mapping[str, FollowerMaker]) -> str | None:
    """The strongest level at which this can be followed; None when nobody can."""
    return max((each for each in captures if each in makers), key=CAPTURES.index, default=None)


def _levels(traits: KindTraits, asked: str) -> tuple[str, ...]:
    """The levels that come into question."""
    return (asked,) if asked != "auto" else tuple(each for each in traits.capture if each not in traits.unasked)


def bases_text(states: Iterable[FollowerState]) -> str:
    """Whose bases are being read, in words."""
    names = [f"'{each.component}'" for each in states if each.base is not None]
    return f"a base of {', '.join(names)}"


@dataclass(slots=True)
class _Row:
    """One component that is followed, or would be: `follower` is None while it cannot be started."""

    spec: tuple[ServiceSpec, ComponentSpec]
    capture: str
    follower: Follower | None = None
    due: float = -math.inf
    failure: Told | None = None


class Followers:
    """The followers of all components of a home."""

    def __init__(
        self,
        home: Home,
        makers: Mapping[str, FollowerMaker],
        kinds: Callable[[], Mapping[str, Kind]],
        wants_point: Callable[[str], None],
    ) -> None:
        self._home = home
        self._makers = makers
        self._kinds = kinds
        self._wants_point = wants_point
        self._rows: dict[tuple[str, str], _Row] = {}

    def keep_to(self, services: Iterable[ServiceSpec]) -> None:
        """Follow these from now on; components that are gone or defined otherwise are stopped. A policy matters not."""
        wanted = {(service.name, each.name): (service, each) for service in services for each in service.components}
        for key, row in list(self._rows.items()):
            if key in wanted and wanted[key][1] == row.spec[1]:
                row.spec = wanted[key]
                continue
            self._stop(row)
            del self._rows[key]
        if not self._makers:
            return
        for key, spec in wanted.items():
            kind = self._kinds().get(spec[1].kind)
            levels = _levels(kind.traits, spec[1].capture) if kind else ()
            capture = strongest(levels, self._makers)
            if key not in self._rows and capture is not None:
                self._rows[key] = _Row(spec, capture)

    def tick(self, now: Now, *, only_woken: bool = False) -> float:
        """Start what is to be started, call what is there; or only what is due or has woken us. Returns when the next
        wants to be called."""
        woken = self._woken() if only_woken else []
        for row in self._rows.values():
            skipped = only_woken or row.follower is None  # it could not be started, a short while ago
            if skipped and now.steady < row.due and row.follower not in woken:
                continue
            try:
                row.follower = row.follower or self._started(*row.spec, row.capture)
                row.due = row.follower.tick(now)
                row.failure = None
            except Exception as wrong:  # noqa: BLE001 one follower that fails must not end the others, nor the points
                self._stop(row)
                row.failure = told(wrong)
                row.due = now.steady + _AGAIN
        return min((row.due for row in self._rows.values()), default=math.inf)

    def _woken(self) -> list[Follower]:
        """Those whose files can be read: of many, one may have something a hundred times a second, the others not."""
        files = {row.follower.fileno(): row.follower for row in self._rows.values() if row.follower}
        looking = select.poll()
        for each in files:
            if each >= 0:
                looking.register(each, select.POLLIN)
        return [files[each] for each, _ in looking.poll(0)]

    def rest(self) -> None:
        """All of them leave the vault, until their next ticks."""
        for row in self._rows.values():
            if row.follower is not None:
                row.follower.rest()

    def _started(self, service: ServiceSpec, component: ComponentSpec, capture: str) -> Follower:
        what = Followed(self._home, service, component, lambda: self._wants_point(service.name), self.rest)
        follower = self._makers[capture](what)
        follower.start()
        return follower

    def followed(self, service: ServiceSpec) -> dict[str, Following]:
        """What makes checkpoints of components of a service as it is defined now, by their names."""
        found = {row.spec[1].name: row.follower.following for row in self._rows.values() if row.follower}
        return {
            each.name: following
            for each in service.components
            if (following := found.get(each.name)) is not None
            and (service.name, each) == (following.service.name, following.component)
        }

    def files(self) -> list[int]:
        """Files that can be read when somebody wants to be called."""
        found = (row.follower.fileno() for row in self._rows.values() if row.follower)
        return [each for each in found if each >= 0]

    def require_bases(self, service: str) -> None:
        """Raise NotYet while a point of a service had better wait for the bases of its components: a little, or, where
        there is nothing else, until they are there."""
        states = self.states(service)
        bases = [each.base for each in states if each.base is not None and each.base.first]
        if bases and (len(bases) == len(states) or min(each.seconds for each in bases) < PATIENCE):
            raise NotYet(f"{bases_text(states)} is being read")

    def states(self, service: str) -> tuple[FollowerState, ...]:
        """What they say of themselves."""
        return tuple(
            row.follower.state()
            if row.follower
            else FollowerState(component=component, capture=row.capture, failure=row.failure)
            for (name, component), row in self._rows.copy().items()
            if name == service
        )

    def stop(self) -> None:
        """Stop them all."""
        for row in self._rows.values():
            self._stop(row)
        self._rows.clear()

    @staticmethod
    def _stop(row: _Row) -> None:
        follower, row.follower = row.follower, None
        if follower is not None:
            with contextlib.suppress(KnowngoodError):
                follower.stop()
