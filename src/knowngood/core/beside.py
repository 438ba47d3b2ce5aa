"""A port: what makes the base of a component beside everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the ports tell of this one
    from knowngood.core.ports import CaptureContext


class Beside(Protocol):
    """Reads the base of a component that is followed in a thread of its own, while its log goes on, where it can."""

    def begin(self) -> None:
        """Bases are made like this from now on: a checkpoint without one raises NotYet."""
        ...

    def prepare(self, context: CaptureContext, holds: Callable[[], None]) -> None:
        """Read a new base into a sink, and flush it; the next checkpoint is made of it, in whatever session.

        The sink's session has to stay open until then: `holds` raises when it does not. The only method that is called
        from another thread, by one at a time. Raises KnowngoodError.
        """
        ...

    def drop(self) -> None:
        """What was prepared is not used."""
        ...
