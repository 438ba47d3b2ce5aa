"""Files that some process may change through memory: no feed tells of stores to a shared mapping.

Source: proc_pid_maps(5). The caller looks at these files' times at each tick: a first store to a page that is clean
changes them, a second one to a dirty page does not. What is unmapped is told of by the feed, as a file closed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
from collections.abc import Iterator

from knowngood.kinds.files.watch.dirty import Entry, own_entry
from knowngood.linux.mounts import unescaped

# start-end, readable or not, writable, executable or not, shared; offset, device, inode; the path
_SHARED = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ [r-]w[x-]s [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ (\d+) +(/.*)$", re.MULTILINE)
_QUERY = struct.Struct("=QQ")  # size, query_flags: the rest of `struct procmap_query` is the answer's
_QUERY_BYTES = 104
_QUERY_SHARED = 0x02 | 0x08 | 0x10 | 0x20  # writable, shared, this or the next one, of a file
_PROCMAP_QUERY = 0xC0686611  # include/uapi/linux/fs.h
_READ_LIMIT = 1 << 24  # bytes of one process' maps: about 150,000 mappings
_FOUND_LIMIT = 100_000


def mapped_files(root: str | bytes, processes: str = "/proc") -> set[Entry]:
    """Entries below a folder that some process holds in a shared, writable mapping; the first 100,000.

    Processes that this one may not look into are left out, and so are those that see the file by another path, as in
    a container. Costs one read of each process' list of mappings.
    """
    above = os.path.realpath(os.fsencode(root)).rstrip(b"/") + b"/"
    found: set[Entry] = set()
    for name in os.listdir(processes):
        if name.isdigit():
            for path in _paths(os.path.join(processes, name, "maps"), above):
                found.add(own_entry(path[len(above) :].replace(b"/", b"\0")))
            if len(found) >= _FOUND_LIMIT:
                break
    return found


def _shares(maps: int) -> bool:
    """Whether a process has a shared, writable mapping of a file; before Linux 6.11 it may have one.

    The kernel takes a while to write the list of all mappings, and most processes have none of these.
    """
    query = bytearray(_QUERY_BYTES)
    _QUERY.pack_into(query, 0, _QUERY_BYTES, _QUERY_SHARED)
    try:
        fcntl.ioctl(maps, _PROCMAP_QUERY, query)
    except OSError as wrong:
        return wrong.errno not in (errno.ENOENT, errno.ESRCH)  # none, or a thread of the kernel
    return True


def _paths(maps: str, above: bytes) -> Iterator[bytes]:
    """The files below a folder that one process has mapped so."""
    try:
        with open(maps, "rb") as file:
            text = file.read(_READ_LIMIT) if _shares(file.fileno()) else b""
    except OSError:  # it has ended, or is somebody else's
        return
    for inode, escaped in set(_SHARED.findall(text)):
        path = unescaped(escaped)
        if not path.startswith(above) and not escaped.startswith(above):
            continue
        # A newline is written as \012, and so is a name of these four letters. A deleted file has a suffix, and so may
        # a name. A process with other mounts sees other paths. The number of the inode settles all of them.
        for candidate in {path, escaped}:
            if candidate.startswith(above) and _is(candidate, int(inode)):
                yield candidate


def _is(path: bytes, inode: int) -> bool:
    try:
        return os.lstat(path).st_ino == inode
    except OSError:
        return False
