"""Who writes past a journal: programs that had files open before it was mounted, and other mount namespaces."""

from __future__ import annotations

import os
from contextlib import suppress

_MOUNTS = "/proc/{}/ns/mnt"


def past_the_mount(path: bytes, root: int) -> str:
    """What is not journalled though it may be written to, in words; nothing when all comes through the mount.

    `root` is a descriptor of the folder below. What cannot be looked at is left out.
    """
    programs = _programs(path, os.fstat(root).st_dev)
    if programs:
        return f"files that {programs} programs had open before it was mounted are written to past the journal"
    with suppress(OSError):
        if os.readlink(_MOUNTS.format("self")) != os.readlink(_MOUNTS.format(1)):
            return "programs in other mount namespaces write past the journal"
    return ""


def _programs(path: bytes, device: int) -> int:
    prefix, found, ours = os.fsdecode(path.rstrip(b"/") + b"/"), 0, os.getpid()
    for process in os.listdir("/proc"):
        if process.isdigit() and int(process) != ours and _is_server(process) is False:
            found += _writes(process, prefix, device)
    return found


def _is_server(process: str) -> bool:
    with suppress(OSError), open(f"/proc/{process}/cmdline", "rb") as file:
        return b"knowngood.kinds.files.journal.serve" in file.read(4096)
    return True  # it is gone


def _writes(process: str, prefix: str, device: int) -> bool:
    """Whether a process has a file below the folder open for writing, on the file system below."""
    folder = f"/proc/{process}/fd"
    with suppress(OSError):
        for fd in os.listdir(folder):
            with suppress(OSError, ValueError):
                name = f"{folder}/{fd}"
                if os.readlink(name).startswith(prefix) and os.stat(name).st_dev == device:
                    with open(f"/proc/{process}/fdinfo/{fd}", encoding="ascii") as info:
                        flags = next(int(line.split()[1], 8) for line in info if line.startswith("flags:"))
                    if flags & os.O_ACCMODE:
                        return True
    return False
