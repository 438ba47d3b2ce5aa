"""Recover: open a moment, plan, and only then write: the whole service, one component, or single paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from knowngood.core.errors import Busy, NotFound, UsageError
from knowngood.core.model import Checkpoint, ServiceSpec
from knowngood.core.ports import Recovered, RecoveryPlan, RecoveryRequest
from knowngood.flow.hooks import require_hook, run_hook
from knowngood.flow.moment import Moment
from knowngood.flow.parts import Parts
from knowngood.flow.points import definition_of
from knowngood.flow.state import State, states


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted back, and where. Without `to`, everything returns to where it was."""

    component: str | None = None
    paths: tuple[str, ...] = ()
    to: str | None = None
    delete_extra: bool = False
    until: tuple[str, str] | None = None  # a place in one component's own log, in the words of its kind


@dataclass(frozen=True, slots=True)
class ComponentPlan:
    """The plan for one component, and the state that it brings back."""

    state: State
    plan: RecoveryPlan

    @property
    def component(self) -> str:
        """Its name."""
        return self.state.checkpoint.component


Agree = Callable[[list[ComponentPlan]], bool]


def recover(
    moment: Moment, wish: Wish, parts: Parts, agree: Agree, service: ServiceSpec | None = None
) -> list[tuple[ComponentPlan, Recovered]]:
    """Plan every component, ask `agree` about the plans, and carry out the same plans. Empty when it disagreed.

    `service` is how it is defined on this machine: in its order components are recovered. Around whatever is recovered
    whole to where it was, its hooks are run; when the first one fails, nothing is written. Hooks that only the vault
    tells of are never run: any writer could have put them there.
    """
    ordered = service or definition_of(moment.point)
    with states(moment, wish.component, parts, "recover") as opened:
        parts.progress.enter("planning")
        plans = _plans(opened, wish, parts, service)
        if ordered is not None:
            places = {name: place for place, name in enumerate(ordered.ordered(each.component for each in plans))}
            plans.sort(key=lambda each: places[each.component])
        if not agree(plans):
            return []
        hooked = service if wish.to is None and not wish.paths else None
        if not stops_it(hooked):
            require_free(plans)
        with _hooked(hooked, moment):
            return [(each, carry_out(each, parts)) for each in plans]


def stops_it(service: ServiceSpec | None) -> bool:
    """Whether a hook of the service is run first, which may stop its servers. Nothing else ever does."""
    return service is not None and bool(service.hooks.before_recover)


def require_free(plans: list[ComponentPlan]) -> None:
    """Raise Busy when something is in the way of a plan."""
    for each in plans:
        if each.plan.hindrance:
            raise Busy(f"{each.component}: {each.plan.hindrance}", hint="or recover it beside: --to FOLDER, --sandbox")


@contextmanager
def _hooked(service: ServiceSpec | None, moment: Moment) -> Iterator[None]:
    """Run a service's hooks around the block; the one after it always. Raises KnowngoodError when one fails."""
    if service is None:
        yield
        return
    told = {"KNOWNGOOD_POINT": moment.point.id.hex()}
    require_hook(service, "before_recover", told)
    try:
        yield
    except BaseException:
        run_hook(service, "after_recover", told)
        raise
    require_hook(service, "after_recover", told)


def carry_out(planned: ComponentPlan, parts: Parts) -> Recovered:
    """Carry out one plan."""
    parts.progress.enter(f"recovering {planned.component}")
    kind = parts.kind(planned.state.checkpoint.kind)
    return kind.materialize(planned.plan, planned.state.pages, parts.progress)


def make_plan(state: State, request: RecoveryRequest, parts: Parts) -> ComponentPlan:
    """What a request would do. Raises NotFound when it meets nothing."""
    kind = parts.kind(state.checkpoint.kind)
    return ComponentPlan(state, kind.plan(request, state.pages, parts.progress))


def _plans(opened: list[State], wish: Wish, parts: Parts, service: ServiceSpec | None) -> list[ComponentPlan]:
    """A plan for every component in which something is wanted. Raises NotFound when a path is in none of them."""
    requests = [(state, request_for(state, wish, parts, service)) for state in opened]
    if not wish.paths or len(requests) == 1:
        return [make_plan(*each, parts) for each in requests]
    held = [(state, request, _held(state, request, parts)) for state, request in requests]
    for path in wish.paths:
        if not any(path in paths for _, _, paths in held):
            raise NotFound(f"no component of the point has '{path}'", hint="look with: knowngood find")
    return [make_plan(state, replace(request, paths=paths), parts) for state, request, paths in held if paths]


def _held(state: State, request: RecoveryRequest, parts: Parts) -> tuple[str, ...]:
    """Which of the paths a component has. Only its kind can tell what a path or a pattern means."""
    found: list[str] = []
    for path in request.paths:
        with suppress(NotFound):
            make_plan(state, replace(request, paths=(path,)), parts)
            found.append(path)
    return tuple(found)


def request_for(state: State, wish: Wish, parts: Parts, here: ServiceSpec | None = None) -> RecoveryRequest:
    """What was excluded when the point was made is not in it, and is no reason to delete it. `here` is how the service
    is defined on this machine, and comes first."""
    checkpoint, service = state.checkpoint, definition_of(state.stand.point)
    component = service and service.component(checkpoint.component)
    return RecoveryRequest(
        checkpoint,
        _target(checkpoint, wish, parts),
        wish.paths,
        wish.delete_extra,
        exclude=component.exclude if component else (),
        exclude_caches=component.exclude_caches if component else False,
        until=_until(checkpoint, wish, parts),
        component=(here.component(checkpoint.component) if here else None) or component,
    )


def _until(checkpoint: Checkpoint, wish: Wish, parts: Parts) -> tuple[str, str] | None:
    if wish.until is None:
        return None
    if wish.component is None:
        raise UsageError("--until is a place in the log of one component", hint="name it: --component")
    word, known = wish.until[0], parts.kind(checkpoint.kind).traits.untils
    if word not in known:
        what = f"nothing of kind '{checkpoint.kind}' is recovered until '{word}'"
        raise UsageError(what, hint=f"what can be said: {', '.join(known) or 'only a moment, with --at'}")
    return wish.until


def _target(checkpoint: Checkpoint, wish: Wish, parts: Parts) -> str:
    if wish.to is None:
        return checkpoint.source if parts.kind(checkpoint.kind).traits.located else ""
    to = os.path.abspath(wish.to)
    if os.path.exists(to) and not os.path.isdir(to):
        raise UsageError(f"'{wish.to}' is a file, not a folder", hint="name a folder with --to")
    return to if wish.component is not None else os.path.join(to, checkpoint.component)
