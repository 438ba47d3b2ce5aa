"""Attributes: owner, mode, times, extended attributes and flags, in the order in which the kernel lets them stand.

The owner comes first, for a change of owner takes set-user-id bits and capabilities away; extended attributes before
the mode, for they need permission to write; times last of all but the flags, for immutable files take nothing more.
Everything goes through open descriptors: a name could mean something else by then.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from knowngood.kinds.files.attributes import flags_of, xattrs_of
from knowngood.kinds.files.recovery.place import CLOSED, Folder
from knowngood.kinds.files.recovery.shared import Site, said
from knowngood.kinds.files.syscalls import EARLY, LOCKING, set_flags
from knowngood.tree.block import Entry

_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")
_REMOVABLE = (b"user.", b"trusted.", b"btrfs.", b"security.capability", *_ACLS)
_PORTABLE_FLAGS = 0xF8  # synchronous, immutable, append only, no dump, no time of access
_CAN_HAVE_FLAGS = (stat.S_IFREG, stat.S_IFDIR)
_SET_ID = stat.S_ISUID | stat.S_ISGID


def bare(entry: Entry) -> bool:
    """Whether an entry has nothing but owner, mode and time."""
    extra = entry.extra
    return not extra.xattrs and not extra.flags


def differs(at: int | str, entry: Entry, have: os.stat_result, flags: int) -> bool:
    """Whether what is there, with these flags, has other attributes than the entry. Raises OSError."""
    if have.st_mode != entry.mode or have.st_uid != entry.uid or have.st_gid != entry.gid:
        return True
    if have.st_mtime_ns != entry.mtime_ns or flags != entry.extra.flags:
        return True
    there = xattrs_of(at)
    return there != tuple(sorted(entry.extra.xattrs)) and _to_change(dict(there), entry) != ({}, [])


def settle(
    at: int | str, entry: Entry, have: os.stat_result, site: Site, *, fresh: bool, inherits: bool = False
) -> None:
    """Give a file, folder or other thing its attributes, all but the flags.

    `at` is its descriptor, or `proc_path` of one opened with O_PATH. `fresh` says that this run has made it,
    `inherits` that it may have got ACLs from its folder. What needs root is counted; raises OSError for the rest.
    """
    owned = _own(at, entry, have, site)
    if entry.extra.xattrs or inherits or not fresh:
        _set_xattrs(at, entry, have, site, fresh=fresh and not inherits)
    mode = stat.S_IMODE(entry.mode)
    if not owned and stat.S_ISREG(entry.mode):
        mode &= ~_SET_ID  # a program must not run as somebody whom its owner was not
    bits_may_have_gone = not fresh or inherits or entry.extra.xattrs or mode & _SET_ID
    if not stat.S_ISLNK(entry.mode) and (bits_may_have_gone or stat.S_IMODE(have.st_mode) != mode):
        _set_mode(at, mode, entry, site)
    os.utime(at, ns=(entry.mtime_ns if fresh else have.st_atime_ns, entry.mtime_ns))


def _own(at: int | str, entry: Entry, have: os.stat_result, site: Site) -> bool:
    if have.st_uid == entry.uid and have.st_gid == entry.gid:
        return True
    try:
        os.chown(at, entry.uid, entry.gid)
    except OSError as wrong:
        if wrong.errno not in (errno.EPERM, errno.EINVAL):
            raise
        if have.st_gid != entry.gid:
            _own_group(at, entry)
        site.notes.count("owner or group could not be set (root may)", entry.path)
        return False
    return True


def _set_mode(at: int | str, mode: int, entry: Entry, site: Site) -> None:
    try:
        os.chmod(at, mode)
    except OSError as wrong:
        if wrong.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise
        site.notes.count(f"mode could not be set: {said(wrong)}", entry.path)  # FAT has none, for instance


def _own_group(at: int | str, entry: Entry) -> None:
    """The group may be one of our own."""
    try:
        os.chown(at, -1, entry.gid)
    except OSError:
        return


def _to_change(there: dict[bytes, bytes], entry: Entry) -> tuple[dict[bytes, bytes], list[bytes]]:
    wanted = dict(entry.extra.xattrs)
    change = {name: value for name, value in wanted.items() if there.get(name) != value}
    return change, [name for name in there if name not in wanted and name.startswith(_REMOVABLE)]


def _set_xattrs(at: int | str, entry: Entry, have: os.stat_result, site: Site, *, fresh: bool) -> None:
    change, remove = _to_change({} if fresh else dict(xattrs_of(at)), entry)
    if (change or remove) and os.geteuid() and not stat.S_ISLNK(entry.mode):
        os.chmod(at, stat.S_IMODE(have.st_mode) | stat.S_IWUSR)  # others than root need permission to write
    for name in remove:
        try:
            os.removexattr(at, name)
        except OSError as wrong:
            if wrong.errno != errno.ENODATA:
                _count_xattr(name, wrong, entry, site)
    for name, value in change.items():
        try:
            os.setxattr(at, name, value)
        except OSError as wrong:  # ENOSPC too: it says that the file's own room for attributes is used up
            _count_xattr(name, wrong, entry, site)


def _count_xattr(name: bytes, wrong: OSError, entry: Entry, site: Site) -> None:
    kind = os.fsdecode(name.partition(b".")[0] if name not in _ACLS else name)
    site.notes.count(f"extended attributes {kind} could not be set: {said(wrong)}", entry.path)


def put_flags(fd: int, entry: Entry, site: Site, *, early: bool = False) -> None:
    """Set the flags of an open file or folder; `early` only those that matter before it has content."""
    wanted = entry.extra.flags & EARLY if early else entry.extra.flags
    try:
        if early:
            set_flags(fd, wanted, EARLY)
        else:
            set_flags(fd, wanted)
    except OSError as wrong:
        if early:
            return  # they are asked for again when the file is whole, and reported then
        with suppress(OSError):
            set_flags(fd, wanted, _PORTABLE_FLAGS)
        site.notes.count(f"file flags could not be set: {said(wrong)}", entry.path)


def unlock(fd: int) -> int:
    """Take off the flags that forbid changes; returns those that were there. Raises OSError."""
    found = flags_of(fd) & LOCKING
    if found:
        set_flags(fd, 0, LOCKING)
    return found


def unlock_named(folder: int, name: bytes) -> bool:
    """The same for what has a name in an open folder. False where there was nothing to take off."""
    try:
        if stat.S_IFMT(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode) not in _CAN_HAVE_FLAGS:
            return False  # to open a device may set it in motion
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return False
    try:
        return bool(unlock(fd))
    except OSError:
        return False
    finally:
        os.close(fd)


def spreads(fd: int) -> bool:
    """Whether what is made in an open folder gets ACLs or flags from it."""
    try:
        if flags_of(fd) & ~LOCKING:
            return True
        os.getxattr(fd, _ACLS[1])
    except OSError:
        return False
    return True


def make_plain(fd: int) -> None:
    """Take away what a new folder got from the one above, so that it spreads no further."""
    for name in _ACLS:
        try:
            os.removexattr(fd, name)
        except OSError as wrong:
            if wrong.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
                raise
    if flags_of(fd):
        set_flags(fd, 0)


def prepare(folder: Folder) -> None:
    """Make a folder that was there before ready for changes, and see what it does to what is made in it."""
    folder.inherits = spreads(folder.fd)
    try:
        folder.locking = unlock(folder.fd)
        have = os.fstat(folder.fd)
        if folder.whole and have.st_uid == os.geteuid() != 0 and have.st_mode & 0o700 != 0o700:
            os.chmod(folder.fd, stat.S_IMODE(have.st_mode) | 0o700)
    except OSError:
        return  # whatever that hinders will say so


def lock_again(folder: Folder) -> None:
    """A run ends early: a folder that forbade changes does so again."""
    if folder.locking and folder.fd != CLOSED:
        with suppress(OSError):
            set_flags(folder.fd, folder.locking, LOCKING)


def settle_folder(folder: Folder, site: Site) -> None:
    """Give a folder its attributes, now that nothing more is changed in it. Raises OSError."""
    entry = folder.entry
    if entry is None or not (folder.whole or folder.fresh):
        if folder.locking:
            set_flags(folder.fd, folder.locking, LOCKING)
        return
    have = os.fstat(folder.fd)
    flags = 0 if folder.fresh else flags_of(folder.fd)
    folder.locking = 0  # from here on, what the checkpoint says counts
    if folder.fresh or differs(folder.fd, entry, have, flags):
        settle(folder.fd, entry, have, site, fresh=folder.fresh)
        folder.touched = True
    if flags != entry.extra.flags:
        put_flags(folder.fd, entry, site)
