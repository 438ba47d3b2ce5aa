"""Which of a journal's entries are of the component, by the patterns that leave things out."""

from __future__ import annotations

import stat
from collections.abc import Iterable

from knowngood.core.log import Operation
from knowngood.kinds.files.exclude import Exclusions
from knowngood.kinds.files.journal.entries import Entry
from knowngood.tree.block import ROOT_NAME, ROW
from knowngood.tree.namespace import place_of

_REMEMBERED = 100_000  # directories of which it is known


class Belonging:
    """Memory: 200 bytes for each directory that was asked for."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._exclusions = Exclusions(patterns)
        self._known: dict[bytes, bool] = {b"": True}

    def of(self, entry: Entry) -> bool | None:
        """Whether an entry is; None when it moves something in or out."""
        if not self._exclusions:
            return True
        inside = self.has(entry.path, is_directory=_mode(entry) == stat.S_IFDIR)
        if entry.operation == Operation.RENAME:
            other = self.has(entry.second, is_directory=_mode(entry) == stat.S_IFDIR)
            return inside if inside == other else None
        if entry.operation == Operation.LINK and inside and not self.has(entry.second, is_directory=False):
            return None
        return inside

    def has(self, key: bytes, *, is_directory: bool) -> bool:
        """Whether something belongs to the component."""
        if not key:
            return True
        directory, name = place_of(key)
        if name == ROOT_NAME:
            return True
        above = directory.replace(b"\0", b"/") + b"/" if directory else b""
        return self._directory(directory) and not self._exclusions.match(above, name, is_directory)

    def _directory(self, key: bytes) -> bool:
        found = self._known.get(key)
        if found is None:
            if len(self._known) > _REMEMBERED:
                self._known = {b"": True}
            found = self._known[key] = self.has(key, is_directory=True)
        return found


def _mode(entry: Entry) -> int:
    """The type of what an entry is about: its row says it, or for what is gone its value."""
    mode = ROW.unpack(entry.row)[0] if entry.row else entry.value
    return stat.S_IFMT(mode)
