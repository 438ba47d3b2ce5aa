"""A cache of what was used last, bounded by weight. Safe to use from many threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Lru(Generic[Key, Value]):
    """Key → value. What was not used for longest goes first when the weights exceed the limit; the newest stays."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        self._held: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value, None when it is not there."""
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
            return found[0]

    def put(self, key: Key, value: Value, weight: int = 1) -> None:
        """Keep a value; one that was there under this key is replaced."""
        with self._lock:
            if (old := self._held.pop(key, None)) is not None:
                self._weight -= old[1]
            self._held[key] = value, weight
            self._weight += weight
            while self._weight > self._limit and len(self._held) > 1:
                self._weight -= self._held.popitem(last=False)[1][1]
