"""The C library's allocator, told what we know: large buffers come and go all the time.

By default glibc returns every freed block above 128 KiB to the kernel and gets it back page by page, zeroed; on bulk
data that takes a sixth of all time (docs/performance.md).
"""

from __future__ import annotations

import ctypes

from knowngood.core.sizes import MIB

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # mallopt(3)


def keep_freed_memory() -> None:
    """Let freed memory be used again, up to a bound. Does nothing where the C library has no `mallopt`."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, 32 * MIB)  # the largest that glibc accepts
    mallopt(_M_TRIM_THRESHOLD, 128 * MIB)
    mallopt(_M_ARENA_MAX, 2)
