"""Safe placing below the target: every folder is opened by its name below its open parent, never through a symlink.

So nothing that lies in the target, or is put there meanwhile, can lead a recovery out of it; and depth has no limit.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import BinaryIO

from knowngood.core.errors import KnowngoodError
from knowngood.kinds.files.handles import DIRECTORY_FLAGS
from knowngood.kinds.files.spill import NameSet
from knowngood.tree.block import Block, BlockWriter, Content, Entry
from knowngood.tree.build import BLOCK_LIMIT
from knowngood.tree.page import decode_leaf, encode_leaf

CLOSED = -1
_BLOCKS_IN_MEMORY = 16
_PASSING = 0xFF  # in the column of contents, which folders do not need


class Pending:
    """The folders below a folder that are still to be gone through, in the order in which they came.

    Very many of them are kept on disk.
    """

    def __init__(self) -> None:
        self._in: BlockWriter | None = None
        self._blocks: list[Block] = []
        self._file: BinaryIO | None = None
        self._spilled: list[tuple[int, int, int]] = []  # (offset, bytes of references, bytes of body)
        self._out: Iterator[Entry] = iter(())
        self._head: Entry | None = None

    def add(self, entry: Entry, wanted: bool) -> None:
        """Append a folder; one that is not wanted is only made when something below it comes."""
        if self._in is None or len(self._in) >= BLOCK_LIMIT or self._in.full:
            self._store()
            self._in = BlockWriter(entry.directory, entry.file_system)
        self._in.add(entry.name, entry.row, Content.NONE if wanted else _PASSING, extra=entry.extra)

    def head(self) -> tuple[Entry, bool] | None:
        """The next folder, and whether it is wanted. All must have been added."""
        if self._head is None:
            self._head = next(self._out, None)
            if self._head is None and (block := self._next_block()) is not None:
                self._out = block.entries()
                self._head = next(self._out, None)
        return (self._head, self._head.content != _PASSING) if self._head is not None else None

    def pop(self) -> None:
        """Take the head away."""
        self._head = None

    def _store(self) -> None:
        if self._in is None:
            return
        block, self._in = self._in.block(), None
        if len(self._blocks) < _BLOCKS_IN_MEMORY:
            self._blocks.append(block)
            return
        if self._file is None:
            self._file = TemporaryFile()  # noqa: SIM115 - it lives as long as this
        refs, body = encode_leaf([block])
        self._spilled.append((self._file.tell(), len(refs), len(body)))
        self._file.write(refs + body)

    def _next_block(self) -> Block | None:
        self._store()
        if self._blocks:
            return self._blocks.pop(0)
        if not self._spilled or self._file is None:
            return None
        offset, in_refs, in_body = self._spilled.pop(0)
        self._file.seek(offset)
        found = self._file.read(in_refs + in_body)
        if not self._spilled:
            self._file.close()
        return decode_leaf(found[:in_refs], found[in_refs:])[0]


@dataclass(eq=False, slots=True)
class Folder:
    """A folder on the way: open below the target, or (`fd` is CLOSED) not there, lost, or parked."""

    key: bytes
    fd: int
    entry: Entry | None = None  # its attributes in the checkpoint, None when they are not known or not wanted
    whole: bool = False  # all of it is wanted: what is not in the checkpoint is extra
    fresh: bool = False  # this run has made it, empty
    lost: bool = False  # it could not be made: nothing goes below it
    device: int = 0
    inode: int = 0
    touched: bool = False  # something in it, or itself, was changed
    locking: int = 0  # flags that were taken off so that it can be changed
    inherits: bool = False  # what is made in it gets ACLs or flags from it
    gives: tuple[int, int] | None = None  # owner and group of what is made in it, once known
    pending: Pending = field(default_factory=Pending)
    names: NameSet | None = None  # what the checkpoint has in it; None when nobody asks
    is_listed: bool = False  # all its names have come

    @property
    def path(self) -> bytes:
        """The path below the target."""
        return self.key.replace(b"\0", b"/") or b"."

    def identify(self, here: os.stat_result) -> None:
        """Note which directory it is."""
        self.device, self.inode = here.st_dev, here.st_ino

    def close(self) -> None:
        """Close it, if it is open."""
        if self.fd != CLOSED:
            fd, self.fd = self.fd, CLOSED
            os.close(fd)

    def reopen(self, child: Folder) -> None:
        """Open a parked folder again from one below it that is open. Raises when that has been moved elsewhere."""
        fd = os.open("..", DIRECTORY_FLAGS, dir_fd=child.fd)
        here = os.fstat(fd)
        if (here.st_dev, here.st_ino) != (self.device, self.inode):
            os.close(fd)
            raise KnowngoodError(
                f"the folder {os.fsdecode(child.path)} was moved away while it was being recovered",
                hint="run the same recovery again",
            )
        self.fd = fd


def lstat(folder: Folder, name: bytes) -> os.stat_result | None:
    """What is there under a name; None when nothing is. Raises OSError."""
    if folder.fresh:
        return None
    try:
        return os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def open_folder(above: Folder, name: bytes) -> int | None:
    """Open a folder; None when there is none, or something else (a symlink, say) has its name. Raises OSError."""
    try:
        return os.open(name, DIRECTORY_FLAGS, dir_fd=above.fd)
    except OSError as wrong:
        if wrong.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def open_below(root: Folder, key: bytes) -> int:
    """Open the folder with this key, walking down from the target. The caller closes it. Raises OSError."""
    fd = os.dup(root.fd)
    try:
        for name in key.split(b"\0") if key else ():
            below = os.open(name, DIRECTORY_FLAGS, dir_fd=fd)
            os.close(fd)
            fd = below
    except BaseException:
        os.close(fd)
        raise
    return fd


def file_kind(mode: int) -> str:
    """What a mode describes, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "thing of unknown type")


_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "block device",
    stat.S_IFCHR: "character device",
}
