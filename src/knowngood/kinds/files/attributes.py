"""Reading what a file carries beside its content: extended attributes, ACLs among them, and file flags.

On Linux, POSIX ACLs and file capabilities are extended attributes (`system.posix_acl_*`, `security.capability`), so
whoever carries the attributes carries them too. `trusted.*` shows itself to root only.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys

FS_IOC_GETFLAGS = 0x80086601

# From <linux/fs.h>. The kernel keeps the other flags for its own book-keeping: extents, inline data, encryption,
# verity, index… Nobody can set them by this call, so they are not part of what a file is.
FLAG_LETTERS = {
    "s": 0x00000001,  # secure deletion
    "u": 0x00000002,  # undeletable
    "c": 0x00000004,  # compress
    "S": 0x00000008,  # synchronous updates
    "i": 0x00000010,  # immutable
    "a": 0x00000020,  # append only
    "d": 0x00000040,  # no dump
    "A": 0x00000080,  # no time of access
    "m": 0x00000400,  # do not compress
    "j": 0x00004000,  # journal the data
    "t": 0x00008000,  # no tail merging
    "D": 0x00010000,  # synchronous directory updates
    "T": 0x00020000,  # top of a hierarchy
    "C": 0x00800000,  # no copy on write
    "x": 0x02000000,  # direct access
    "P": 0x20000000,  # inherit the project
    "F": 0x40000000,  # names without case
}
SETTABLE_FLAGS = sum(FLAG_LETTERS.values())

_ENCODING = sys.getfilesystemencoding()
_ERRORS = sys.getfilesystemencodeerrors()
_NO_FLAGS = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_NO_XATTRS = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})

Xattrs = tuple[tuple[bytes, bytes], ...]
"""(name, value) of each extended attribute, in order of names."""


def xattrs_of(target: int | str | bytes) -> Xattrs:
    """All extended attributes; none where the file system has no such thing.

    `target` is an open descriptor, or `proc_path` of one that was opened with O_PATH. Raises OSError.
    """
    try:
        names = os.listxattr(target)
    except OSError as wrong:
        if wrong.errno in _NO_XATTRS:
            return ()
        raise
    if not names:
        return ()
    found: list[tuple[bytes, bytes]] = []
    for name in names:
        try:
            found.append((name.encode(_ENCODING, _ERRORS), os.getxattr(target, name)))
        except OSError as wrong:
            if wrong.errno != errno.ENODATA:  # removed since it was listed
                raise
    return tuple(sorted(found))


def flags_of(fd: int) -> int:
    """The settable file flags of an open file or directory; 0 where the file system has none. Raises OSError."""
    answer = bytearray(8)
    try:
        fcntl.ioctl(fd, FS_IOC_GETFLAGS, answer)
    except OSError as wrong:
        if wrong.errno in _NO_FLAGS:
            return 0
        raise
    return int.from_bytes(answer[:4], sys.byteorder) & SETTABLE_FLAGS


def proc_path(fd: int) -> str:
    """A path that stands for what an O_PATH descriptor refers to, be it a symlink: calls that want a path take it."""
    return f"/proc/self/fd/{fd}"
