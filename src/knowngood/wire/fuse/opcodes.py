"""The numbers of the protocol: requests, and the flags that both sides agree on or that replies carry."""

from __future__ import annotations

from enum import IntEnum, IntFlag

ROOT_NODE = 1
"""The node that every file system begins with; it is never looked up and never forgotten."""


class Opcode(IntEnum):
    """What the kernel asks for (enum fuse_opcode)."""

    LOOKUP = 1
    FORGET = 2  # takes no reply
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BMAP = 37
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    NOTIFY_REPLY = 41  # takes no reply
    BATCH_FORGET = 42  # takes no reply
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SETUPMAPPING = 48
    REMOVEMAPPING = 49
    SYNCFS = 50
    TMPFILE = 51
    STATX = 52
    COPY_FILE_RANGE_64 = 53


SILENT = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.NOTIFY_REPLY})
"""Requests that take no reply."""


class InitFlag(IntFlag):
    """What both sides can agree on at the beginning (FUSE_… of struct fuse_init_in, `flags` and `flags2` as one)."""

    ASYNC_READ = 1 << 0
    ATOMIC_O_TRUNC = 1 << 3
    BIG_WRITES = 1 << 5
    DONT_MASK = 1 << 6  # the server applies the umask, for it knows whether a directory has a default ACL
    AUTO_INVAL_DATA = 1 << 12
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    NO_OPEN_SUPPORT = 1 << 17  # files need not be opened: a server that answers OPEN with ENOSYS is not asked again
    PARALLEL_DIROPS = 1 << 18
    HANDLE_KILLPRIV = 1 << 19
    POSIX_ACL = 1 << 20
    ABORT_ERROR = 1 << 21
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    EXPLICIT_INVAL_DATA = 1 << 25
    HANDLE_KILLPRIV_V2 = 1 << 28
    SETXATTR_EXT = 1 << 29
    INIT_EXT = 1 << 30
    PASSTHROUGH = 1 << 37


class OpenFlag(IntFlag):
    """What a reply to OPEN or OPENDIR can ask for (FOPEN_…)."""

    NONE = 0
    DIRECT_IO = 1 << 0
    KEEP_CACHE = 1 << 1
    NONSEEKABLE = 1 << 2
    CACHE_DIR = 1 << 3
    PASSTHROUGH = 1 << 7


class SetAttrFlag(IntFlag):
    """What SETATTR is to change (FATTR_…)."""

    MODE = 1 << 0
    UID = 1 << 1
    GID = 1 << 2
    SIZE = 1 << 3
    ATIME = 1 << 4
    MTIME = 1 << 5
    HANDLE = 1 << 6
    ATIME_NOW = 1 << 7
    MTIME_NOW = 1 << 8
    KILL_SUIDGID = 1 << 11


class WriteFlag(IntFlag):
    """What a WRITE says of itself (FUSE_WRITE_…)."""

    CACHE = 1 << 0  # from the page cache, long after it was stored there through a mapping
    KILL_SUIDGID = 1 << 2


ACL_KILL_SGID = 1 << 0
"""Of SETXATTR, where SETXATTR_EXT was agreed on: the set-group-id bit goes (FUSE_SETXATTR_ACL_KILL_SGID)."""
