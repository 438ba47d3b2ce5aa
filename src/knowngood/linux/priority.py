"""Staying out of the way of everybody else. Source: ioprio_set(2), nice(2)."""

from __future__ import annotations

import os
from contextlib import suppress

from knowngood.linux.calls import checked, libc

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282, "i686": 289, "armv7l": 314}
_WHO_PROCESS = 1
_IDLE = 3 << 13
_NICEST = 19


def be_idle() -> None:
    """From now on this thread, and all that it starts, get disk and processor only when nobody else wants them.

    Where the kernel cannot, or the scheduler of the disk does not care, that is less than it says, and no error.
    """
    with suppress(OSError):
        os.nice(_NICEST)
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        with suppress(OSError):
            checked(libc.syscall(number, _WHO_PROCESS, 0, _IDLE))
