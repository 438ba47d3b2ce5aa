"""Mark: one instant that all components of a service have in common.

Have all get ready, hold all in parallel, note where each stands, let all go on in parallel. Each hold ends by itself
when its lease is over, whatever becomes of us. The instant exists if every hold was confirmed before the first was let
go, and each says afterwards that it lasted: then nothing that was acknowledged after the instant is inside anywhere,
and all that was acknowledged before it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from knowngood.core.errors import KnowngoodError
from knowngood.core.instants import now_ns
from knowngood.core.ports import Holder

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Held:
    """One component that takes part. What is `unheld` cannot be held, only watched: `capture` reads it meanwhile."""

    name: str
    holder: Holder
    unheld: bool = False
    capture: Callable[[], None] | None = None


@dataclass(slots=True)
class Times:
    """When a component was held, marked and let go, in seconds after all began to be held; and its mark in words."""

    held: float | None = None
    marked: float | None = None
    released: float | None = None
    mark: str = ""

    def __str__(self) -> str:
        shown = [f"{name} {at * 1e3:.1f}" for name, at in self._rows() if at is not None]
        return f"{', '.join(shown)} ms" + (f"; {self.mark}" if self.mark else "")

    def _rows(self) -> list[tuple[str, float | None]]:
        return [("held", self.held), ("marked", self.marked), ("released", self.released)]


@dataclass(slots=True)
class Marked:
    """What an attempt came to. `reason` says why there is no common instant, empty when there is; `pause` is for how
    many seconds writes stood still, at most."""

    moment_ns: int = 0
    reason: str = ""
    pause: float = 0
    times: dict[str, Times] = field(default_factory=dict[str, Times])


def mark(parts: Sequence[Held], lease: float) -> Marked:
    """Find an instant that these components have in common; writes stand still for `lease` seconds at most.

    Tried again a few times when some did not stand still in time. Nothing is held any more when it returns or raises.
    """
    marked = Marked(reason="nothing can be held")
    for _ in range(ATTEMPTS if parts else 0):
        with ThreadPoolExecutor(len(parts), "hold") as threads:
            marked = _Attempt(parts, lease, threads).run()
        if not marked.reason:
            break
    return marked


class _Attempt:
    """One time through."""

    def __init__(self, parts: Sequence[Held], lease: float, threads: ThreadPoolExecutor) -> None:
        self._holding = [each for each in parts if not each.unheld]
        self._watched = [each for each in parts if each.unheld]
        self._lease = lease
        self._threads = threads
        self._began = time.monotonic()
        self._marked = Marked(times={each.name: Times() for each in parts})

    def run(self) -> Marked:
        """Hold, mark, release."""
        marked = self._marked
        try:
            marked.reason = self._all([*self._holding, *self._watched], self._prepare)
            self._began = time.monotonic()
            marked.reason = marked.reason or self._stand_still() or self._note()
        finally:
            reason = self._release()
        marked.reason = marked.reason or reason
        return marked

    def _stand_still(self) -> str:
        """Hold what can be held; then, as nobody who waits for those writes either, the rest has to come to rest."""
        return self._all(self._holding, self._hold) or self._all(self._watched, self._hold)

    def _prepare(self, each: Held) -> None:
        each.holder.prepare(self._lease)

    def _hold(self, each: Held) -> None:
        left = self._lease - (self._now() if each.unheld else 0)
        each.holder.hold(max(0.0, left))
        self._marked.times[each.name].held = self._now()

    def _note(self) -> str:
        """Where each stands; what cannot be held is read."""
        futures = self._begin(self._holding, self._mark)
        failure = ""
        for each in self._watched:
            try:
                self._mark(each)
                if each.capture is not None:
                    each.capture()
            except KnowngoodError as wrong:
                failure = failure or f"{each.name}: {wrong.message}"
        failure = self._gather(futures) or failure
        self._marked.moment_ns = now_ns()
        return failure

    def _mark(self, each: Held) -> None:
        times = self._marked.times[each.name]
        times.mark = each.holder.mark()
        times.marked = self._now()

    def _release(self) -> str:
        """Let all go on; why the hold of one did not last."""
        lasted: dict[str, bool] = {}

        def let_go(each: Held) -> None:
            lasted[each.name] = each.holder.release()
            self._marked.times[each.name].released = self._now()

        began = self._now()
        reason = self._all(self._watched, let_go)  # before those who wait for the others write again
        reason = self._all(self._holding, let_go) or reason
        self._marked.pause = max((each.released or began for each in self._marked.times.values()), default=0.0)
        broken = [name for name, whole in lasted.items() if not whole]
        watched = {each.name for each in self._watched}
        for name in broken:
            what = "its files changed while the others were held" if name in watched else "its hold ended too early"
            reason = reason or f"{name}: {what}"
        return reason

    # --------------------------------------------------------------------------------------------------- in parallel

    def _all(self, parts: Sequence[Held], act: Callable[[Held], None]) -> str:
        return self._gather(self._begin(parts, act))

    def _begin(self, parts: Sequence[Held], act: Callable[[Held], None]) -> Mapping[str, Future[None]]:
        return {each.name: self._threads.submit(act, each) for each in parts}

    @staticmethod
    def _gather(futures: Mapping[str, Future[None]]) -> str:
        """Wait for all; the first failure in words."""
        failure = ""
        for name, future in futures.items():
            try:
                future.result()
            except KnowngoodError as wrong:
                failure = failure or f"{name}: {wrong.message}"
        return failure

    def _now(self) -> float:
        return time.monotonic() - self._began
