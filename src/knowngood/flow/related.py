"""Which records of a log have to be replayed to know a few paths: the others are read, proven, and passed over.

A record concerns a path when it touches the path itself, what is above or below it, or what had or gets its name by a
rename or a link. What is concerned is found by names alone, so files with several names are told apart: a write under
one name changes the other one, and no name tells.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator

from knowngood.core.log import LogRecord, Operation
from knowngood.tree.block import ROW, Entry
from knowngood.tree.read import within

_MOST_MOVES = 1 << 16  # a few MiB
_MOST_LOOKS = 1 << 21
"""Paths, times the moves that each is held against, before that is no longer worth it: all is replayed then."""
_MOVING = (Operation.RENAME, Operation.LINK)


class Related:
    """The records that concern some paths. Memory: the names that were moved or removed, 2^16 moves at most."""

    def __init__(self, records: Iterable[LogRecord], wanted: Callable[[LogRecord], bool], keys: Iterable[bytes] = ()):
        """Go through a log once. Wanted are these keys, and the paths of the records of which `wanted` says so."""
        self.everything = False  # so many, or so entangled: each record concerns them
        self._below: set[bytes] = set()
        self._above: set[bytes] = set()
        self._moves: list[tuple[bytes, bytes]] = []
        self._removed: set[bytes] = set()
        self._linked: set[int] = set()  # inode numbers of files that had several names
        wishes = set(keys)
        for record in records:
            self._note(record)
            if wanted(record):
                wishes.add(record.path)
        self._settle(wishes)

    def _note(self, record: LogRecord) -> None:
        if record.operation in _MOVING:
            if len(self._moves) <= _MOST_MOVES:
                self._moves.append((record.path, record.second))
        elif record.operation == Operation.UNLINK:
            self._removed.add(record.path)
        if record.row:
            mode, _, _, links, *_, inode = ROW.unpack(record.row)
            if links > 1 and stat.S_ISREG(mode):
                self._linked.add(inode)

    def _settle(self, wishes: set[bytes]) -> None:
        """Take in all names that are bound up with the wanted ones, until there are no more."""
        waiting = list(wishes)
        if len(self._moves) > _MOST_MOVES:
            self.everything = True
        while waiting and not self.everything:
            key = waiting.pop()
            if self._is_below(key):
                continue
            self._below.add(key)
            above = set(_above(key)) - self._above
            self._above |= above
            # A folder is only removed when it is empty: then all that was in it has to be known.
            waiting += (above & self._removed) - {b""}
            waiting += (other for move in self._moves for other in _others(key, *move))
            self.everything = len(self._below) * (1 + len(self._moves)) > _MOST_LOOKS

    def _is_below(self, key: bytes) -> bool:
        return key in self._below or not self._below.isdisjoint(_above(key))

    def _concerns(self, key: bytes) -> bool:
        return key in self._above or self._is_below(key)

    def concerns(self, record: LogRecord) -> bool:
        """Whether a record has to be carried out."""
        if self.everything or self._concerns(record.path):
            return True
        return record.operation in _MOVING and self._concerns(record.second)

    def is_certain_of(self, entry: Entry) -> bool:
        """Whether an entry that was found so is as all records would make it: not where it had several names."""
        return self.everything or not entry.is_file or (entry.links < 2 and entry.inode not in self._linked)


def _above(key: bytes) -> Iterator[bytes]:
    """The keys of the directories above, the root's last."""
    while key:
        key = key.rpartition(b"\0")[0]
        yield key


def _others(key: bytes, old: bytes, new: bytes) -> Iterator[bytes]:
    """What else is bound up with a key by a move, either way."""
    for one, other in ((old, new), (new, old)):
        if within(key, one):
            yield other + key[len(one) :]
            if key != one:
                yield one  # of a folder that was moved, all has to be known: another may have had its place
        elif within(one, key):
            yield other
