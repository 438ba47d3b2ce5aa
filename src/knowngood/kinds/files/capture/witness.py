"""Who learns more of files while they are captured, and may hold them still meanwhile."""

from __future__ import annotations

import os
from typing import Protocol

from knowngood.kinds.files.capture.content import DataStream
from knowngood.tree.content import Extents


class Held(Protocol):
    """A file as it was at one instant: read in the place of what goes on changing."""

    row: bytes
    """The row under which it was taken; set by who takes it."""

    @property
    def fd(self) -> int:
        """Where its content is read."""
        ...

    @property
    def size(self) -> int:
        """Bytes of it."""
        ...

    @property
    def file(self) -> os.stat_result:
        """The file just before that instant."""
        ...

    @property
    def steady(self) -> bool:
        """Whether it was the same just after that instant."""
        ...


class Witness(Protocol):
    """Sees what a capture reads."""

    def hold(self, above: int, fd: int, file: os.stat_result) -> Held | None:
        """Hold an open file of an open directory; None when that cannot be, or is not worth while."""
        ...

    def stream(self, fd: int, extents: Extents, row: bytes) -> DataStream | None:
        """What the data of a file with this row is to be read through, from its beginning; None for anything."""
        ...
