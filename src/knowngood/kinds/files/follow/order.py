"""From what is known and what was read to records in an order that replay accepts.

New directories in free places, renames and new names of known files come first, while all that was there is still
there. Then goes what is gone, the deepest first; then comes what takes a place that was taken, and what is below it;
and last what only changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from knowngood.core.log import LogRecord, Operation
from knowngood.kinds.files.follow.feed import Place
from knowngood.kinds.files.follow.known import Inode, Known, State, inode_of, is_file, key_of
from knowngood.kinds.files.follow.steps import Chunks, Fresh, creation, step, update
from knowngood.kinds.files.settled import settled
from knowngood.tree.block import ROW, Entry
from knowngood.tree.namespace import place_of

_CONTENT = slice(16, 32)  # size and time of change in a row: a rename touches neither

After = Mapping[Place, Fresh | None]
"""What was read in places where something changed; None: nothing is there any more."""


class Order:
    """The records of one tick."""

    def __init__(self, state: State, after: After, renames: Mapping[Place, Place], chunks: Chunks) -> None:
        """`renames` are the places, by where they are now, of files that had another one."""
        self._state = state
        self._after = after
        self._chunks = chunks
        self._renames = renames
        self._before = {place: state.find(place) for place in after}
        known = ((place, each.entry) for place, each in self._before.items() if each)
        self._singles = {inode_of(entry): place for place, entry in known if entry.is_file and entry.links == 1}
        self._records: list[LogRecord] = []
        self._done: set[Place] = set()  # names that stand for what they will stand for
        self._early: set[bytes] = set()
        self._lives: dict[Inode, Place] = {}  # where files with several names can be met
        self._written: set[Inode] = set()

    def records(self, first: int, time_ns: int) -> list[LogRecord]:
        """All of them, numbered from `first`."""
        ascending = sorted(self._after, key=key_of)
        self._new_directories(ascending)
        self._rename()
        self._link(ascending)
        for place in reversed(ascending):
            if self._before[place] is not None and self._goes(place):
                self._add(place, step(operation=Operation.UNLINK))
        self._create(ascending)
        self._update(ascending)
        return [replace(each, sequence=first + at, time_ns=time_ns) for at, each in enumerate(self._records)]

    def updates(self) -> dict[Place, Known | None]:
        """What is known when the log has the records."""
        found = {place: fresh.known if fresh else None for place, fresh in self._after.items()}
        for fresh in self._after.values():
            if fresh and _has_names(fresh.entry):  # one file: it is not the same under one name only
                others = self._state.file_links(inode_of(fresh.entry)) - self._after.keys()
                found.update(dict.fromkeys(others, fresh.known))
        return found

    # ------------------------------------------------------------------------------- while all is there that was there

    def _new_directories(self, ascending: Iterable[Place]) -> None:
        for place in ascending:
            fresh = self._after[place]
            if fresh and fresh.entry.is_directory and self._before[place] is None and self._stands(place[0]):
                self._early.add(key_of(place))
                self._made(place, fresh)

    def _stands(self, directory: bytes) -> bool:
        """Whether things can come into a directory before anything went."""
        if directory in self._early:
            return True
        place = place_of(directory)
        if place in self._after:
            fresh, before = self._after[place], self._before[place]
            return bool(fresh and before and fresh.entry.is_directory and before.entry.is_directory)
        return True  # nothing is read in a directory that is neither known nor read itself

    def _rename(self) -> None:
        for new, old in sorted(self._renames.items()):
            if self._stands(new[0]):
                self._add(old, step(operation=Operation.RENAME, second=key_of(new)))
                self._before[new], self._before[old] = self._before[old], None
                self._done.add(new)

    def _link(self, ascending: Iterable[Place]) -> None:
        for place in ascending:
            fresh = self._after[place]
            if not fresh or self._before[place] is not None or place in self._done or not self._stands(place[0]):
                continue
            if _has_names(fresh.entry) and (anchor := self._anchor(inode_of(fresh.entry))):
                self._linked(place, anchor)

    def _anchor(self, inode: Inode) -> Place | None:
        """A known name of a file, if there is one."""
        return next(iter(self._state.file_links(inode)), None) or self._singles.get(inode)

    def _linked(self, place: Place, anchor: Place) -> None:
        fresh = self._after[place]
        assert fresh is not None
        inode = inode_of(fresh.entry)
        row = fresh.entry.row if inode in self._written else b""  # if not, its content may be another one yet
        self._add(place, step(operation=Operation.LINK, second=key_of(anchor), row=row))
        self._done.add(place)
        known = self._before[anchor] if anchor in self._before else self._state.find(anchor)
        self._before[place] = known or self._before[place]
        self._lives.setdefault(inode, place)

    # -------------------------------------------------------------------------------------------- going and coming

    def _goes(self, place: Place) -> bool:
        """Whether the name that is known goes, be it that another one comes there."""
        fresh, before = self._after[place], self._before[place]
        assert before is not None
        if fresh is None:
            return True
        return place not in self._done and _replaces(before.entry, fresh.entry)

    def _create(self, ascending: Iterable[Place]) -> None:
        for place in ascending:
            fresh, before = self._after[place], self._before[place]
            if fresh is None or place in self._done or not (before is None or _replaces(before.entry, fresh.entry)):
                continue
            anchor = self._alive(inode_of(fresh.entry)) if _has_names(fresh.entry) else None
            if anchor is not None:
                self._linked(place, anchor)
            else:
                self._made(place, fresh)

    def _alive(self, inode: Inode) -> Place | None:
        """A name under which a file can be met now."""
        if inode in self._lives:
            return self._lives[inode]
        single = self._singles.get(inode)
        for place in (*self._state.file_links(inode), *([single] if single else ())):
            if place not in self._after:
                return place
            fresh, before = self._after[place], self._before[place]
            if fresh and before and inode_of(fresh.entry) == inode and not _replaces(before.entry, fresh.entry):
                return place
        return None

    def _made(self, place: Place, fresh: Fresh) -> None:
        for each in creation(fresh, self._chunks):
            self._add(place, each)
        self._done.add(place)
        self._before[place] = None
        if _has_names(fresh.entry):
            inode = inode_of(fresh.entry)
            self._lives.setdefault(inode, place)
            self._written.add(inode)

    # -------------------------------------------------------------------------------------------------- what changed

    def _update(self, ascending: Iterable[Place]) -> None:
        for place in ascending:
            fresh, before = self._after[place], self._before[place]
            if fresh is None or before is None:
                continue
            if _has_names(fresh.entry):
                inode = inode_of(fresh.entry)
                if inode in self._written:
                    continue
                self._written.add(inode)
            same = before.entry.row == fresh.entry.row and settled(before.entry.ctime_ns, before.read_ns)
            moved = place in self._done  # renamed, or linked: its row has to be said again
            for each in update(before, fresh, self._chunks, content=not same, moved=moved):
                self._add(place, each)

    def _add(self, place: Place, record: LogRecord) -> None:
        self._records.append(replace(record, path=key_of(place)))


def _has_names(entry: Entry) -> bool:
    """Whether it is a file with more names than one."""
    return entry.is_file and entry.links > 1


def _replaces(before: Entry, after: Entry) -> bool:
    """Whether one thing cannot become the other, or must not: a name of a file that has others."""
    if before.mode & 0o170000 != after.mode & 0o170000:
        return True
    if before.is_file:
        return inode_of(before) != inode_of(after) and (before.links > 1 or after.links > 1)
    return before.inline != after.inline or before.extra.rdev != after.extra.rdev


def find_renames(state: State, rows: Mapping[Place, bytes | None]) -> dict[Place, Place]:
    """Files that have another place now, by their new one: one name before, one name now, the same inode.

    None of which that is not clear; a renamed directory is one that went and one that came. So is a file that has also
    another size or time of change: file systems give the number of a deleted file to the next one that is made.
    """
    gone: dict[tuple[Inode, bytes], list[Place]] = {}
    came: dict[tuple[Inode, bytes], list[Place]] = {}
    for place, row in rows.items():
        known = state.row(place)
        before, after = _single(known[0] if known else None), _single(row)
        home = state.file_system(place[0])
        if row is None and before and known:
            gone.setdefault(((home, before), known[0][_CONTENT]), []).append(place)
        elif row and after and after != before and (known is None or before):
            came.setdefault(((home, after), row[_CONTENT]), []).append(place)
    clear = (file for file in came.keys() & gone.keys() if len(came[file]) == len(gone[file]) == 1)
    return {came[file][0]: gone[file][0] for file in clear}


def _single(row: bytes | None) -> int:
    """The inode of a regular file with one name; 0 for all else."""
    fields = ROW.unpack(row) if row else None
    return fields[7] if fields and is_file(fields[0]) and fields[3] == 1 else 0
