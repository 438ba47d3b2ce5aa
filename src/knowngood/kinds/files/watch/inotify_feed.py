"""The feed for everybody: an inotify watch on every directory of a component.

It sees less than fanotify: nothing of files changed by names outside, and no directory before it has a watch. So a
directory is watched first and listed then, and one that comes is reported as a whole subtree. A directory that moves
loses its watches and gets new ones where it is now. Memory: about 400 bytes for each directory, and 160 in the kernel.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from knowngood.core.errors import Damaged
from knowngood.kinds.files.handles import DIRECTORY_FLAGS, Handles, Moved, open_quietly
from knowngood.kinds.files.watch.dirty import Dirty, Entry, below, own_entry
from knowngood.kinds.files.watch.feed import COOKIE, INOTIFY, Lost, Refused, WatchTraits
from knowngood.kinds.files.watch.mounted import Root
from knowngood.kinds.files.watch.scope import TURNING, Folder, Scope
from knowngood.kinds.files.watch.watches import Watches
from knowngood.linux import inotify as kernel
from knowngood.linux.calls import read_waiting, waiting_bytes
from knowngood.wire import inotify as wire

_COMING = wire.CREATE | wire.MOVED_TO
_GOING = wire.DELETE | wire.MOVED_FROM
_ENDED = wire.DELETE_SELF | wire.MOVE_SELF | wire.UNMOUNT
_OPEN_DIRECTORIES = 64


class InotifyFeed:
    """Watches every directory that belongs to the component, and the folder of cookies."""

    def __init__(self, root: Root, scope: Scope, cookies: int, reason: str, unwatched: tuple[bytes, ...]) -> None:
        """`reason` is why fanotify is not used, `unwatched` are mounts not to go into. Raises Refused, Lost."""
        self.seen = b""
        self.traits = WatchTraits(INOTIFY, reason, unwatched=unwatched)
        self._root = root
        self._scope = scope
        self._watches = Watches()
        self._came: set[bytes] = set()
        self._went: set[bytes] = set()
        self._touched: set[Entry] = set()
        try:
            self._fd = kernel.open_instance()
        except OSError as wrong:
            raise Refused(f"inotify: {os.strerror(wrong.errno or 0).lower()}") from None
        try:
            self._cookies = kernel.add_watch(self._fd, cookies)
            with root.opened() as fd:
                self._watch_below(fd, b"")
        except OSError as wrong:
            self.close()
            raise Refused(_reason(wrong)) from None
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """The instance's descriptor."""
        return self._fd

    def close(self) -> None:
        """End all watches."""
        os.close(self._fd)

    # ----------------------------------------------------------------------------------------------------- reading

    def collect(self, dirty: Dirty) -> None:
        """Take in all that had happened when this was called. Raises Lost."""
        try:
            waiting = waiting_bytes(self._fd)
            with self._root.opened() as root:
                while waiting > 0 and (data := read_waiting(self._fd, kernel.READ_BYTES)):
                    waiting -= len(data)
                    for event in wire.parse(data):
                        self._take(event, dirty)
                self._drop()
                for key in sorted(self._came):
                    self._watch_below(root, key)
                self._came.clear()
                self._look_for_names(root, dirty)
        except OSError as wrong:
            raise Lost(_reason(wrong)) from None
        except Damaged as wrong:
            raise Lost(f"events could not be read: {wrong}") from None

    def _take(self, event: wire.Event, dirty: Dirty) -> None:
        watch, mask, _, name = event
        if mask & wire.OVERFLOW:
            raise Lost("the kernel's queue of events overflowed: raise fs.inotify.max_queued_events")
        if watch == self._cookies and name.startswith(COOKIE):
            self.seen = max(self.seen, name)
        folder = self._watches.get(watch)
        if folder is None:
            return
        if mask & wire.IGNORED:
            self._watches.remove(watch)
        elif not name:
            dirty.entries.add(own_entry(folder.key))
            if not folder.key and mask & _ENDED:
                raise Lost("the component's folder was moved, deleted or unmounted")
        else:
            self._named(folder, name, mask, dirty)

    def _named(self, folder: Folder, name: bytes, mask: int, dirty: Dirty) -> None:
        """Something happened to a name in a watched directory."""
        key = folder.key
        if mask & (_COMING | _GOING):
            dirty.entries.add(own_entry(key))
        if name in TURNING:
            dirty.subtrees.add(key)
            self._scope.forget()
            self._came.add(key)
        is_directory = bool(mask & wire.ISDIR)
        if not self._scope.has(folder, name, is_directory):
            return
        dirty.entries.add((key, name))
        if not is_directory:
            self._touched.add((key, name))
            return
        child = below(key, name)
        if mask & _GOING:
            self._went.add(child)
        elif mask & _COMING or child not in self._watches:  # it may have become readable just now
            self._came.add(child)
            dirty.subtrees.add(child)

    def _look_for_names(self, root: int, dirty: Dirty) -> None:
        """Report files that have several names by their inode numbers."""
        for key, name in self._touched:
            try:
                here = os.stat(below(key, name).replace(b"\0", b"/"), dir_fd=root, follow_symlinks=False)
            except OSError:  # it is gone, or too deep to be looked at from here
                continue
            if here.st_nlink > 1 and not stat.S_ISDIR(here.st_mode):
                dirty.inodes.add(here.st_ino)
        self._touched.clear()

    # ----------------------------------------------------------------------------------------------------- watches

    def _drop(self) -> None:
        """End the watches of directories that have gone, and of all below them."""
        if not self._went:
            return
        self._scope.forget()
        for key in self._went:
            for watch in self._watches.below(key):
                self._watches.remove(watch)
                self._end(watch)
        self._went.clear()

    def _end(self, watch: int) -> None:
        try:
            kernel.remove_watch(self._fd, watch)
        except OSError as wrong:
            if wrong.errno != errno.EINVAL:  # it ended with its directory
                raise

    def _watch_below(self, root: int, top: bytes) -> None:
        """Watch a directory and all below it. What is not there, or cannot be read, is left to the events above it.

        Raises OSError when there are no more watches.
        """
        try:
            found = self._scope.find(root, top)
        except OSError:
            return
        if found is None:
            return
        _, there = found
        try:
            fd = open_quietly(b".", DIRECTORY_FLAGS, there)
        except PermissionError:
            return
        finally:
            os.close(there)
        handles = Handles(fd, _OPEN_DIRECTORIES)
        try:
            self._walk(handles, top)
        finally:
            handles.close()

    def _walk(self, handles: Handles, top: bytes) -> None:
        ways = [(top, self._children(handles, top))]
        while ways:
            key, names = ways[-1]
            name = next(names, None)
            if name is None:
                ways.pop()
                handles.leave()
                continue
            try:
                handles.enter(name)
            except Moved:
                ways[-1] = (key, iter(()))
            except OSError as wrong:
                if wrong.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                    raise
            else:
                child = below(key, name)
                ways.append((child, self._children(handles, child)))

    def _children(self, handles: Handles, key: bytes) -> Iterator[bytes]:
        """Watch the deepest open directory, then list the directories in it that belong to the component.

        One whose content is left out is watched too: that may end.
        """
        if key in self.traits.unwatched:
            return iter(())
        watch = kernel.add_watch(self._fd, handles.fd)
        if watch == self._cookies:
            return iter(())
        folder = Folder(key, self._scope.holds(handles.fd))
        if (former := self._watches.add(watch, folder)) is not None:
            self._end(former)
        if not folder.contents:
            return iter(())
        with os.scandir(handles.fd) as entries:
            names = [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
        return iter([name for name in names if self._scope.has(folder, name, is_directory=True)])


def _reason(wrong: OSError) -> str:
    if wrong.errno == errno.ENOSPC:
        return "there are more folders than inotify may watch: raise fs.inotify.max_user_watches"
    return f"inotify: {os.strerror(wrong.errno or 0).lower()}"
