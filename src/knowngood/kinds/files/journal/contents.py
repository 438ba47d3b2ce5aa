"""Open files: what is read is passed through, what is written is written below and told to the journal.

Files are opened plainly: the kernel keeps pages of them, and each write(2) comes here before it returns (never with
its write-back cache, which would lose the order). What is stored through a shared mapping comes when the kernel writes
the page out: at msync(2), munmap(2), the last close, or half a minute later.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from knowngood.core.log import Form, Operation
from knowngood.core.sizes import MIB
from knowngood.kinds.files.attributes import proc_path
from knowngood.kinds.files.journal.acting import Acting
from knowngood.kinds.files.journal.nodes import Node, stale
from knowngood.linux.beneath import allocate, open_beneath
from knowngood.wire.fuse import replies
from knowngood.wire.fuse.bodies import Allocate, Open, Read, Release, Seek, Sync, Write
from knowngood.wire.fuse.opcodes import OpenFlag, WriteFlag
from knowngood.wire.fuse.requests import Request

LARGEST = MIB
"""Most bytes of one READ or WRITE."""

_KEPT = os.O_NOATIME
_KEEP_SIZE, _PUNCH, _ZERO = 1, 2, 16  # <linux/falloc.h>
_ALLOCATIONS = frozenset({0, _KEEP_SIZE, _KEEP_SIZE | _PUNCH, _ZERO, _ZERO | _KEEP_SIZE})
_CAPABILITY = "security.capability"
_SETID = stat.S_ISUID | stat.S_ISGID
_SYNCED = os.O_SYNC | os.O_DSYNC
_KILL_SUIDGID = int(WriteFlag.KILL_SUIDGID)  # as numbers: each question to a flag of an enumeration takes a microsecond
_KEEPS, _FORGETS = OpenFlag.KEEP_CACHE, OpenFlag.NONE


@dataclass(slots=True)
class Handle:
    """A file that somebody has open."""

    node: Node
    appends: bool = False  # it can only be appended to: the file says so
    prompt: bool = True  # the file system can tell what it has in memory


class Contents:
    """Answers requests about open files. A handle's number is its descriptor."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting
        self._nodes = acting.nodes
        self._handles: dict[int, Handle] = {}
        self._mine = threading.local()

    def saved(self) -> list[tuple[int, int, bool]]:
        """What is open, for another program."""
        return [(fd, each.node.number, each.appends) for fd, each in self._handles.items()]

    def restore(self, handles: Iterable[tuple[int, int, bool]]) -> None:
        """Know what another program had open."""
        self._handles = {fd: Handle(self._nodes[node], appends) for fd, node, appends in handles}

    def open(self, request: Request, body: Open) -> list[bytes]:
        """OPEN."""
        node = self._nodes[request.node]
        reading = body.flags & os.O_ACCMODE == os.O_RDONLY
        flags = (os.O_RDONLY if reading else os.O_RDWR) | (body.flags & _KEPT) | os.O_NONBLOCK
        appends = False
        try:
            fd = self._open(node, flags)
        except PermissionError:  # a file that can only be appended to
            if reading or not body.flags & os.O_APPEND:
                raise
            fd, appends = self._open(node, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK), True
        return [self.opened(node, fd, os.fstat(fd), asks=not reading, appends=appends)]

    def opened(self, node: Node, fd: int, file: os.stat_result, *, asks: bool, appends: bool = False) -> bytes:
        """Hand a descriptor to the kernel, which keeps its pages if all changes since came through it.

        `asks`: it is written to, and may have capabilities.
        """
        with self._nodes.lock:
            keeps = node.ctime_ns == file.st_ctime_ns
            node.ctime_ns = file.st_ctime_ns
            self._handles[fd] = Handle(node, appends)
            node.open.append(fd)
        if asks and not node.capable:
            with suppress(OSError):
                os.getxattr(fd, _CAPABILITY)
                node.capable = True
        return replies.opened(fd, _KEEPS if keeps else _FORGETS)

    def _open(self, node: Node, flags: int) -> int:
        if node.names:
            directory, name = self._nodes.place(node)
            fd = open_beneath(directory.fd, name, flags | os.O_NOFOLLOW)
            here = os.fstat(fd)
            if (here.st_dev, here.st_ino) == (node.device, node.inode):
                return fd
            os.close(fd)
        if not node.open:
            raise stale()
        return os.open(proc_path(node.open[0]), flags | os.O_CLOEXEC)

    def handle(self, number: int) -> Handle:
        """An open file. Raises OSError."""
        found = self._handles.get(number)
        if found is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return found

    def release(self, _: Request, body: Release) -> list[bytes]:
        """RELEASE: nobody has it open any more."""
        with self._nodes.lock:
            handle = self._handles.pop(body.handle, None)
            if handle is not None:
                handle.node.open.remove(body.handle)
                os.close(body.handle)
                self._nodes.tidy(handle.node)
        return []

    # ------------------------------------------------------------------------------------------------------- content

    def read(self, _: Request, body: Read) -> list[memoryview]:
        """READ: at once what is at hand in memory. For the rest the disk is waited for."""
        fd, size, offset = body.handle, body.size, body.offset
        handle, count, room = self.handle(fd), 0, self._room()
        if handle.prompt:
            try:
                count = os.preadv(fd, [room[:size]], offset, os.RWF_NOWAIT)
                if count == size or offset + count >= os.fstat(fd).st_size:
                    return [room[:count]]
            except BlockingIOError:
                pass
            except OSError as wrong:
                if wrong.errno != errno.EOPNOTSUPP:
                    raise
                handle.prompt = False
        self._acting.may_wait()
        count += os.preadv(fd, [room[count:size]], offset + count)
        return [room[:count]]

    def _room(self) -> memoryview:
        """What a thread reads into; it is used again once that was sent."""
        try:
            return self._mine.room
        except AttributeError:
            self._mine.room = memoryview(bytearray(LARGEST))
            return self._mine.room

    def write(self, _: Request, body: Write) -> list[bytes]:
        """WRITE."""
        handle, fd, acting = self.handle(body.handle), body.handle, self._acting
        with acting.change():
            count = os.write(fd, body.data) if handle.appends else os.pwrite(fd, body.data, body.offset)
            file = os.fstat(fd)
            if body.write_flags & _KILL_SUIDGID and file.st_mode & _SETID:
                file = without_setid(fd, file)
            lost = None
            if handle.node.capable:
                lost = acting.changed(Operation.XATTR, handle.node, file, second=_CAPABILITY.encode())
                handle.node.capable = False
            acting.tell(acting.wrote(handle.node, file, body.offset, body.data[:count]), lost)
        if body.flags & _SYNCED:
            self.make_durable(fd, data_only=True)
        return [replies.written(count)]

    def allocate(self, _: Request, body: Allocate) -> list[bytes]:
        """FALLOCATE: room that is kept, holes, ranges of zeros."""
        handle, fd, acting = self.handle(body.handle), body.handle, self._acting
        if body.mode not in _ALLOCATIONS:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        with acting.change():
            before = os.fstat(fd).st_size
            allocate(fd, body.mode, body.offset, body.length)
            file = os.fstat(fd)
            told = []
            if file.st_size != before:
                told.append(acting.changed(Operation.TRUNCATE, handle.node, file, length=file.st_size))
            count = min(body.offset + body.length, file.st_size) - body.offset
            if body.mode & (_PUNCH | _ZERO) and count > 0:
                told.append(
                    acting.changed(
                        Operation.WRITE, handle.node, file, offset=body.offset, length=count, form=Form.ZEROS
                    )
                )
            acting.tell(*(told or [acting.changed(Operation.TIMES, handle.node, file)]))
        return []

    def seek(self, _: Request, body: Seek) -> list[bytes]:
        """LSEEK: where data or a hole begins."""
        self.handle(body.handle)
        if body.whence not in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return [replies.position(os.lseek(body.handle, body.offset, body.whence))]

    # ------------------------------------------------------------------------------------------------------ durability

    def sync(self, _: Request, body: Sync) -> list[bytes]:
        """FSYNC: the file, and all that was journalled, is durable before it is answered."""
        self.handle(body.handle)
        self.make_durable(body.handle, data_only=bool(body.flags & 1))
        return []

    def make_durable(self, fd: int, *, data_only: bool = False) -> None:
        """Put a file and the journal on stable storage. Raises OSError for the file alone."""
        self._acting.may_wait()
        (os.fdatasync if data_only else os.fsync)(fd)
        try:
            self._acting.journal.sync()
        except OSError as wrong:
            with self._acting.order:
                self._acting.journal.lose(f"it cannot be made durable: {wrong.strerror}")


def without_setid(fd: int, file: os.stat_result) -> os.stat_result:
    """Take the bits away that a write by others than root takes away; what stat(2) says then."""
    mode = stat.S_IMODE(file.st_mode) & ~stat.S_ISUID
    if file.st_mode & stat.S_IXGRP:
        mode &= ~stat.S_ISGID
    os.chmod(fd, mode)
    return os.fstat(fd)


def ignored(*_: Any) -> list[bytes]:
    """All is well, and nothing is to be done."""
    return []
