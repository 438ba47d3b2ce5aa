"""What was read of the journal and is not in the log yet: records while they follow from the log, names otherwise."""

from __future__ import annotations

import stat

from knowngood.core.log import LogRecord, Operation
from knowngood.core.sizes import MIB
from knowngood.kinds.files.follow.dirtied import Parts
from knowngood.kinds.files.follow.feed import Place
from knowngood.kinds.files.follow.reading import PATCHED
from knowngood.kinds.files.journal.belonging import Belonging
from knowngood.kinds.files.journal.entries import Entry, Special
from knowngood.kinds.files.journal.reading import JournalBroken, JournalReader
from knowngood.kinds.files.journal.tracking import Tracker, Untracked
from knowngood.kinds.files.watch.dirty import Dirty
from knowngood.tree.block import ROW
from knowngood.tree.namespace import place_of

GIVEN = 64 * MIB
"""So much of the journal is taken into the log at once."""

_LOSSES = {Special.BEGINS: "nobody journalled for a while", Special.LOST: "the journal lost changes"}


class Backlog:
    """Entries that wait. While `follows`, each becomes a record; from the first one on that cannot, only the names of
    what changed are told, as a watcher would: in `dirty`."""

    def __init__(self, reader: JournalReader, belonging: Belonging, parts: Parts) -> None:
        self.dirty = Dirty()
        self.follows = False
        self.waiting: list[tuple[int, Entry]] = []  # with the number that comes after each
        self.reason = ""  # why it does not follow
        self._reader = reader
        self._belonging = belonging
        self._parts = parts
        self._tracker: Tracker | None = None
        self._number = reader.next

    @property
    def next(self) -> int:
        """The number of the next entry that is read."""
        return self._number

    def begin(self, tracker: Tracker | None) -> None:
        """What is read from now on follows from the log."""
        self.follows, self.reason, self._tracker = True, "", tracker

    def stop(self, why: str) -> None:
        """What is read from now on does not follow."""
        self.follows, self.reason = False, why

    def pull(self, size: int = GIVEN) -> bool:
        """Read on; whether there may be more."""
        try:
            entries = self._reader.read(size)
        except JournalBroken:
            self._lose("a part of the journal is gone")
            self._reader.skip()
            self._number = self._reader.next
            return False
        for entry in entries:
            self._number += 1
            self._take(entry)
        return bool(entries)

    def pull_to(self, number: int) -> None:
        """Read on up to an entry that is there."""
        while self._number < number and self.pull():
            pass

    def records(self, first: int) -> list[LogRecord]:
        """All that waits, numbered from `first`."""
        return [entry.record(first + at) for at, (_, entry) in enumerate(self.waiting)]

    def places(self) -> set[Place]:
        """Where what waits has changed something."""
        found = {place_of(entry.path) for _, entry in self.waiting}
        two = (Operation.RENAME, Operation.LINK)
        return found | {place_of(entry.second) for _, entry in self.waiting if entry.operation in two}

    def landed(self, count: int) -> None:
        """So many of the first ones are in the log."""
        del self.waiting[:count]

    def _take(self, entry: Entry) -> None:
        operation = entry.operation
        self._part(entry)
        if operation == Special.ENDS:
            return  # whoever journals next says that it begins
        if operation in _LOSSES:
            self._lose(entry.second.decode(errors="replace") or _LOSSES[Special(operation)])
            return
        if self.follows and not self._follow(entry):
            self.follows = False
        if not self.follows:
            self._note(entry)

    def _part(self, entry: Entry) -> None:
        """What of a file changed."""
        if entry.operation == Special.VAGUE and entry.value:
            self._parts.of(entry.value).cut(0)
        elif entry.row and entry.operation == Operation.WRITE:
            *_, size, _, _, inode = ROW.unpack(entry.row)
            if size > PATCHED:  # smaller files are read whole
                self._parts.of(inode).write(entry.offset, entry.length)
        elif entry.row and entry.operation in (Operation.TRUNCATE, Operation.CREATE):
            self._parts.of(ROW.unpack(entry.row)[7]).cut(entry.length if entry.operation == Operation.TRUNCATE else 0)

    def _follow(self, entry: Entry) -> bool:
        if entry.operation == Special.VAGUE:
            self.reason = "something changed in a way that the log cannot tell"
            return False
        belongs = self._belonging.of(entry)
        if belongs is None:
            self.reason = "something came from, or went to, what is left out"
            return False
        if belongs:
            try:
                if self._tracker is not None:
                    self._tracker.track(entry)
            except Untracked:
                self.reason = "something changed that was not known"
                return False
            self.waiting.append((self._number, entry))
        return True

    def _lose(self, why: str) -> None:
        self.reason = why if self.follows else self.reason or why
        self.follows = False
        self.dirty.lose(why)

    def _note(self, entry: Entry) -> None:
        if self.dirty.lost:
            return
        self.dirty.entries.add(place_of(entry.path))
        if entry.operation in (Operation.RENAME, Operation.LINK):
            self.dirty.entries.add(place_of(entry.second))
        if entry.operation == Special.VAGUE:
            self.dirty.subtrees.add(entry.path) if entry.path else None
            if entry.value:
                self.dirty.inodes.add(entry.value)
        elif entry.row and not stat.S_ISDIR(ROW.unpack(entry.row)[0]) and ROW.unpack(entry.row)[3] > 1:
            self.dirty.inodes.add(ROW.unpack(entry.row)[7])
