"""Hard links while capturing: what was read under one name is not read again under the next."""

from __future__ import annotations

import os
from collections import OrderedDict

from knowngood.tree.block import Extra

Taken = tuple[bytes, int, bytes, bytes, Extra]
"""Row, content, references, inline content and extra of an entry: what a BlockWriter takes beside the name."""

_ENTRY_BYTES = 400  # what an entry takes in memory beside its references and inline content, about


class Twins:
    """The files with several names that were read last, as many as fit into `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._taken: OrderedDict[tuple[int, int], Taken] = OrderedDict()

    def find(self, file: os.stat_result, row: bytes) -> Taken | None:
        """What was read of a file, if its row is still the same."""
        key = (file.st_dev, file.st_ino)
        taken = self._taken.get(key)
        if taken is None or taken[0] != row:
            return None
        self._taken.move_to_end(key)
        return taken

    def note(self, file: os.stat_result, taken: Taken) -> None:
        """Remember what was read."""
        key = (file.st_dev, file.st_ino)
        before = self._taken.pop(key, None)
        self._size += _size(taken) - (_size(before) if before else 0)
        self._taken[key] = taken
        while self._size > self._limit:
            _, oldest = self._taken.popitem(last=False)
            self._size -= _size(oldest)


def _size(taken: Taken) -> int:
    return _ENTRY_BYTES + len(taken[2]) + len(taken[3])
