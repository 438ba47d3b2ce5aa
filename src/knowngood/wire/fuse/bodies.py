"""What requests ask for: one small struct per form, in the words of <linux/fuse.h>."""

from __future__ import annotations

from msgspec import Struct


class Body(Struct, frozen=True, gc=False):
    """What a request says beside its header; the names of its fields are those of <linux/fuse.h>, in plain words."""


class Nothing(Body, frozen=True, gc=False):
    """READLINK, STATFS, DESTROY: the header says it all."""


class Raw(Body, frozen=True, gc=False):
    """A request that this table does not know, or whose rest has no fixed form."""

    data: bytes


class Named(Body, frozen=True, gc=False):
    """LOOKUP, UNLINK, RMDIR, REMOVEXATTR."""

    name: bytes


class Symlink(Body, frozen=True, gc=False):
    """SYMLINK: make `name` that leads to `target`."""

    name: bytes
    target: bytes


class Forget(Body, frozen=True, gc=False):
    """FORGET: the kernel gives back so many of the lookups of the node."""

    lookups: int


class BatchForget(Body, frozen=True, gc=False):
    """BATCH_FORGET: (node, lookups) of many nodes."""

    nodes: tuple[tuple[int, int], ...]


class GetAttr(Body, frozen=True, gc=False):
    """GETATTR; `handle` counts when bit 0 of `flags` is set."""

    flags: int
    handle: int


class SetAttr(Body, frozen=True, gc=False):
    """SETATTR: the fields whose bit (FATTR_…) is in `valid`. Seconds, and nanoseconds beside them."""

    valid: int
    handle: int
    size: int
    lock_owner: int
    atime: int
    mtime: int
    ctime: int
    atime_nanos: int
    mtime_nanos: int
    ctime_nanos: int
    mode: int
    uid: int
    gid: int


class MakeNode(Body, frozen=True, gc=False):
    """MKNOD."""

    mode: int
    rdev: int
    umask: int
    name: bytes


class MakeDirectory(Body, frozen=True, gc=False):
    """MKDIR."""

    mode: int
    umask: int
    name: bytes


class Rename(Body, frozen=True, gc=False):
    """RENAME and RENAME2: `name` of the header's node becomes `new_name` of `directory`. Flags as of renameat2(2)."""

    directory: int
    flags: int
    name: bytes
    new_name: bytes


class Link(Body, frozen=True, gc=False):
    """LINK: `name` in the header's node becomes another name of `node`."""

    node: int
    name: bytes


class Open(Body, frozen=True, gc=False):
    """OPEN and OPENDIR; flags as of open(2)."""

    flags: int
    open_flags: int


class Create(Body, frozen=True, gc=False):
    """CREATE and TMPFILE."""

    flags: int
    mode: int
    umask: int
    open_flags: int
    name: bytes


class Read(Body, frozen=True, gc=False):
    """READ, READDIR, READDIRPLUS: at most `size` bytes from `offset`."""

    handle: int
    offset: int
    size: int
    read_flags: int
    lock_owner: int
    flags: int


class Write(Body, frozen=True, gc=False):
    """WRITE. The data is a view of the message: it is gone when the next one is read into the same buffer."""

    handle: int
    offset: int
    size: int
    write_flags: int
    lock_owner: int
    flags: int
    data: memoryview


class Release(Body, frozen=True, gc=False):
    """RELEASE and RELEASEDIR."""

    handle: int
    flags: int
    release_flags: int
    lock_owner: int


class Flush(Body, frozen=True, gc=False):
    """FLUSH: somebody closed a descriptor; others may be open still."""

    handle: int
    lock_owner: int


class Sync(Body, frozen=True, gc=False):
    """FSYNC and FSYNCDIR; bit 0: the data only."""

    handle: int
    flags: int


class SetXattr(Body, frozen=True, gc=False):
    """SETXATTR; `more` is there when SETXATTR_EXT was agreed on, else 0."""

    size: int
    flags: int
    more: int
    name: bytes
    value: bytes


class GetXattr(Body, frozen=True, gc=False):
    """GETXATTR; `size` 0 asks how long the value is."""

    size: int
    name: bytes


class ListXattr(Body, frozen=True, gc=False):
    """LISTXATTR; `size` 0 asks how long the list is."""

    size: int


class Lock(Body, frozen=True, gc=False):
    """GETLK, SETLK, SETLKW: bytes `start` to `end`, inclusive."""

    handle: int
    owner: int
    start: int
    end: int
    type: int
    pid: int
    flags: int


class Access(Body, frozen=True, gc=False):
    """ACCESS; mask as of access(2)."""

    mask: int


class Init(Body, frozen=True, gc=False):
    """INIT: the kernel's version, and what it can do."""

    major: int
    minor: int
    max_readahead: int
    flags: int


class Interrupt(Body, frozen=True, gc=False):
    """INTERRUPT: nobody waits for this request any more."""

    unique: int


class BlockMap(Body, frozen=True, gc=False):
    """BMAP."""

    block: int
    block_bytes: int


class Control(Body, frozen=True, gc=False):
    """IOCTL: a command with `data`, to be answered with at most `out_size` bytes."""

    handle: int
    flags: int
    command: int
    argument: int
    in_size: int
    out_size: int
    data: bytes


class Poll(Body, frozen=True, gc=False):
    """POLL."""

    handle: int
    kernel_handle: int
    flags: int
    events: int


class Allocate(Body, frozen=True, gc=False):
    """FALLOCATE; mode as of fallocate(2)."""

    handle: int
    offset: int
    length: int
    mode: int


class Seek(Body, frozen=True, gc=False):
    """LSEEK; only SEEK_DATA and SEEK_HOLE come here."""

    handle: int
    offset: int
    whence: int


class CopyRange(Body, frozen=True, gc=False):
    """COPY_FILE_RANGE: from the header's node into `node_out`."""

    handle_in: int
    offset_in: int
    node_out: int
    handle_out: int
    offset_out: int
    length: int
    flags: int


class StatX(Body, frozen=True, gc=False):
    """STATX; flags and mask as of statx(2)."""

    flags: int
    handle: int
    statx_flags: int
    mask: int
