"""The hot loop: the names of an open directory → rows, in cuts of one block each.

Everything that is done here is done for every entry at every capture, changed or not. A `stat` below an open directory
is the cheapest way the system has to ask; measured, it costs more than all the rest of the loop.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from knowngood.kinds.files.capture.entries import row_of
from knowngood.kinds.files.problems import Problems, path_of
from knowngood.tree.block import ROW
from knowngood.tree.build import BLOCK_FROM, ends_block

_TYPE, _DIRECTORY, _REGULAR = 0o170000, 0o040000, 0o100000


@dataclass(slots=True)
class Cut:
    """Consecutive entries of a directory as listed: what one block will hold."""

    file_system: int
    names: list[bytes] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)
    directories: list[bytes] = field(default_factory=list)  # those of the names that are directories
    files: int = 0
    bytes: int = 0
    newest_ns: int = 0  # the latest time of change
    alias: bytes = b""  # the name to open by, where it is not the entry's own


def gather(
    fd: int,
    names: Iterable[bytes],
    device: int,
    ordinal: Callable[[int], int],
    problems: Problems,
    key: bytes,
) -> Iterator[Cut]:
    """Look at all names of an open directory on `device`, in order. Where blocks end depends on the names alone.

    A name that is gone meanwhile becomes a problem. A file with several links that is mounted here from another
    device stands in a block of its own: its inode number means nothing among the others.
    """
    remaining = iter(names)
    more = True
    while more:
        cut = Cut(ordinal(device))
        more, foreign = _fill(cut, fd, remaining, device, problems, key)
        if cut.names:
            yield cut
        if foreign is not None:
            name, file = foreign
            times = file.st_ctime_ns
            yield Cut(ordinal(file.st_dev), [name], [row_of(file)], [], 1, file.st_size, times)


def _fill(
    cut: Cut, fd: int, names: Iterator[bytes], device: int, problems: Problems, key: bytes
) -> tuple[bool, tuple[bytes, os.stat_result] | None]:
    """Fill one cut. Returns whether names may be left, and a file from another device that ended it."""
    look, pack = os.stat, ROW.pack
    add_name, add_row = cut.names.append, cut.rows.append
    count = files = size = newest = 0
    more, foreign = False, None
    for name in names:
        try:
            file = look(name, dir_fd=fd, follow_symlinks=False)
        except OSError as wrong:
            problems.failed(path_of(key, name), wrong)
            continue
        mode, changed = file.st_mode, file.st_ctime_ns
        kind = mode & _TYPE
        links, length = file.st_nlink, file.st_size
        if kind == _DIRECTORY:
            links = length = 0
            cut.directories.append(name)
        elif kind == _REGULAR:
            if links > 1 and file.st_dev != device:
                more, foreign = True, (name, file)
                break
            files += 1
            size += length
        try:
            row = pack(mode, file.st_uid, file.st_gid, links, length, file.st_mtime_ns, changed, file.st_ino)
        except struct.error:
            row = row_of(file)
            problems.add(path_of(key, name), "has a time outside the years 1677 to 2262, which was moved inside")
        add_name(name)
        add_row(row)
        newest = max(newest, changed)
        count += 1
        if count >= BLOCK_FROM and ends_block(count, name):
            more = True
            break
    cut.files, cut.bytes, cut.newest_ns = files, size, newest
    return more, foreign
