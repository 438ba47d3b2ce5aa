"""Memory, told what we know of our programs: large buffers come and go all the time, and hardly anything is cyclic.

By default glibc returns every freed block above 128 KiB to the kernel and gets it back page by page, zeroed; on bulk
data that takes a sixth of all time (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import gc

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


def give_memory_back() -> None:
    """Hand what is free to the system: for who stays, and has done something large. Takes some milliseconds."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


def look_for_cycles_seldom() -> None:
    """Let the collector of cyclic garbage run after 20,000 new objects instead of 700: our data has no cycles, and a
    tenth to a seventh of all time went into looking for them where many small things are kept, as in a replay."""
    gc.set_threshold(20_000, 20, 20)
