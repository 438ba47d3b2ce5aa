"""A small document of a home with something about each of its services, read whole and now and then written whole.

It is of use only, and may be deleted: one that cannot be read is none, and a disk that does not take it is tried again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from knowngood.control.files import read_bounded, write_durably
from knowngood.core.errors import KnowngoodError


class OfServices(Protocol):
    """A struct that begins empty. `services`: by their names, what is known of each."""

    services: dict[str, Any]


Document = TypeVar("Document", bound=OfServices)


class Remembered(Generic[Document]):
    """Who changes the `document` sets `is_new`."""

    def __init__(self, path: str, kind: type[Document], most_bytes: int, every_ns: int) -> None:
        """Read it. It is saved every so many nanoseconds, at most."""
        self._path = path
        self._every_ns = every_ns
        self._saved_ns = 0
        self.is_new = False
        try:
            self.document = msgspec.json.decode(read_bounded(path, most_bytes), type=kind)
        except (KnowngoodError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.document = kind()

    def keep_to(self, services: Collection[str]) -> None:
        """Only these are there."""
        for name in self.document.services.keys() - set(services):
            del self.document.services[name]
            self.is_new = True

    def save(self, now_ns: int, *, at_once: bool = False) -> None:
        """Save what is new, when it is time or `at_once`."""
        if self.is_new and (at_once or not 0 <= now_ns - self._saved_ns < self._every_ns):
            self._saved_ns = now_ns
            try:
                write_durably(self._path, msgspec.json.encode(self.document))
            except KnowngoodError:
                return
            self.is_new = False
