"""What is kept of large files so that changes in them are found: clones or hashes, from the first checkpoint on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from heapq import nlargest
from typing import NamedTuple

from knowngood.kinds.files.capture.entries import row_of
from knowngood.kinds.files.follow.clone import Clone
from knowngood.kinds.files.follow.clones import Clones
from knowngood.kinds.files.follow.feed import Place
from knowngood.kinds.files.follow.folders import Folders, Unseen
from knowngood.kinds.files.follow.hashes import FILES as KEPT, Hashes, HashingStream
from knowngood.kinds.files.follow.known import Inode, State, inode_of, is_file
from knowngood.kinds.files.follow.steps import Fresh
from knowngood.kinds.files.handles import open_quietly
from knowngood.kinds.files.settled import settled
from knowngood.tree.block import ROW, Block
from knowngood.tree.content import Extents
from knowngood.tree.read import TreeReader

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_SIZE_AT = 16  # bytes of a row before it
_MODE, _LINKS, _SIZE, _CTIME, _INODE = 0, 3, 4, 6, 7  # their places in a row


class _Large(NamedTuple):
    size: int
    place: Place
    row: bytes
    inode: Inode


def keep_clones(clones: Clones, state: State, after: Mapping[Place, Fresh | None]) -> None:
    """What was taken is known now, and not in `state` yet: its clones count, those of what was known before do not."""
    for place in after:
        before = state.find(place)
        if before is not None and before.entry.is_file:
            clones.settle(inode_of(before.entry), None)
    for fresh in after.values():
        if fresh is not None and fresh.entry.is_file and (made := fresh.got.clone):
            clones.settle(inode_of(fresh.entry), made)


class Beginning:
    """What is learnt while a base is read (port Witness): a clone of each large file, or else hashes from `least` on.

    Hashing takes a seventh of what reading for the first time takes anyhow; without it the first change of a file
    would be told by whole chunks.
    """

    def __init__(self, clones: Clones | None, hashes: Hashes, least: int) -> None:
        self._clones = clones
        self._hashes = hashes
        self._least = least
        self._read: dict[int, tuple[bytes, HashingStream]] = {}  # by inode number

    def hold(self, above: int, fd: int, file: os.stat_result) -> Clone | None:
        """A clone, where there can be one."""
        return self._clones.hold(above, fd, file) if self._clones is not None else None

    def stream(self, fd: int, extents: Extents, row: bytes) -> HashingStream | None:
        """Hash a huge file that is read and has no clone."""
        cloned = self._clones is not None and self._clones.made(fd) is not None
        if cloned or len(extents) != 1 or extents[0][0] or extents[0][1] < self._least:
            return None
        hashed = self._hashes.new()
        if hashed is None:
            return None
        stream = HashingStream(fd, extents, hashed)
        inode = ROW.unpack(row)[_INODE]
        if inode not in self._read and len(self._read) >= KEPT:
            self._drop(next(iter(self._read)))
        self._drop(inode)
        self._read[inode] = row, stream
        return stream

    def keep(self, folders: Folders, tree: TreeReader, read_ns: int) -> None:
        """The base is committed: what was learnt of it counts, as far as its files are still as it says."""
        if self._read:
            self._keep_hashes(tree)
        if self._clones is not None:
            hold_all(self._clones, folders, tree, read_ns)

    def _keep_hashes(self, tree: TreeReader) -> None:
        for block in tree.blocks():
            for each in _large(block, self._least):
                row, stream = self._read.get(each.inode[1], (b"", None))
                if stream is not None and row == each.row and (hashed := stream.finish()):
                    self._hashes.keep(each.inode, row, hashed)
                    del self._read[each.inode[1]]
        self.close()

    def close(self) -> None:
        """What was not kept is of no use."""
        for inode in list(self._read):
            self._drop(inode)

    def _drop(self, inode: int) -> None:
        _, stream = self._read.pop(inode, (b"", None))
        if stream is not None and (hashed := stream.finish()):
            hashed.close()


def hold_all(clones: Clones, folders: Folders, tree: TreeReader, read_ns: int) -> None:
    """Keep clones of the largest files of a tree whose reading began at `read_ns`, as far as they are as it says.

    Those that were made while they were read are at hand already.
    """
    found = nlargest(clones.files, (each for block in tree.blocks() for each in _large(block, clones.least)))
    held = clones.held()
    for each in sorted(found, key=lambda each: each.place):
        made = held.get((each.inode[1], each.row))
        if made is None and settled(ROW.unpack(each.row)[_CTIME], read_ns):
            made = _hold(clones, folders, each)
        if made is not None:
            clones.settle(each.inode, made)
    clones.let_go()


def resting(clones: Clones, state: State, rows: Mapping[Place, bytes | None]) -> dict[Place, float]:
    """Of what was seen to have changed: files that were cloned so short a while ago that they have to wait, and for how
    many seconds nobody has read them."""
    found: dict[Place, float] = {}
    for place, row in rows.items():
        fields = ROW.unpack(row) if row else None
        if fields and fields[_SIZE] >= clones.least and fields[_LINKS] == 1 and is_file(fields[_MODE]):
            known = state.find(place)
            if known and known.entry.inode == fields[_INODE] and known.entry.links == 1:
                inode = inode_of(known.entry)
                if clones.rests(inode):
                    found[place] = clones.age(inode)
    return found


def _hold(clones: Clones, folders: Folders, wanted: _Large) -> Clone | None:
    """A clone of a file that is still as it is known."""
    try:
        above = folders.open(wanted.place[0])
        if above is None:
            return None
        fd = open_quietly(wanted.place[1], _FLAGS, above)
    except (Unseen, OSError):
        return None
    try:
        made = clones.hold(above, fd, os.fstat(fd))
    finally:
        os.close(fd)
    if made is None or not made.steady or row_of(made.file) != wanted.row:
        return None
    made.row = wanted.row
    return made


def _large(block: Block, least: int) -> Iterator[_Large]:
    """The files of a block that are not below this size. Most blocks have none, as one look at single bytes says."""
    if not _any_large(block.rows, least):
        return
    for name, fields in zip(block.names.split(b"\0"), ROW.iter_unpack(block.rows), strict=True):
        if fields[_SIZE] >= least and is_file(fields[_MODE]):
            inode = (block.file_system, fields[_INODE])
            yield _Large(fields[_SIZE], (block.directory, name), ROW.pack(*fields), inode)


def _any_large(rows: bytes, least: int) -> bool:
    """Whether any size may reach this: by its most significant byte, and those above that."""
    first = (least.bit_length() - 1) // 8
    lowest, *above = (rows[_SIZE_AT + byte :: ROW.size] for byte in range(first, 8))
    return max(lowest) >= least >> 8 * first or any(any(each) for each in above)
