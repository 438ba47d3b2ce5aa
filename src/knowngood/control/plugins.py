"""What can be plugged in. The plugins themselves are named in one place above, and nowhere here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from knowngood.core.ports import Kind, Store

if TYPE_CHECKING:  # every command loads the plugins, and one of them follows
    from knowngood.control.up.followers import FollowerMaker


class Kinds(Mapping[str, Kind]):
    """Kinds by their names, each made when it is first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Kind]]) -> None:
        self._makers = makers
        self._made: dict[str, Kind] = {}

    def __getitem__(self, name: str) -> Kind:
        """The kind of this name. Raises KeyError."""
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is one of this name; it is not made for that."""
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        """Their names."""
        return iter(self._makers)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._makers)


@dataclass(frozen=True)
class Plugins:
    """How to open a store at a location, and the kinds by name. Both are called when they are first needed.

    `followers` make what keeps up with a component between points, by the capture level that it reaches.
    """

    store: Callable[[str], Store]
    kinds: Callable[[], Mapping[str, Kind]]
    followers: Mapping[str, FollowerMaker] = field(default_factory=dict)
