"""Nodes: the numbers by which the kernel knows files. They are computed, not kept: a million of them take no memory.

The high bits are the place of a tree among those that are open, the low bits the number of an entry in that tree,
plus one; 0 is its root. Place 0 has the directories above the trees. A tree is closed when the kernel has forgotten
all of its nodes; its place is never given to another one.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field

from knowngood.core.errors import Unsupported
from knowngood.doors.mount.moments import Moment
from knowngood.tree.numbered import NumberedTree
from knowngood.wire.fuse.opcodes import ROOT_NODE

NUMBER_BITS = 36
_NUMBERS = (1 << NUMBER_BITS) - 1
_PLACES = 1 << (64 - NUMBER_BITS)
_INODES = (1 << 64) - 1

Path = tuple[bytes, ...]
"""Where a directory above the trees is: nothing for the root, a service, a service and a component."""


@dataclass(slots=True)
class Opened:
    """One component at one moment, under one name. The same moment under another name is another tree to the kernel."""

    place: int
    path: Path  # service, component, name
    moment: Moment
    tree: NumberedTree
    lookups: int = 0
    _salts: dict[int, int] = field(default_factory=dict[int, int])

    def node(self, number: int) -> int:
        """The node of an entry."""
        return (self.place << NUMBER_BITS) | (number + 1)

    @property
    def root_node(self) -> int:
        """The node of the tree's root."""
        return self.place << NUMBER_BITS

    def inode(self, inode: int, file_system: int) -> int:
        """What stat(2) shows: the same for hard links, and for nothing else, in all trees together.

        Tools take two files with one inode number for the same file: `diff` would not compare them, `tar` would keep
        one of them only.
        """
        salt = self._salts.get(file_system)
        if salt is None:
            words = self.moment.identity + file_system.to_bytes(4, "little")
            salt = self._salts[file_system] = int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little")
        return (inode + salt) & _INODES or 1


def is_above(node: int) -> bool:
    """Whether a node is a directory above the trees."""
    return node <= _NUMBERS


def number_of(node: int) -> int | None:
    """The number of a node's entry in its tree; None for the root."""
    number = node & _NUMBERS
    return number - 1 if number else None


class Nodes:
    """The directories above, and the open trees. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: dict[int, Path] = {ROOT_NODE: ()}
        self._above: dict[Path, int] = {(): ROOT_NODE}
        self._opened: dict[int, Opened] = {}
        self._by_name: dict[tuple[Path, bytes], Opened] = {}  # path and identity
        self._next = 1

    def above(self, path: Path) -> int:
        """The node of a directory above the trees; there are as many as services and components."""
        with self._lock:
            node = self._above.setdefault(path, len(self._above) + ROOT_NODE)
            self._paths[node] = path
            return node

    def path(self, node: int) -> Path:
        """Where a directory above the trees is. Raises KeyError."""
        return self._paths[node]

    def enter(self, path: Path, moment: Moment, tree: NumberedTree) -> Opened:
        """The tree under a name, opened now if it is not yet. Counts as one lookup of one of its nodes."""
        key = path, moment.identity
        with self._lock:
            opened = self._by_name.get(key)
            if opened is None:
                if self._next == _PLACES:
                    raise Unsupported("too many moments were looked up", hint="unmount it and mount it again")
                opened = self._by_name[key] = self._opened[self._next] = Opened(self._next, path, moment, tree)
                self._next += 1
            opened.lookups += 1
            return opened

    def opened(self, node: int) -> Opened:
        """The tree of a node. Raises KeyError."""
        return self._opened[node >> NUMBER_BITS]

    def count(self, opened: Opened, lookups: int) -> None:
        """The kernel is about to be told of so many nodes of a tree."""
        with self._lock:
            opened.lookups += lookups

    def forget(self, node: int, lookups: int) -> None:
        """The kernel gives lookups back."""
        with self._lock:
            opened = self._opened.get(node >> NUMBER_BITS)
            if opened is None:
                return
            opened.lookups -= lookups
            if opened.lookups <= 0:
                del self._opened[opened.place], self._by_name[opened.path, opened.moment.identity]

    def __len__(self) -> int:
        return len(self._opened)
