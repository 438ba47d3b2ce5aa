"""Files that share blocks, and files without a name. Sources: ioctl_ficlone(2), ioctl_ficlonerange(2), open(2)."""

from __future__ import annotations

import fcntl
import os
import struct

_FICLONE = 0x40049409
_FICLONERANGE = 0x4020940D
_RANGE = struct.Struct("=qQQQ")  # src_fd, src_offset, src_length, dest_offset


def clone(source: int, into: int) -> None:
    """Let the open file `into` become what `source` is at one instant, sharing all its blocks.

    What the kernel holds of the source and has not written out, stores through memory maps too, is written out first.
    Raises OSError: EOPNOTSUPP, EXDEV and EINVAL where that cannot be, ENOSPC, EDQUOT.
    """
    fcntl.ioctl(into, _FICLONE, source)


def clone_range(source: int, offset: int, length: int, into: int, at: int) -> None:
    """Let `into` share, from `at` on, the blocks of a range of `source`: whole blocks, or up to the source's end.

    Raises OSError as `clone` does.
    """
    fcntl.ioctl(into, _FICLONERANGE, _RANGE.pack(source, offset, length, at))


def nameless(folder: int) -> int:
    """A new file on the file system of an open directory that has no name, and can be given none.

    It vanishes with its descriptor, whatever happens to the process or the machine. Raises OSError.
    """
    flags = os.O_TMPFILE | os.O_RDWR | os.O_EXCL | os.O_CLOEXEC
    return os.open(b".", flags, 0o600, dir_fd=folder)
