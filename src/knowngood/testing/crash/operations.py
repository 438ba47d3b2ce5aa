"""What a run does to a file system, as a list that can be carried out again.

Files and folders are told by numbers, as the kernel tells them by inodes: a name is an entry of a folder, and a file
may have several, or none any more.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""


class What(Enum):
    """One operation."""

    WRITE = auto()  # `data` into file `node` at `offset`
    SIZE = auto()  # file `node` has `offset` bytes from now on
    LINK = auto()  # folder `node` has an entry `name` for `target`; made anew, or one more name
    UNLINK = auto()  # folder `node` has no entry `name` any more
    RENAME = auto()  # `target`, which was `name` of folder `node`, is `new_name` of `folder`
    SYNC = auto()  # all that was done to file or folder `node` is durable
    MARK = auto()  # nothing for the disk: the run says something


class Operation(NamedTuple):
    """One operation, with its bytes."""

    what: What
    node: int = 0
    name: str = ""
    target: int = 0
    folder: int = 0
    new_name: str = ""
    offset: int = 0
    data: bytes = b""
    is_folder: bool = False  # what a LINK made is a folder
    mark: tuple[object, ...] = ()


class Shape(NamedTuple):
    """What became of a write: these parts of the file are as written (begin, end); and how long the file is now, None
    when its length is what it was."""

    kept: tuple[tuple[int, int], ...]
    size: int | None


LOST, KEPT = 0, 1
"""What becomes of an operation that was not synced. A write has more outcomes: the places of `shapes` from 2 on."""


def shapes(write: Operation) -> list[Shape]:
    """The outcomes of a write. The first two are none of it, and all of it.

    Sectors are written whole, in any order; the length that the file gains is written apart from them.
    """
    begin, end = write.offset, write.offset + len(write.data)
    borders = [begin, *range((begin // SECTOR + 1) * SECTOR, end, SECTOR), end]
    parts = tuple((borders[at], borders[at + 1]) for at in range(len(borders) - 1))
    half = parts[: len(parts) // 2]
    every_other = parts[len(parts) % 2 :: 2]
    found = [Shape((), None), Shape(parts, end), Shape((), end), Shape(parts, None)]
    if len(parts) > 1:
        found += [
            Shape(half, half[-1][1]),
            Shape(half, end),
            Shape(parts[:1], end),
            Shape(parts[:-1], parts[-1][0]),
            Shape(parts[1:], end),
            Shape(parts[-1:], end),
            Shape(every_other, end),
        ]
    return list(dict.fromkeys(found))
