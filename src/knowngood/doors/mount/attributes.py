"""What stat(2) and its like show of entries, exactly as they were, and of the directories above the trees."""

from __future__ import annotations

import os
import stat

from knowngood.core.instants import SECOND
from knowngood.doors.mount.moments import Moment
from knowngood.doors.mount.nodes import Opened
from knowngood.tree.block import NO_EXTRA, ROOT_NAME, Content, Entry
from knowngood.wire.fuse.replies import Attributes

BRIEF_NS = SECOND
"""How long the kernel may rely on what can change: which moments there are."""
LONG_NS = 86400 * SECOND
"""The same for what never changes."""

FILE_TYPE = 0o170000
TRUSTED = b"trusted."
_BLOCK = 4096
_UNITS = 8  # of 512 bytes in a block


def of_entry(entry: Entry, opened: Opened) -> Attributes:
    """Of an entry in a tree."""
    return Attributes(
        opened.inode(entry.inode, entry.file_system),
        entry.size,
        _blocks(entry),
        entry.mtime_ns,
        entry.mtime_ns,
        entry.ctime_ns,
        entry.mode,
        entry.links or 1,  # checkpoints do not count links of directories; 1 tells tools not to rely on it
        entry.uid,
        entry.gid,
        entry.extra.rdev,
    )


def _blocks(entry: Entry) -> int:
    """What the content would take where blocks have 4 KiB, holes left out."""
    if not stat.S_ISREG(entry.mode) or entry.content == Content.NONE:
        return 0
    whole = -(-entry.size // _BLOCK)
    if entry.extra.extents and len(entry.extra.extents) % 16 == 0:  # what they say is looked at when the file is read
        whole = min(whole, sum(-(-length // _BLOCK) for _, length in entry.extents()))
    return whole * _UNITS


def of_root(opened: Opened) -> Entry:
    """The entry of a tree's root; one that everybody may look into where the tree has none."""
    found = opened.tree.root()
    if found is not None:
        return found
    at = opened.moment.moment_ns
    fixed = (stat.S_IFDIR | 0o555, os.getuid(), os.getgid(), 2, 0, at, at, 0, 0)
    return Entry(b"", ROOT_NAME, *fixed, Content.NONE, b"", b"", NO_EXTRA)


def of_above(node: int, newest: Moment | None) -> Attributes:
    """Of a directory above the trees; its time is that of the newest point below it."""
    at = newest.received_ns if newest else 0
    return Attributes(node, 0, 0, at, at, at, stat.S_IFDIR | 0o555, 2, os.getuid(), os.getgid(), 0)
