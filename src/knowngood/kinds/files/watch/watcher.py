"""The watcher of one component: picks the best feed there is, and begins anew when that ends.

A caller marks first, then scans, then trusts what comes: the first answer of a new watcher is what changed since it
began. Whatever goes wrong ends in an answer that is `lost`, by which the caller scans again; nothing is missed silently
but what `WatchTraits` says.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from knowngood.core.model import ComponentSpec
from knowngood.kinds.files.watch.dirty import Dirty
from knowngood.kinds.files.watch.fanotify_feed import FanotifyFeed
from knowngood.kinds.files.watch.feed import COOKIE, FANOTIFY, INOTIFY, Feed, Lost, NoFeed, Refused, WatchTraits
from knowngood.kinds.files.watch.inotify_feed import InotifyFeed
from knowngood.kinds.files.watch.marks import Marks
from knowngood.kinds.files.watch.mounted import Root, is_watchable
from knowngood.kinds.files.watch.scope import Scope
from knowngood.linux.fanotify import handle_of
from knowngood.linux.mounts import Mount, MountTable

QUEUE_LIMIT = 500_000
"""Events that may wait between two answers: 70 MB of kernel memory."""
ANSWER_LIMIT = 1_000_000
"""Names that one answer may hold, about 200 MB; a scan is then as good."""
COOKIE_SECONDS = 5.0


def watch(
    component: ComponentSpec,
    cookies: str,
    *,
    ours: Iterable[str] = (),
    feeds: tuple[str, ...] = (FANOTIFY, INOTIFY),
    ignore_own: bool = False,
    queue_limit: int = QUEUE_LIMIT,
    answer_limit: int = ANSWER_LIMIT,
) -> Watcher:
    """Watch a component's folder. `Watcher.traits` says by which feed, and why not by a better one.

    `cookies` is a folder that only we write to, be it on another file system: its content, and that of the folders
    `ours`, is left out, as are vaults and what the component excludes. With `ignore_own`, what this process does is
    left out where the feed can tell. Nothing is held open that would keep a file system from being unmounted. One
    thread only. Raises UsageError for a bad pattern, OSError when one of the folders of ours is not there.
    """
    return Watcher(component, cookies, (cookies, *ours), feeds, ignore_own, queue_limit, answer_limit)


class Watcher:
    """Gathers what changes. Call `drain` at every tick: a timer costs less than waking for each event."""

    def __init__(
        self,
        component: ComponentSpec,
        cookies: str,
        ours: tuple[str, ...],
        feeds: tuple[str, ...],
        ignore_own: bool,
        queue_limit: int,
        answer_limit: int,
    ) -> None:
        self._component = component
        self._scope = Scope(component, ours)
        self._feeds = feeds
        self._ignore_own = ignore_own
        self._queue_limit = queue_limit
        self._answer_limit = answer_limit
        self._dirty = Dirty()
        self._made = 0  # cookies
        self._mounts: dict[bytes, Mount] = {}
        self._place: object = None
        self._cookies = cookies
        self._table = MountTable()
        self._feed: Feed = self._begin()

    @property
    def traits(self) -> WatchTraits:
        """What is seen now; it can become more or less after an answer that was lost."""
        return self._feed.traits

    def fileno(self) -> int:
        """Readable when something happened on the file system, mostly elsewhere; -1 when nothing is seen.

        Another one after an answer that was lost.
        """
        return self._feed.fileno()

    def drain(self) -> Dirty:
        """All that has changed since the last answer; every call that had returned before this one is in it."""
        self._collect()
        answer, self._dirty = self._dirty, Dirty()
        return answer

    def barrier(self, seconds: float = COOKIE_SECONDS) -> bool:
        """Prove that the feed is alive: make a file, and wait until it was seen. The next answer holds all before it.

        False, and the next answer is lost, when that takes longer, or cannot be.
        """
        try:
            name = self._cookie()
        except OSError as wrong:
            self._lose(f"no cookie could be made: {os.strerror(wrong.errno or 0).lower()}")
            return False
        self._collect()
        if not self._dirty.lost and not self._seen(self._feed, name, seconds, self._collect):
            self._lose("a cookie was not seen in time")
        return not self._dirty.lost

    def close(self) -> None:
        """Let go of the feed."""
        self._feed.close()
        self._table.close()

    # ---------------------------------------------------------------------------------------------------- the feed

    def _collect(self) -> None:
        try:
            if self._table.changed() and self._place != self._where(self._root(), self._table.read()):
                self._lose("what is mounted at or below the component's folder has changed")
            self._feed.collect(self._dirty)
        except Lost as lost:
            self._lose(str(lost))
        except OSError as wrong:
            self._lose(f"the component's folder cannot be opened: {os.strerror(wrong.errno or 0).lower()}")
        if self._dirty.lost:
            self._dirty.lose("")
        elif len(self._dirty) > self._answer_limit:
            self._dirty.lose(f"more than {self._answer_limit} names have changed")

    def _lose(self, reason: str) -> None:
        """Begin anew, and only then let the caller scan."""
        self._feed.close()
        self._feed = self._begin()
        self._dirty.lose(reason)

    def _begin(self) -> Feed:
        """The best feed there is."""
        try:
            root = self._root()
            self._scope.begin(root.stat)
            table = self._table.read()
            self._place = self._where(root, table)
        except NotADirectoryError:
            return NoFeed("it is a single file")
        except (OSError, Lost) as wrong:
            said = os.strerror(wrong.errno or 0).lower() if isinstance(wrong, OSError) else str(wrong)
            return NoFeed(f"the component cannot be watched: {said}", passing=True)
        mount = root.mount(table)
        if mount is None or not is_watchable(mount.kind):
            kind = os.fsdecode(mount.kind) if mount else "that is not known"
            return NoFeed(f"others may change a file system of kind {kind} without this kernel's knowledge")
        reasons: list[str] = []
        for name in self._feeds:
            try:
                return self._checked(self._fanotify(root, mount) if name == FANOTIFY else self._inotify(root, reasons))
            except (Refused, Lost, OSError) as refused:
                reasons.append(f"{name}: {refused}")
        return NoFeed("; ".join(reasons))

    def _fanotify(self, root: Root, mount: Mount) -> Feed:
        with root.opened() as fd:
            marks = Marks(root, fd, mount, self._mounts)
        try:
            with self._folder() as folder:
                cookies = handle_of(folder)
                if os.fstat(folder).st_dev != root.stat.st_dev:
                    marks.see(folder)
        except OSError as wrong:
            marks.close()
            raise Refused(f"no handle for the folder of cookies: {wrong.strerror}") from None
        limit = self._queue_limit
        return FanotifyFeed(root, self._scope, marks, cookies, ignore_own=self._ignore_own, queue_limit=limit)

    def _inotify(self, root: Root, reasons: list[str]) -> Feed:
        unwatched: list[bytes] = []
        devices = {root.stat.st_dev}
        for key, mount in sorted(self._mounts.items()):
            # A watch is of a directory, not of a path: what bind mounts show twice it would tell of by one path only.
            device = os.stat(mount.path).st_dev if is_watchable(mount.kind) else root.stat.st_dev
            if device in devices:
                unwatched.append(key)
            devices.add(device)
        with self._folder() as folder:
            return InotifyFeed(root, self._scope, folder, "; ".join(reasons), tuple(unwatched))

    def _root(self) -> Root:
        return Root(self._component)

    def _where(self, root: Root, table: list[Mount]) -> object:
        """Which folder the root is, where it is mounted, and what is mounted below it. Raises Lost."""
        with root.opened() as fd:
            self._mounts = root.below(table, lambda key: self._scope.reaches(fd, key))
        return root.stat.st_dev, root.stat.st_ino, root.mount(table), self._mounts

    @contextmanager
    def _folder(self) -> Iterator[int]:
        """The folder of cookies. Raises OSError."""
        fd = os.open(self._cookies, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    # ----------------------------------------------------------------------------------------------------- cookies

    def _cookie(self) -> bytes:
        """Make a file that the feed will see, and remove it. Raises OSError."""
        self._made += 1
        name = COOKIE + b"%012d" % self._made
        with self._folder() as folder:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=folder))
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
        return name

    def _checked(self, feed: Feed) -> Feed:
        """A feed that has proved to see something. Raises Refused, Lost, OSError."""
        dirty = self._dirty
        try:
            proven = self._seen(feed, self._cookie(), COOKIE_SECONDS, lambda: feed.collect(dirty))
        except BaseException:
            feed.close()
            raise
        if proven:
            return feed
        feed.close()
        raise Refused("a file made in the folder of cookies was not seen")

    @staticmethod
    def _seen(feed: Feed, name: bytes, seconds: float, collect: Callable[[], None]) -> bool:
        """Collect until a cookie was seen, or the time is over."""
        poll = select.poll()
        poll.register(feed.fileno(), select.POLLIN)
        end = time.monotonic() + seconds
        collect()
        while feed.seen < name:
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return False
            collect()
        return True
