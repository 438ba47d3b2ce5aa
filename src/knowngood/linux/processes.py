"""Processes that work in a folder: what a killed run of ours has left there."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

_PATIENCE = 5.0


def working_in(folder: str) -> Iterator[int]:
    """The processes whose working directory is a folder or below it, as far as we may see."""
    inside = os.path.realpath(folder)
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                where = os.readlink(f"/proc/{name}/cwd").removesuffix(" (deleted)")
                if where == inside or where.startswith(inside + "/"):
                    yield int(name)


def has_terminal(pid: int) -> bool:
    """Whether somebody sits before it: no server of ours has a terminal, a shell that looks around has one."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read(4096).rpartition(b")")[2].split()[4] != b"0"
    return False


def end_those_in(folder: str) -> int:
    """Kill them, but for those at a terminal; return when they are gone, or will not go. How many there were."""
    ended, until = set[int](), time.monotonic() + _PATIENCE
    while found := [each for each in working_in(folder) if each != os.getpid() and not has_terminal(each)]:
        if time.monotonic() > until:
            break
        for each in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        ended |= set(found)
        time.sleep(0.02)
    return len(ended)
