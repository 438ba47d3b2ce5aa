"""Hard links: which names belong to one file, and how the later ones are tied to the first."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections import OrderedDict

from knowngood.kinds.files.recovery import apply
from knowngood.kinds.files.recovery.place import Folder, lstat, open_below
from knowngood.kinds.files.recovery.shared import Site, said
from knowngood.kinds.files.recovery.stage import Stage
from knowngood.kinds.files.spill import LIMIT, Table
from knowngood.tree.block import Entry

_GROUP = struct.Struct("<IQ")
_INODE = struct.Struct("<QQ")
_LEFT = struct.Struct("<I")
_OPEN = 8
_CANNOT = frozenset({errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP})
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class LinkTable:
    """First names of files that have several, by file system and inode in the checkpoint. Memory is bounded."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._firsts = Table(limit)
        self._claims = Table(limit)

    def first(self, entry: Entry) -> bytes | None:
        """Where the file's first name is (`Entry.key`); None when this is the first, which is remembered then."""
        group = _GROUP.pack(entry.file_system, entry.inode)
        found = self._firsts.get(group)
        left = (entry.links if found is None else _LEFT.unpack_from(found)[0]) - 1
        if found is None:
            self._firsts.put(group, _LEFT.pack(left) + entry.key)
            return None
        if left > 0:
            self._firsts.put(group, _LEFT.pack(left) + found[_LEFT.size :])
        else:
            self._firsts.drop(group)  # all its names have come
        return found[_LEFT.size :]

    def move(self, entry: Entry) -> None:
        """From now on this is the name to which the others are tied."""
        group = _GROUP.pack(entry.file_system, entry.inode)
        found = self._firsts.get(group)
        if found is not None:
            self._firsts.put(group, found[: _LEFT.size] + entry.key)

    def claim(self, entry: Entry, have: os.stat_result) -> bool:
        """Whether an existing file may become, or stay, this entry's: not when it is another's already."""
        if have.st_nlink == 1:
            return True
        if have.st_nlink != entry.links:
            return False
        group = _GROUP.pack(entry.file_system, entry.inode)
        inode = _INODE.pack(have.st_dev, have.st_ino)
        owner = self._claims.get(inode)
        if owner is None:
            self._claims.put(inode, group)
        return owner is None or owner == group

    def close(self) -> None:
        """Forget everything."""
        self._firsts.close()
        self._claims.close()


class Tier:
    """Ties names to their first one, in the target."""

    def __init__(self, site: Site, stage: Stage, root: Folder) -> None:
        self._site = site
        self._stage = stage
        self._root = root
        self._folders: OrderedDict[bytes, int] = OrderedDict()

    def tie(self, folder: Folder, entry: Entry, first: bytes) -> bool:
        """Make a name of the file whose first name this is. False when it has to be a file of its own.

        Raises OSError.
        """
        if first in self._site.lost:
            return False  # what has that name is not what it should be
        above, _, name = first.rpartition(b"\0")
        try:
            source = folder.fd if above == folder.key else self._folder(above)
            there = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_IFMT(there.st_mode) != stat.S_IFMT(entry.mode):
                return False
            have = lstat(folder, entry.name)
            if have is not None and (have.st_dev, have.st_ino) == (there.st_dev, there.st_ino):
                return True
            self._link(source, name, folder, entry, direct=have is None and self._site.direct)
        except OSError as wrong:
            if wrong.errno in _CANNOT:
                self._site.notes.count(f"hard link could not be made, a copy was: {said(wrong)}", entry.path)
            elif wrong.errno not in _GONE:
                raise
            return False
        return True

    def _link(self, source: int, first: bytes, folder: Folder, entry: Entry, *, direct: bool) -> None:
        name = entry.name if direct else self._stage.temporary(folder)
        try:
            os.link(first, name, src_dir_fd=source, dst_dir_fd=folder.fd, follow_symlinks=False)
        except PermissionError:
            if not apply.unlock_named(source, first):
                raise
            os.link(first, name, src_dir_fd=source, dst_dir_fd=folder.fd, follow_symlinks=False)
        if direct:
            self._stage.direct(folder, entry)  # sets the flags, for all the names
        else:
            self._stage.add(folder, name, entry)

    def _folder(self, key: bytes) -> int:
        if key in self._folders:
            self._folders.move_to_end(key)
            return self._folders[key]
        fd = self._folders[key] = open_below(self._root, key)
        if len(self._folders) > _OPEN:
            os.close(self._folders.popitem(last=False)[1])
        return fd

    def forget(self) -> None:
        """Close what was opened on the way."""
        while self._folders:
            os.close(self._folders.popitem()[1])
