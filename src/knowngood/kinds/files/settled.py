"""When a file's times prove that it has not changed since it was read.

A time of change is only as fine as the clock that stamped it. A file that is written, read and written again within
one tick keeps its size and its times while its content differs ("racily clean", as git calls it). So a row proves
nothing unless its time of change had passed, by more than one tick, when the reading began.
"""

from __future__ import annotations

from knowngood.core.instants import SECOND

TICK = SECOND // 50  # file systems stamp with the kernel's tick: 10 ms at the slowest setting, doubled
COARSE = 2 * SECOND  # some keep whole seconds only, FAT every second one


def certainly_settled(read_ns: int) -> int:
    """Times of change before this are settled for a reading that began at `read_ns`, however coarse the clock."""
    return read_ns - COARSE


def settled(changed_ns: int, read_ns: int) -> bool:
    """Whether a later change would have shown as another time of change than `changed_ns`."""
    return changed_ns < read_ns - (TICK if changed_ns % SECOND else COARSE)
