"""Which names below a folder may have changed: a feed from the kernel that never loses silently."""

from knowngood.kinds.files.watch.dirty import Dirty, Entry
from knowngood.kinds.files.watch.feed import FANOTIFY, INOTIFY, SCAN, WatchTraits
from knowngood.kinds.files.watch.mapped import mapped_files
from knowngood.kinds.files.watch.watcher import Watcher, watch

__all__ = ["FANOTIFY", "INOTIFY", "SCAN", "Dirty", "Entry", "WatchTraits", "Watcher", "mapped_files", "watch"]
