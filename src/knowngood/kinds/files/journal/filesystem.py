"""The file system that passes everything through, and journals it: which request goes where."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Any

from knowngood.core.buffers import Buffer
from knowngood.kinds.files.journal.acting import Acting
from knowngood.kinds.files.journal.carried import Carried
from knowngood.kinds.files.journal.contents import Contents, ignored
from knowngood.kinds.files.journal.listing import Listings
from knowngood.kinds.files.journal.names import Names
from knowngood.wire.fuse import replies
from knowngood.wire.fuse.opcodes import InitFlag, Opcode
from knowngood.wire.fuse.replies import Reply
from knowngood.wire.fuse.requests import Request

WANTED = (
    InitFlag.ASYNC_READ
    | InitFlag.BIG_WRITES
    | InitFlag.DONT_MASK
    | InitFlag.DO_READDIRPLUS
    | InitFlag.READDIRPLUS_AUTO
    | InitFlag.PARALLEL_DIROPS
    | InitFlag.POSIX_ACL
    | InitFlag.HANDLE_KILLPRIV_V2
    | InitFlag.SETXATTR_EXT
)

_Answer = Callable[[Request, Any], Sequence[Buffer]]


class FileSystem:
    """Answers requests. Safe to use from many threads."""

    def __init__(self, acting: Acting, root: int) -> None:
        """`root` is a descriptor of the folder below."""
        self._acting = acting
        self._root = root
        names, contents, carried, listings = Names(acting), Contents(acting), Carried(acting), Listings(acting)
        self._names, self.contents, self.listings = names, contents, listings
        self._answers: dict[int, _Answer] = {
            Opcode.LOOKUP: names.lookup,
            Opcode.FORGET: names.forget,
            Opcode.BATCH_FORGET: names.batch_forget,
            Opcode.GETATTR: carried.get,
            Opcode.SETATTR: carried.set,
            Opcode.READLINK: names.read_link,
            Opcode.SYMLINK: names.symlink,
            Opcode.MKNOD: names.make_node,
            Opcode.MKDIR: names.make_directory,
            Opcode.UNLINK: names.unlink,
            Opcode.RMDIR: names.remove_directory,
            Opcode.RENAME: names.rename,
            Opcode.RENAME2: names.rename,
            Opcode.LINK: names.link,
            Opcode.OPEN: contents.open,
            Opcode.CREATE: self._create,
            Opcode.READ: contents.read,
            Opcode.WRITE: contents.write,
            Opcode.RELEASE: contents.release,
            Opcode.FSYNC: contents.sync,
            Opcode.FALLOCATE: contents.allocate,
            Opcode.LSEEK: contents.seek,
            Opcode.STATFS: self._statistics,
            Opcode.SETXATTR: carried.set_xattr,
            Opcode.GETXATTR: carried.get_xattr,
            Opcode.LISTXATTR: carried.list_xattrs,
            Opcode.REMOVEXATTR: carried.remove_xattr,
            Opcode.OPENDIR: listings.open,
            Opcode.READDIR: listings.read,
            Opcode.READDIRPLUS: listings.read,
            Opcode.RELEASEDIR: listings.release,
            Opcode.FSYNCDIR: self._sync_directory,
            Opcode.IOCTL: carried.control,
            Opcode.DESTROY: ignored,
        }

    def handle(self, request: Request) -> Reply:
        """Answer one request. Raises OSError with what the kernel shall be told.

        What is not here (FLUSH, COPY_FILE_RANGE, TMPFILE and others) the kernel does in other ways: files are copied by
        reading and writing, and closing one needs no word.
        """
        answer = self._answers.get(request.opcode)
        if answer is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        return replies.reply(request.unique, *answer(request, request.body))

    def _create(self, request: Request, body: Any) -> list[bytes]:
        node, file, fd, new = self._names.create(request, body)
        return [self._acting.found(node, file), self.contents.opened(node, fd, file, asks=not new)]

    def _sync_directory(self, request: Request, body: Any) -> list[bytes]:
        self.contents.make_durable(self.listings.sync(request, body))
        return []

    def _statistics(self, *_: Any) -> list[bytes]:
        room = os.fstatvfs(self._root)
        return [
            replies.statistics(
                block_bytes=room.f_bsize,
                unit_bytes=room.f_frsize,
                name_bytes=room.f_namemax,
                blocks=room.f_blocks,
                free=room.f_bfree,
                available=room.f_bavail,
                files=room.f_files,
                files_free=room.f_ffree,
            )
        ]
