"""A home, or its vault, inside of what is protected.

What a home derives is left out: each commit changes its catalog, which would be the next change to commit, for ever;
and no recovery may lay an old catalog over the one that it reads. Services, keys and reports of drills stay in. Of a
vault only its folder's own entry is ever taken (`kinds/files/exclude.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from knowngood.control.home import Home
from knowngood.core.errors import KnowngoodError
from knowngood.core.model import ComponentSpec, ServiceSpec

_DERIVED = (
    "catalog.sqlite*",
    "descriptor",
    "errors/",
    "lapses.json",
    "lock",
    "promises.json",
    "sandboxes/",
    "state/",
    "tidied",
    "up.lock",
    "up.sock",
)
_SPECIAL = re.compile(r"([\\*?\[\]])")


def without_derived(home: Home, service: ServiceSpec) -> ServiceSpec:
    """The service, with what this home derives left out of components that have the home inside."""
    components = tuple(_without(home, each) for each in service.components)
    if components == service.components:
        return service
    return msgspec.structs.replace(service, components=components)


def _without(home: Home, component: ComponentSpec) -> ComponentSpec:
    inside = _inside(component, home.path)
    if inside is None:
        return component
    above = _SPECIAL.sub(r"\\\1", f"/{inside}/".replace("//", "/"))
    return msgspec.structs.replace(component, exclude=(*component.exclude, *(above + each for each in _DERIVED)))


def _inside(component: ComponentSpec, path: str) -> str | None:
    """A path as seen from a component's folder; None when it is not in there."""
    if component.kind != "files" or not component.path:
        return None
    root, path = os.path.realpath(component.path), os.path.realpath(path)
    if path == root:
        return ""
    return path[len(root) :].lstrip("/") if path.startswith(root.rstrip("/") + "/") else None


def ours_inside(home: Home, service: ServiceSpec) -> Iterator[str]:
    """What of ours lies in its components, and what becomes of it, in words."""
    vault = ""
    with suppress(KnowngoodError):  # there may be none yet
        vault = home.vault_path()
    for each in service.components:
        if vault and _inside(each, vault):
            yield f"the vault {vault} lies inside component '{each.name}': its content is left out"
        if _inside(each, home.path) is not None:
            yield f"the home {home.path} lies inside component '{each.name}': what it derives is left out"
