"""Symlinks, pipes, sockets and devices: made under a name of their own, or left when they are what they should be."""

from __future__ import annotations

import os
import stat

from knowngood.core.errors import Damaged
from knowngood.kinds.files.attributes import proc_path
from knowngood.kinds.files.recovery import apply
from knowngood.kinds.files.recovery.place import Folder, lstat
from knowngood.kinds.files.recovery.shared import Site
from knowngood.kinds.files.recovery.stage import Stage
from knowngood.tree.block import Entry

_HELD = os.O_PATH | os.O_NOFOLLOW
"""Holds a thing by its inode, without opening what it stands for."""
_PRIVATE = 0o600
_MAKEABLE = frozenset({stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFBLK, stat.S_IFCHR})
_DEVICES = frozenset({stat.S_IFBLK, stat.S_IFCHR})


def put_other(site: Site, stage: Stage, folder: Folder, entry: Entry, replace: bool) -> None:
    """Bring something that is neither file nor folder to its state in the checkpoint. Raises OSError, Damaged."""
    have = lstat(folder, entry.name)
    if have is not None and not replace and is_same(folder, entry, have) and _kept(site, folder, entry):
        return
    direct = have is None and site.direct
    name = entry.name if direct else stage.temporary(folder)
    _make(folder, name, entry)
    try:
        fd = os.open(name, _HELD, dir_fd=folder.fd)
        try:
            made = os.fstat(fd)
            if made.st_nlink != 1 or stat.S_IFMT(made.st_mode) != stat.S_IFMT(entry.mode):
                raise Damaged("somebody else put something in its place")
            apply.settle(proc_path(fd), entry, made, site, fresh=True, inherits=folder.inherits)
        finally:
            os.close(fd)
    except BaseException:
        stage.discard(folder, name)
        raise
    if direct:
        stage.direct(folder, entry)
    else:
        stage.add(folder, name, entry)


def is_same(folder: Folder, entry: Entry, have: os.stat_result) -> bool:
    """Whether what is there is of the same type, and means the same."""
    kind = stat.S_IFMT(have.st_mode)
    if kind != stat.S_IFMT(entry.mode) or (have.st_nlink > 1 and entry.links == 1):
        return False
    if kind == stat.S_IFLNK:
        return os.readlink(entry.name, dir_fd=folder.fd) == entry.inline
    return kind not in _DEVICES or have.st_rdev == entry.extra.rdev


def _kept(site: Site, folder: Folder, entry: Entry) -> bool:
    """Give what is there its attributes. False when it is better made anew: it has other names."""
    fd = os.open(entry.name, _HELD, dir_fd=folder.fd)
    try:
        have, at = os.fstat(fd), proc_path(fd)
        if not apply.differs(at, entry, have, 0):
            return True
        if have.st_nlink > 1:
            return False
        apply.settle(at, entry, have, site, fresh=False)
        folder.touched = True
        return True
    finally:
        os.close(fd)


def _make(folder: Folder, name: bytes, entry: Entry) -> None:
    kind = stat.S_IFMT(entry.mode)
    if kind == stat.S_IFLNK:
        if not entry.inline or b"\0" in entry.inline:
            raise Damaged("a symlink without a target")
        os.symlink(entry.inline, name, dir_fd=folder.fd)
    elif kind in _MAKEABLE:
        os.mknod(name, kind | _PRIVATE, entry.extra.rdev if kind in _DEVICES else 0, dir_fd=folder.fd)
    else:
        raise Damaged("a thing of unknown type")
