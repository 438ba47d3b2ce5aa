"""One clone: a file without a name that shares all blocks of another one, as it was at one instant."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass

from knowngood.kinds.files.attributes import flags_of
from knowngood.kinds.files.syscalls import set_flags
from knowngood.linux.extents import BTRFS, XFS, file_system_type, sync_extents
from knowngood.linux.reflink import clone, nameless

_TRIES = 5
_NO_COW = 0x00800000


@dataclass(slots=True)
class Clone:
    """A file at one instant (port Held). `file` is what it was just before, `steady` whether it was so just after."""

    fd: int
    size: int
    file: os.stat_result
    steady: bool
    cost: float  # seconds for which writers had to wait, at most
    row: bytes = b""
    begun: float = 0.0  # before it was made, by the clock of `Clones`, as is the next one
    rests_until: float = 0.0

    @property
    def open(self) -> bool:
        """Whether it is still there."""
        return self.fd >= 0

    def close(self) -> None:
        """Let go of its blocks."""
        os.close(self.fd)
        self.fd = -1


def make_clone(folder: int, fd: int, file: os.stat_result) -> Clone:
    """A clone of an open file, if it can be had of a moment at which nobody changes the file.

    `folder` is any open directory of its file system that can be written to.
    Raises OSError: EOPNOTSUPP and others where files cannot be cloned, ENOSPC and EDQUOT, EMFILE.
    """
    copy = nameless(folder)
    try:
        tries, cost = 0, 0.0
        while True:
            sync_extents(fd)  # or else writers would have to wait while that is done
            begun = time.monotonic()
            _share(fd, copy)
            cost = max(cost, time.monotonic() - begun)
            after, tries = os.fstat(fd), tries + 1
            steady = (after.st_ctime_ns, after.st_size) == (file.st_ctime_ns, file.st_size)
            if steady or tries == _TRIES:
                return Clone(copy, os.fstat(copy).st_size, file, steady, cost)
            file = after
            os.ftruncate(copy, 0)
    except BaseException:
        os.close(copy)
        raise


def _share(fd: int, copy: int) -> None:
    try:
        clone(fd, copy)
    except OSError as wrong:
        if wrong.errno != errno.EINVAL or file_system_type(fd) != BTRFS:
            raise
        set_flags(copy, flags_of(fd), _NO_COW)  # only what is stored in the same way can share
        clone(fd, copy)


def why_no_clones(folder: int) -> str:
    """Why there can be no clones of files in an open directory; empty when there can be."""
    if os.geteuid() != 0:
        return "clones need root"
    if file_system_type(folder) not in (XFS, BTRFS):
        return "only XFS and btrfs have clones"
    try:
        one = nameless(folder)
        try:
            os.write(one, bytes(4096))
            make_clone(folder, one, os.fstat(one)).close()
        finally:
            os.close(one)
    except OSError as wrong:
        return f"files cannot be cloned here: {os.strerror(wrong.errno or 0).lower()}"
    return ""
