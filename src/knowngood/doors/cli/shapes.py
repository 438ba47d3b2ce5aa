"""The model in the shapes that `--json` prints (docs/json.md)."""

from __future__ import annotations

from typing import Any

from knowngood.control.changes import ServiceChange
from knowngood.core.model import HOOKS, Check, ComponentSpec, Policy, ServiceSpec


def number(value: float) -> int | float:
    """Whole seconds without a fraction."""
    return int(value) if value == int(value) else value


def policy_shape(policy: Policy) -> dict[str, Any]:
    """Spans in seconds."""
    keep = {rung.replace("-", "_"): number(length) for rung, length in policy.keep.rungs()}
    return {
        "keep": keep,
        "undo": number(policy.undo),
        **{name: _promised(getattr(policy, name)) for name in ("rpo", "rto", "points", "held", "quiesced", "drill")},
        "hold": number(policy.hold),
    }


def _promised(length: float) -> int | float | None:
    return number(length) if length else None


def component_shape(component: ComponentSpec) -> dict[str, Any]:
    """One component."""
    return {
        "name": component.name,
        "kind": component.kind,
        "path": component.path or None,
        "where": component.where,
        "exclude": list(component.exclude),
        "exclude_caches": component.exclude_caches,
        "one_file_system": component.one_file_system,
        "capture": component.capture,
        "options": [f"{name}={value}" for name, value in component.options.items()],
    }


def check_shape(check: Check) -> dict[str, Any]:
    """One check."""
    return {
        "what": check.what,
        "component": check.component or None,
        "expect": check.expect or None,
        "timeout": number(check.timeout),
    }


def service_shape(service: ServiceSpec) -> dict[str, Any]:
    """A whole service."""
    return {
        "name": service.name,
        "components": [component_shape(each) for each in service.components],
        "refers_to": [{"component": name, "targets": list(each)} for name, each in service.refers_to.items()],
        "order": list(service.order),
        "hooks": [
            {"when": name.replace("_", "-"), "command": list(command)}
            for name in HOOKS
            if (command := getattr(service.hooks, name))
        ],
        "checks": [check_shape(each) for each in service.checks],
        "policy": policy_shape(service.policy),
    }


def change_shape(change: ServiceChange, path: str | None, *, dry_run: bool) -> dict[str, Any]:
    """A change of a service: what it is, and where the file is, or is kept now."""
    return {
        "action": change.action,
        "dry_run": dry_run,
        "name": change.name,
        "service": None if change.after is None else service_shape(change.after),
        "changes": [{"item": each.item, "before": each.before, "after": each.after} for each in change.differences()],
        "path": path,
    }
