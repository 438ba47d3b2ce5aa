"""What can be plugged in. The plugins themselves are named in one place above, and nowhere here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from knowngood.core.ports import Kind, Store

if TYPE_CHECKING:  # every command loads the plugins, and one of them follows
    from knowngood.control.up.followers import FollowerMaker


@dataclass(frozen=True)
class Plugins:
    """How to open a store at a location, and the kinds by name. Both are called when they are first needed.

    `followers` make what keeps up with a component between points, by the capture level that it reaches.
    """

    store: Callable[[str], Store]
    kinds: Callable[[], Mapping[str, Kind]]
    followers: Mapping[str, FollowerMaker] = field(default_factory=dict)
