"""What may have changed: the answer of a watcher."""

from __future__ import annotations

from dataclasses import dataclass, field

from knowngood.tree.block import ROOT_NAME

Entry = tuple[bytes, bytes]
"""A directory's key and a name in it, as the tree has them: components below the root joined by NUL, b"" the root.
The root's own entry is `ROOT_NAME` in b""."""


@dataclass(slots=True)
class Dirty:
    """Whatever changed since the last answer is in here; not all that is in here has changed.

    An entry of the component may have changed when it is one of `entries`, when it lies in or below one of the
    `subtrees` (keys of directories, that of the root b""), or when its inode number is one of `inodes`: those are of
    files that have, or had, several names, or whose name the kernel did not say. An entry that is gone may have been
    the only one that said so. When `lost`, anything may have changed, for the given `reason`: only a scan can tell.
    """

    entries: set[Entry] = field(default_factory=set[Entry])
    subtrees: set[bytes] = field(default_factory=set[bytes])
    inodes: set[int] = field(default_factory=set[int])
    lost: bool = False
    reason: str = ""

    def __bool__(self) -> bool:
        return bool(self.lost or self.entries or self.subtrees or self.inodes)

    def __len__(self) -> int:
        return len(self.entries) + len(self.subtrees) + len(self.inodes)

    def lose(self, reason: str) -> None:
        """Anything may have changed. The first reason stays."""
        self.reason = self.reason or reason
        self.lost = True
        self.entries.clear()
        self.subtrees.clear()
        self.inodes.clear()

    def merge(self, other: Dirty) -> None:
        """Take in what another answer holds: for work that was taken up and could not be finished."""
        if self.lost or other.lost:
            self.lose(self.reason or other.reason)
            return
        self.entries |= other.entries
        self.subtrees |= other.subtrees
        self.inodes |= other.inodes


def own_entry(key: bytes) -> Entry:
    """The entry of a directory itself."""
    above, _, name = key.rpartition(b"\0")
    return (above, name) if key else (b"", ROOT_NAME)


def below(key: bytes, name: bytes) -> bytes:
    """The key of a directory in a directory."""
    return key + b"\0" + name if key else name
