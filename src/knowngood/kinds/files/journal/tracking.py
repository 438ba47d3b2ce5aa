"""What a journal's entries make of what is known of a component: as replay does it, but for what is in files.

A file that was written to is known by its row, and is read when a checkpoint is made.
"""

from __future__ import annotations

import stat
from dataclasses import replace

import msgspec

from knowngood.core.log import Form, Operation
from knowngood.kinds.files.follow.feed import Place
from knowngood.kinds.files.follow.known import Known, State, inode_of, key_of
from knowngood.kinds.files.journal.entries import Entry
from knowngood.tree.block import NO_EXTRA, ROW, Content, Entry as TreeEntry, Extra
from knowngood.tree.namespace import place_of

_EXCHANGE = 1


class Untracked(Exception):
    """An entry speaks of what is not known: the log could not be replayed with it."""


class Tracker:
    """Carries out entries on what is known."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._now_ns = 0

    def track(self, entry: Entry) -> None:
        """Carry out one. Raises Untracked, and has done nothing then."""
        self._now_ns = entry.time_ns
        match entry.operation:
            case Operation.CREATE:
                self._create(entry)
            case Operation.LINK:
                self._link(entry)
            case Operation.UNLINK:
                self._unlink(place_of(entry.path))
            case Operation.RENAME:
                self._rename(entry)
            case _:
                self._change(entry)

    def _find(self, place: Place) -> Known:
        found = self._state.find(place)
        if found is None:
            raise Untracked
        return found

    def _create(self, entry: Entry) -> None:
        place = place_of(entry.path)
        if self._state.row(place) is not None or (place[0] and not self._state.is_directory(place[0])):
            raise Untracked
        made = TreeEntry.of(*place, entry.row, self._state.file_system(place[0]), int(Content.NONE))
        if entry.data:
            made = replace(made, content=int(Content.INLINE), inline=entry.data)
        if entry.value:
            made = replace(made, extra=Extra(rdev=entry.value))
        self._state.set(place, Known(made, self._now_ns, exact=not made.is_file))

    def _link(self, entry: Entry) -> None:
        second = place_of(entry.second)
        known = self._changed(self._find(second), entry.row)
        if self._state.row(place_of(entry.path)) is not None:
            raise Untracked
        self._everywhere(second, known)
        self._state.set(place_of(entry.path), known)

    def _everywhere(self, place: Place, known: Known) -> None:
        """A file with several names is one file."""
        places = {place}
        if known.entry.is_file:
            places |= self._state.file_links(inode_of(known.entry))
        for each in places:
            self._state.set(each, known)

    def _unlink(self, place: Place) -> None:
        known = self._find(place)
        self._state.set(place, None)
        entry = known.entry
        if entry.is_file and entry.links > 1:
            left = Known(replace(entry, links=entry.links - 1, ctime_ns=0), known.read_ns, known.exact)
            for each in self._state.file_links(inode_of(entry)):
                self._state.set(each, left)

    def _rename(self, entry: Entry) -> None:
        old, new = place_of(entry.path), place_of(entry.second)
        known, other = self._find(old), self._state.find(new)
        if entry.value == _EXCHANGE:
            if other is None:
                raise Untracked
            mine, theirs = self._lifted(old, known), self._lifted(new, other)
            self._laid(new, mine)
            self._laid(old, theirs)
        else:
            if other is not None:
                self._unlink(new)
            self._laid(new, self._lifted(old, known))
        moved = self._find(new)
        self._everywhere(new, self._changed(moved, entry.row))

    def _lifted(self, place: Place, known: Known) -> list[tuple[bytes, Known]]:
        """Take something away, with all that is below it: how their keys go on, and what is known of them."""
        key = key_of(place)
        below = list(self._state.below(key)) if known.entry.is_directory else []
        found = [(key_of(each)[len(key) :], self._find(each)) for each in below]
        for each in (*below, place):
            self._state.set(each, None)
        return [(b"", known), *found]

    def _laid(self, place: Place, lifted: list[tuple[bytes, Known]]) -> None:
        key = key_of(place)
        for rest, known in lifted:
            self._state.set(place_of(key + rest), known)

    def _change(self, entry: Entry) -> None:
        place = place_of(entry.path)
        known = self._changed(self._find(place), entry.row)
        if entry.operation in (Operation.WRITE, Operation.TRUNCATE):
            known = Known(known.entry, known.read_ns, exact=False)
        elif entry.operation == Operation.XATTR:
            names = dict(known.entry.extra.xattrs)
            if entry.form == Form.BYTES:
                names[entry.second] = entry.data
            elif names.pop(entry.second, None) is None:
                raise Untracked
            known = _with_extra(known, xattrs=tuple(sorted(names.items())))
        elif entry.operation == Operation.FLAGS:
            known = _with_extra(known, flags=entry.value)
        self._everywhere(place, known)

    def _changed(self, known: Known, row: bytes) -> Known:
        if not row:
            return known
        mode, uid, gid, links, size, mtime, ctime, inode = ROW.unpack(row)
        if stat.S_IFMT(mode) != stat.S_IFMT(known.entry.mode):
            raise Untracked
        fields = {"mode": mode, "uid": uid, "gid": gid, "links": links, "size": size}
        entry = replace(known.entry, **fields, mtime_ns=mtime, ctime_ns=ctime, inode=inode)
        return Known(entry, self._now_ns, known.exact)


def _with_extra(known: Known, **changes: object) -> Known:
    extra = msgspec.structs.replace(known.entry.extra, **changes)
    entry = replace(known.entry, extra=NO_EXTRA if extra == NO_EXTRA else extra)
    return Known(entry, known.read_ns, known.exact)
