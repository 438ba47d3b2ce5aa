"""Reads what was seen to have changed, and keeps to what replay can carry out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from knowngood.kinds.files.capture.twins import Taken
from knowngood.kinds.files.follow.feed import Place
from knowngood.kinds.files.follow.folders import Folders, Unseen
from knowngood.kinds.files.follow.known import Inode, Known, State, is_directory, is_file, key_of
from knowngood.kinds.files.follow.reading import Reader
from knowngood.kinds.files.follow.steps import Fresh
from knowngood.kinds.files.settled import settled
from knowngood.tree.block import ROW, Entry
from knowngood.tree.namespace import place_of


@dataclass(slots=True)
class Haul:
    """What was read. `retry` are places that have to be looked at again; `failed` what could not be read, by row."""

    after: dict[Place, Fresh | None] = field(default_factory=dict)
    retry: set[Place] = field(default_factory=set)
    failed: dict[Place, bytes] = field(default_factory=dict)


class Taking:
    """Takes places, in order. A file with several names is read under one of them."""

    def __init__(
        self,
        folders: Folders,
        state: State,
        reader: Reader,
        now_ns: int,
        taken: Mapping[Place, Fresh | None],
        *,
        whole: bool,
    ) -> None:
        """What was `taken` just now and has the same row still is not taken again.

        With `whole`, everything is going to be in a checkpoint: what cannot be read cannot be there.
        """
        self._folders = folders
        self._state = state
        self._reader = reader
        self._now_ns = now_ns
        self._taken = taken
        self._whole = whole
        self._haul = Haul()
        self._files: dict[tuple[Inode, bytes], Fresh] = {}

    def run(self, rows: Mapping[Place, bytes | None], renames: Mapping[Place, Place]) -> Haul:
        """Take them. Raises Busy, and what the sink raises."""
        for place in sorted(rows):
            row = rows[place]
            if row is None:
                self._haul.after[place] = None
                continue
            if (same := self._taken.get(place)) is not None and same.entry.row == row:
                self._haul.after[place] = same
                continue
            try:
                self._take(place, row, self._state.find(renames.get(place, place)))
            except Unseen:
                self._left_out(place, self._state.find(place))
        self._keep_whole()
        return self._haul

    def _take(self, place: Place, row: bytes, known: Known | None) -> None:
        fd = self._folders.open(place[0])
        fields = ROW.unpack(row)
        home = known.entry.file_system if known and known.entry.inode == fields[7] else None
        home = self._state.file_system(place[0]) if home is None else home
        named = is_file(fields[0]) and fields[3] > 1
        if named and (same := self._files.get(((home, fields[7]), row))):
            entry = same.entry.at(*place)
            self._haul.after[place] = Fresh(entry, same.got, same.read_ns)
            return
        taken = None
        if fd is not None:
            self._reader.begin(place[0], home, known)
            taken = self._reader.take(fd, place[1], fields[0])
        if taken is None:
            self._not_taken(fd, place, row, known)
            return
        if is_directory(taken[0]) and not _same_thing(taken[0], row):
            self._left_out(place, known)  # nobody has looked at what is in it
            return
        fresh = Fresh(_entry(place, home, taken), self._reader.got, self._now_ns)
        self._haul.after[place] = fresh
        if named:
            self._files[(home, fields[7]), row] = fresh
        if not fresh.entry.ctime_ns:
            self._haul.retry.add(place)
            if settled(fields[6], self._now_ns):  # it is not its content that moves: its attributes cannot be read
                self._haul.failed[place] = row

    def _not_taken(self, fd: int | None, place: Place, row: bytes, known: Known | None) -> None:
        """It went meanwhile, or cannot be read: then what is known of it stays, as long as that can be."""
        directory = known is not None and known.entry.is_directory
        if fd is None or not _is_there(fd, place[1]):
            self._haul.retry.add(place)
            if not directory:
                self._haul.after[place] = None
            return
        self._haul.failed[place] = row
        if self._whole and not directory:
            self._haul.after[place] = None

    def _left_out(self, place: Place, known: Known | None) -> None:
        """Look again; meanwhile what is known of it stays, unless its content has to be in a checkpoint."""
        self._haul.retry.add(place)
        if self._whole and known is not None and not known.entry.is_directory:
            self._haul.after[place] = None

    def _keep_whole(self) -> None:
        """Nothing is below what is no directory; no directory goes while something is known below it that stays."""
        after = self._haul.after
        for place in sorted(after, key=key_of):
            if after[place] is not None and place[0] and not self._is_directory(place[0]):
                after[place] = None
                self._haul.retry.add(place)
        for place in sorted(after, key=key_of, reverse=True):
            fresh = after[place]
            if (fresh is None or not fresh.entry.is_directory) and self._state.is_directory(key_of(place)):
                below = self._state.below(key_of(place))
                if any(each not in after or after[each] is not None for each in below):
                    del after[place]
                    self._haul.retry.add(place)
        for place in [place for place, fresh in after.items() if fresh is None and self._state.row(place) is None]:
            del after[place]

    def _is_directory(self, key: bytes) -> bool:
        place = place_of(key)
        if place in self._haul.after:
            fresh = self._haul.after[place]
            return fresh is not None and fresh.entry.is_directory
        return self._state.is_directory(key)


def _same_thing(one: bytes, other: bytes) -> bool:
    first, second = ROW.unpack(one), ROW.unpack(other)
    return (first[0] & 0o170000, first[7]) == (second[0] & 0o170000, second[7])


def renamed(after: Mapping[Place, Fresh | None], renames: Mapping[Place, Place]) -> dict[Place, Place]:
    """Those renames that what was read bears out."""
    found: dict[Place, Place] = {}
    for new, old in renames.items():
        fresh = after.get(new)
        if fresh and fresh.entry.is_file and fresh.entry.links == 1 and after.get(old, fresh) is None:
            found[new] = old
    return found


def rows_of(state: State, places: Iterable[Place]) -> dict[Place, bytes]:
    """What is known of places, as if it had been seen there."""
    found = ((place, state.row(place)) for place in places)
    return {place: known[0] for place, known in found if known}


def _is_there(fd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return False
    return True


def _entry(place: Place, file_system: int, taken: Taken) -> Entry:
    row, content, refs, inline, extra = taken
    mode, uid, gid, links, size, mtime, ctime, inode = ROW.unpack(row)
    head = (mode, uid, gid, links, size, mtime, ctime, inode)
    return Entry(place[0], place[1], *head, file_system, content, refs, inline, extra)
