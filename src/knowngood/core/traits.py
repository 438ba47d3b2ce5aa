"""What stores and kinds say that they can do: declared data, which nobody has to find out by trying."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreTraits:
    """Capabilities of a store, as declared data."""

    durable_put: bool = True  # an object is on stable storage when `put` returns
    ranged_get: bool = True
    deletes: bool = True
    sequential: bool = False  # tape: reading in order is far cheaper
    local: bool = False  # a cache on this machine would gain nothing


@dataclass(frozen=True, slots=True)
class Option:
    """A key of a component of one kind in a service file; its value is text."""

    name: str
    example: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class KindTraits:
    """What a kind can do, as declared data. A point is never better than its weakest component."""

    name: str
    capture: tuple[str, ...] = ("scan",)
    unasked: tuple[str, ...] = ()  # levels that are never taken unless they are asked for: they mount something
    holds: bool = False
    parts: bool = True  # single paths can be recovered
    located: bool = True  # its components are at a path, and return there
    options: tuple[Option, ...] = ()
    untils: tuple[str, ...] = ()  # what can be said of a place in the component's own log where recovery is to end
