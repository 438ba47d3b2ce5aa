"""The feed of a process that may: fanotify marks on the file systems of a component, whatever their size.

The kernel merges events and so destroys their order: what comes out is a set. Events of directories elsewhere on the
same file system cost a lookup of the directory and one of the name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from knowngood.core.errors import Damaged
from knowngood.kinds.files.watch.directories import Directories, Opened
from knowngood.kinds.files.watch.dirty import Dirty, below, own_entry
from knowngood.kinds.files.watch.feed import COOKIE, FANOTIFY, Lost, WatchTraits
from knowngood.kinds.files.watch.marks import Marks
from knowngood.kinds.files.watch.mounted import Root
from knowngood.kinds.files.watch.names import Names
from knowngood.kinds.files.watch.scope import TURNING, Folder, Scope
from knowngood.linux import fanotify as kernel
from knowngood.linux.calls import read_waiting
from knowngood.wire import fanotify as wire
from knowngood.wire.fanotify import FSID_BYTES, ONDIR, SELF, Event, Place

_CONTENT = wire.MODIFY | wire.ATTRIB | wire.CLOSE_WRITE
_NOBODY = -1
_COMING_AND_GOING = wire.CREATE | wire.DELETE


class FanotifyFeed:
    """Reads the marks' group. `queue_limit` events may wait, 141 bytes of kernel memory each."""

    def __init__(self, root: Root, scope: Scope, marks: Marks, cookies: bytes, *, ignore_own: bool, queue_limit: int):
        """`cookies` is the handle of the folder of cookies. Takes over `marks`."""
        self.seen = b""
        self.traits = WatchTraits(FANOTIFY, other_names=True, unwatched=marks.unwatched)
        self._root = root
        self._scope = scope
        self._marks = marks
        self._cookies = cookies[FSID_BYTES:]
        self._own = os.getpid() if ignore_own else _NOBODY
        self._limit = queue_limit
        self._directories = Directories(scope)
        self._names = Names(scope)

    def fileno(self) -> int:
        """The group's descriptor."""
        return self._marks.group

    def close(self) -> None:
        """End the marks."""
        self._marks.close()

    # ----------------------------------------------------------------------------------------------------- reading

    def collect(self, dirty: Dirty) -> None:
        """Take in all that had happened when this was called. Raises Lost."""
        try:
            waiting = kernel.queued(self._marks.group)
            if waiting > self._limit:
                raise Lost(f"{waiting} events were waiting: more than {self._limit}")
            with self._opened() as opened:
                while waiting > 0 and (data := read_waiting(self._marks.group, kernel.READ_BYTES)):
                    events = wire.parse(data)
                    waiting -= len(events)
                    for event in events:
                        self._take(opened, event, dirty)
                self._names.settle(opened, dirty)
        except (OSError, Damaged) as wrong:
            raise Lost(f"events could not be read: {wrong}") from None

    @contextmanager
    def _opened(self) -> Iterator[Opened]:
        with ExitStack() as stack:
            root = stack.enter_context(self._root.opened())
            mounts = self._marks.open(stack, root)
            yield Opened(root, self._root.path, mounts)

    def _take(self, opened: Opened, event: Event, dirty: Dirty) -> None:
        mask, pid, place, old, new, file = event
        if mask & wire.OVERFLOW:
            self._directories.forget()
            dirty.lose("the kernel's queue of events overflowed")
        elif place is not None:
            if place.directory[FSID_BYTES:] == self._cookies and place.name.startswith(COOKIE):
                self.seen = max(self.seen, place.name)
            elif pid != self._own:
                self._at(opened, place, mask, dirty)
                if file is not None and mask & _CONTENT and not mask & ONDIR:
                    self._names.used(place, file)
        elif pid == self._own:
            return
        elif old is not None or new is not None:
            self._renamed(opened, event, dirty)
        elif file is not None:  # a name of it came or went, or it is open by handle
            self._names.unsure(file)

    def _at(self, opened: Opened, place: Place, mask: int, dirty: Dirty) -> bool:
        """Something happened to a name in a directory. Returns whether the directory is one of the component."""
        folders = self._directories.find(opened, place.directory)
        for folder in folders:
            self._inside(folder, place.name, mask, dirty)
        return bool(folders)

    def _inside(self, folder: Folder, name: bytes, mask: int, dirty: Dirty) -> None:
        key = folder.key
        if folder.whole:
            dirty.subtrees.add(key)
            return
        if name == SELF:
            dirty.entries.add(own_entry(key))
            return
        if mask & _COMING_AND_GOING:
            dirty.entries.add(own_entry(key))
        if name in TURNING:
            dirty.subtrees.add(key)
            self._directories.forget()
        if self._scope.has(folder, name, bool(mask & ONDIR)):
            dirty.entries.add((key, name))
            if mask & wire.CREATE and mask & ONDIR:  # a snapshot of btrfs comes with all that is in it
                dirty.subtrees.add(below(key, name))

    def _renamed(self, opened: Opened, event: Event, dirty: Dirty) -> None:
        """Both names are dirty, and so is all below a directory's new one."""
        is_directory = event.mask & ONDIR
        inside = False
        if event.old is not None:
            inside |= self._at(opened, event.old, wire.DELETE | is_directory, dirty)
        if event.new is not None:
            inside |= self._at(opened, event.new, wire.CREATE | is_directory, dirty)
            if event.file is not None and not is_directory:
                self._names.used(event.new, event.file)
        if is_directory and inside:  # one that moves outside of the root takes nothing in or out
            self._directories.forget()
