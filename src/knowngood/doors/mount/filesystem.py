"""Which request goes where, and what the kernel is told when something is wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Any

from knowngood.core.buffers import Buffer
from knowngood.core.errors import KnowngoodError, NotFound
from knowngood.doors.mount.above import Above
from knowngood.doors.mount.inside import Inside
from knowngood.doors.mount.nodes import Nodes, is_above
from knowngood.doors.mount.shelf import Shelf
from knowngood.wire.fuse import replies
from knowngood.wire.fuse.opcodes import InitFlag, Opcode
from knowngood.wire.fuse.replies import Reply
from knowngood.wire.fuse.requests import Request

Trouble = Callable[[str, str], None]
"""Told of what could not be read: the path below the mount, and why."""

WANTED = (
    InitFlag.ASYNC_READ
    | InitFlag.ASYNC_DIO
    | InitFlag.PARALLEL_DIROPS
    | InitFlag.DO_READDIRPLUS
    | InitFlag.READDIRPLUS_AUTO
    | InitFlag.NO_OPEN_SUPPORT
    | InitFlag.CACHE_SYMLINKS
)

_CHANGES = frozenset(
    {
        Opcode.SETATTR,
        Opcode.SYMLINK,
        Opcode.MKNOD,
        Opcode.MKDIR,
        Opcode.UNLINK,
        Opcode.RMDIR,
        Opcode.RENAME,
        Opcode.RENAME2,
        Opcode.LINK,
        Opcode.WRITE,
        Opcode.SETXATTR,
        Opcode.REMOVEXATTR,
        Opcode.CREATE,
        Opcode.FALLOCATE,
        Opcode.TMPFILE,
        Opcode.COPY_FILE_RANGE,
        Opcode.COPY_FILE_RANGE_64,
    }
)
_NAME_BYTES = 255
_BLOCK_BYTES = 4096
_Answer = Callable[[Request, Any], Sequence[Buffer]]


class FileSystem:
    """Answers requests. Safe to use from many threads."""

    def __init__(self, shelf: Shelf, trouble: Trouble) -> None:
        self.nodes = Nodes()
        self._above = Above(shelf, self.nodes)
        self._inside = Inside(shelf, self.nodes)
        self._trouble = trouble
        above, inside = self._above, self._inside
        self._inside_answers: dict[int, _Answer] = {
            Opcode.READ: inside.read,
            Opcode.LOOKUP: lambda request, body: [inside.lookup(request, body)],
            Opcode.GETATTR: lambda request, _: [inside.attributes(request)],
            Opcode.READLINK: lambda request, _: inside.read_link(request),
            Opcode.OPENDIR: lambda *_: [inside.open_directory()],
            Opcode.READDIR: inside.read_directory,
            Opcode.READDIRPLUS: inside.read_directory,
            Opcode.GETXATTR: lambda request, body: [inside.get_xattr(request, body)],
            Opcode.LISTXATTR: lambda request, body: [inside.list_xattrs(request, body)],
            Opcode.LSEEK: lambda request, body: [inside.seek(request, body)],
            Opcode.IOCTL: lambda request, body: [inside.control(request, body)],
        }
        self._above_answers: dict[int, _Answer] = {
            Opcode.LOOKUP: lambda request, body: [above.lookup(request, body)],
            Opcode.GETATTR: lambda request, _: [above.attributes(request)],
            Opcode.OPENDIR: lambda request, body: [above.open(request, body)],
            Opcode.READDIR: above.read,
            Opcode.READDIRPLUS: above.read,
            Opcode.GETXATTR: _no_xattr,
            Opcode.LISTXATTR: lambda _, body: [b"" if body.size else replies.length(0)],
            Opcode.IOCTL: _no_control,
        }
        self._common: dict[int, _Answer] = {
            Opcode.FORGET: self._forget,
            Opcode.BATCH_FORGET: self._batch_forget,
            Opcode.RELEASEDIR: self._release,
            Opcode.STATFS: lambda *_: [replies.statistics(block_bytes=_BLOCK_BYTES, name_bytes=_NAME_BYTES)],
            Opcode.ACCESS: lambda *_: [],  # the kernel has looked at the mode already
            Opcode.DESTROY: lambda *_: [],
        }

    def handle(self, request: Request) -> Reply:
        """Answer one request. Raises OSError with what the kernel shall be told."""
        answers = self._above_answers if is_above(request.node) else self._inside_answers
        answer = answers.get(request.opcode) or self._common.get(request.opcode)
        if answer is None:
            # OPEN and FLUSH among them: files are read without being opened, and the kernel asks only once.
            number = errno.EROFS if request.opcode in _CHANGES else errno.ENOSYS
            raise OSError(number, os.strerror(number))
        try:
            return replies.reply(request.unique, *answer(request, request.body))
        except KeyError:  # a node that nobody was told of, or that was forgotten
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None
        except NotFound:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        except KnowngoodError as wrong:
            self._trouble(self._place(request), wrong.message)
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from None

    def failed(self, request: Request, wrong: Exception) -> None:
        """Something that no handler should raise."""
        self._trouble(self._place(request), f"unexpected {type(wrong).__name__}: {wrong}")

    def _place(self, request: Request) -> str:
        """Where something went wrong, below the mount, as well as can be told."""
        try:
            if is_above(request.node):
                parts = self.nodes.path(request.node)
            else:
                parts = self.nodes.opened(request.node).path
                parts = (*parts, self._inside.entry(request.node)[1].path)
        except (KeyError, KnowngoodError):
            parts = ()
        return os.fsdecode(b"/".join(parts) or b".")

    def _forget(self, request: Request, body: Any) -> list[bytes]:
        if not is_above(request.node):
            self.nodes.forget(request.node, body.lookups)
        return []

    def _batch_forget(self, _: Request, body: Any) -> list[bytes]:
        for node, lookups in body.nodes:
            if not is_above(node):
                self.nodes.forget(node, lookups)
        return []

    def _release(self, request: Request, body: Any) -> list[bytes]:
        if is_above(request.node):
            self._above.release(body)
        return []


def _no_xattr(*_: Any) -> Sequence[Buffer]:
    raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))


def _no_control(*_: Any) -> Sequence[Buffer]:
    raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
