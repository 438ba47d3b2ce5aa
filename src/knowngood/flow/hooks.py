"""Hooks: programs that a service names, run around a point and a recovery."""

from __future__ import annotations

from collections.abc import Mapping

from knowngood.core.errors import KnowngoodError
from knowngood.core.model import ServiceSpec
from knowngood.flow.bounded import run_bounded


def run_hook(service: ServiceSpec, when: str, more: Mapping[str, str] | None = None) -> str:
    """Run one of `HOOKS`, if the service has it; why it failed in words, empty when it did not.

    It finds KNOWNGOOD_SERVICE and KNOWNGOOD_HOOK in its environment, and what `more` has.
    """
    command = getattr(service.hooks, when)
    if not command:
        return ""
    name = when.replace("_", "-")
    found = {"KNOWNGOOD_SERVICE": service.name, "KNOWNGOOD_HOOK": name, **(more or {})}
    ran = run_bounded(command, service.hooks.timeout, found)
    if not ran.failure:
        return ""
    said = f" ({ran.said.splitlines()[-1]})" if ran.said else ""
    return f"the hook {name} failed: {ran.failure}{said}"


def require_hook(service: ServiceSpec, when: str, more: Mapping[str, str] | None = None) -> None:
    """Run a hook without which it must not go on. Raises KnowngoodError."""
    if failure := run_hook(service, when, more):
        raise KnowngoodError(
            failure, hint=f"correct it, or take it out of the service: knowngood service show {service.name}"
        )
