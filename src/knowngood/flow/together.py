"""How the components of a point come to one moment: held at a common instant, in an order, or each by itself.

What is asked for is tried, and what was reached is said. A quiesced point runs the service's hook before it, which
brings the application to rest, and always the one after it, as soon as writes can go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from types import TracebackType

from knowngood.core.errors import KnowngoodError
from knowngood.core.model import Level, ServiceSpec
from knowngood.core.ports import Standing
from knowngood.flow.capture import Capture
from knowngood.flow.follow import Following
from knowngood.flow.hooks import run_hook
from knowngood.flow.mark import Held, Marked, mark

_LEVELS = list(Level)
_ONE_AFTER_THE_OTHER = "components were read one after the other while in use"


class Together:
    """The level of one point on its way. A context manager: leaving it lets the application go on."""

    def __init__(
        self, service: ServiceSpec, wanted: Level, followed: Mapping[str, Following], *, left_out: bool
    ) -> None:
        self._service = service
        self._wanted = wanted
        self._followed = followed
        self._left_out = left_out
        self._lowered = ""  # why it cannot be quiesced
        self._behind = "a component is left out" if left_out else ""  # why holding is of no use
        self._resting = False
        self._after = ""  # why the hook after the point failed
        self._marked: Marked | None = None

    # ---------------------------------------------------------------------------------------------- what came of it

    @property
    def moment_ns(self) -> int | None:
        """The common instant, where there is one."""
        return self._marked.moment_ns if self._marked and not self._marked.reason else None

    @property
    def level(self) -> Level:
        """What was reached: never better than what was asked for."""
        if self.moment_ns is not None:
            return Level.HELD if self._lowered else self._wanted
        return Level.ORDERED if self._service.refers_to and not self._left_out else Level.CUT

    @property
    def evidence(self) -> dict[str, str]:
        """The measurements that the level rests on."""
        marked, found = self._marked, {"method": self._method()}
        if self._wanted != Level.CUT:
            found["asked"] = self._wanted
            if lowered := self._lowered or (marked.reason if marked else ""):
                found["lowered"] = lowered
        if marked is not None:
            found["held-seconds"] = f"{marked.pause:.6f}"
            found |= {f"times of {name}": str(times) for name, times in marked.times.items()}
        if self._after:
            found["after-point"] = self._after
        return found

    def _method(self) -> str:
        if self.moment_ns is not None and self._marked is not None:
            return f"writes stood still for {self._marked.pause * 1e3:.1f} ms while all positions were noted"
        if self.level == Level.ORDERED:
            return "components were read one after the other while in use, each before those that it refers to"
        return _ONE_AFTER_THE_OTHER

    # ------------------------------------------------------------------------------------------------------ the way

    def __enter__(self) -> Together:
        try:
            self._prepare()
        except BaseException:
            self._go_on()
            raise
        return self

    def _prepare(self) -> None:
        if self._wanted == Level.QUIESCED:
            self._resting = True
            if self._service.hooks.before_point:
                self._lowered = run_hook(self._service, "before_point")
            else:
                self._lowered = "the service has no hook before-point that would quiesce it"
        if self._wanted in (Level.HELD, Level.QUIESCED):
            self._catch_up()
        for each in self._followed.values():
            each.rest()  # the point's own session writes their logs

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._go_on()

    def _go_on(self) -> None:
        """What was brought to rest may go on; once."""
        if self._resting:
            self._resting = False
            self._after = run_hook(self._service, "after_point")

    def _catch_up(self) -> None:
        """Record all that waits, so that little is left to read while writes stand still."""
        for each in self._followed.values():
            try:
                each.tick()
            except KnowngoodError as wrong:
                self._behind = self._behind or f"{each.component.name}: {wrong.message}"

    def hold(self, captures: Sequence[Capture]) -> None:
        """Find the common instant, if one is asked for and can be had; what cannot be held is read at it."""
        if self._wanted in (Level.HELD, Level.QUIESCED):
            held, reason = [], self._behind
            for each in captures:
                found = _holdable(each)
                if isinstance(found, str):
                    reason = reason or f"{each.component.name}: {found}"
                else:
                    held.append(found)
            if not reason:
                reason = self._read_ahead(captures)
            self._marked = Marked(reason=reason) if reason else mark(held, self._service.policy.hold)
            if self._marked.reason:
                for each in captures:
                    each.read_again()
        self._go_on()

    def _read_ahead(self, captures: Sequence[Capture]) -> str:
        """Let what can be read now be read before writes stand still; why it could not."""
        for each in captures:
            if each.following is not None and (ahead := each.following.standing.ahead) is not None:
                try:
                    ahead(each.context.sink)
                except KnowngoodError as wrong:
                    return f"{each.component.name}: {wrong.message}"
        return ""

    def confirm(self, each: Capture) -> None:
        """It was read: at the instant, unless it had to be read anew."""
        if self._marked is not None and each.following is not None and each.following.anew:
            self._marked.reason = self._marked.reason or f"{each.component.name}: it had to be read anew"

    def ordered(self, captures: Sequence[Capture]) -> list[Capture]:
        """In which order they are read: what refers to others before them, so that nothing refers into the void."""
        if not self._service.refers_to:
            return list(captures)
        targets_first = list(TopologicalSorter(self._service.refers_to).static_order())
        places = {name: -place for place, name in enumerate(targets_first)}
        return sorted(captures, key=lambda each: places.get(each.component.name, 0))


def _holdable(each: Capture) -> Held | str:
    """How a component is held, or why it cannot be."""
    following = each.following
    if following is None:
        return "it is not followed"
    standing: Standing = following.standing
    if not standing.based:
        return "following it has no base yet"
    if standing.holder is None:
        return "its writes cannot be held"
    if not standing.unheld:
        return Held(each.component.name, standing.holder)

    def capture() -> None:
        each.read_again()
        each.read(None)

    return Held(each.component.name, standing.holder, True, capture)
