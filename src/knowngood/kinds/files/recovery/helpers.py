"""Plain new files are written by other processes (docs/decisions/0017).

A small file costs a worker little but system calls, and between any two of them the workers wait for the interpreter's
lock. So workers fetch and prove content, and hand files in batches to processes that do nothing but write. These hold
no key and no lock of the vault; they get descriptors of open folders, so no path is followed. Whatever they do not
bring about is done by the worker in the ordinary way, which also says what is wrong.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

from knowngood.core.buffers import Buffer
from knowngood.core.errors import KnowngoodError
from knowngood.core.ids import NAME_BYTES, Name
from knowngood.core.ports import PageSource
from knowngood.core.sizes import KIB, MIB
from knowngood.kinds.files.recovery import helper_process
from knowngood.kinds.files.recovery.helper_process import BATCH_FOLDERS, FILE, MESSAGE_BYTES
from knowngood.kinds.files.recovery.place import Folder
from knowngood.tree.block import NO_EXTRA, Content, Entry

FROM_FILES = 2048
"""A recovery that makes fewer files has no use for processes."""
LARGEST = 256 * KIB
"""Larger files are written by the workers: they wait for the disk more than for each other."""
_MEMORY = 4 * MIB + LARGEST
_NAME_BYTES = 255

Item = tuple[Folder, Entry, bool]
"""A folder, what belongs into it, and whether what is there must be replaced."""


class _Batch:
    """Files on their way to a process: what is sent, and what it refers to."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.contents: list[Buffer] = []
        self.folders: dict[Folder, int] = {}  # their numbers in the message
        self._message: list[bytes] = []
        self._room = MESSAGE_BYTES
        self._memory = _MEMORY

    def add(self, item: Item, data: Buffer) -> bool:
        """Take a file; False when it does not fit any more."""
        folder, entry, _ = item
        name = entry.name
        if self._room < FILE.size + len(name) or self._memory < entry.size:
            return False
        if folder not in self.folders and len(self.folders) == BATCH_FOLDERS:
            return False
        number = self.folders.setdefault(folder, len(self.folders))
        mode = stat.S_IMODE(entry.mode)
        self._message += (FILE.pack(number, mode, entry.uid, entry.gid, entry.mtime_ns, entry.size, len(name)), name)
        self._room -= FILE.size + len(name)
        self._memory -= entry.size
        self.items.append(item)
        if entry.size:
            self.contents.append(data)
        return True

    def message(self) -> bytes:
        """What is sent."""
        return b"".join(self._message)


class _Process:
    """One process that writes, and the way to it."""

    def __init__(self, hold: int) -> None:
        """`hold` is a descriptor that it keeps open, and with it the lock of the target. Raises OSError."""
        self.has_ended = False
        self._is_ready = False
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._memory = os.memfd_create("recovery")
        try:
            os.ftruncate(self._memory, _MEMORY)
            given = (theirs.fileno(), self._memory)
            program = [sys.executable, "-I", "-S", helper_process.__file__, *map(str, given)]
            nothing = subprocess.DEVNULL
            self._child = subprocess.Popen(
                program, stdin=nothing, stdout=nothing, stderr=nothing, pass_fds=(*given, hold)
            )
        except BaseException:
            self._channel.close()
            os.close(self._memory)
            raise
        finally:
            theirs.close()

    def write(self, batch: _Batch) -> bytes:
        """Write a batch: a byte for each file, zero where that failed.

        Raises OSError when none of it was written, KnowngoodError when the process ended in the middle of it.
        """
        if not self._is_ready:
            if not self._answer():
                raise ChildProcessError  # it could not even begin
            self._is_ready = True
        _put(self._memory, batch.contents)
        try:
            socket.send_fds(self._channel, [batch.message()], [folder.fd for folder in batch.folders])
        except ConnectionError:
            self.has_ended = True
            raise
        answer = self._answer()
        if len(answer) != len(batch.items):
            hint = "run the same recovery again: what is done stays"
            raise KnowngoodError("a process that was writing files has been ended", hint=hint)
        return answer

    def _answer(self) -> bytes:
        """What it says; nothing when it has ended."""
        try:
            answer = self._channel.recv(MESSAGE_BYTES)
        except OSError:
            answer = b""
        self.has_ended = not answer
        return answer

    def close(self) -> None:
        """Let it end, and wait for that."""
        self._channel.close()
        os.close(self._memory)
        self._child.wait()


class Helpers:
    """Some processes that write, each for one worker at a time."""

    def __init__(self, count: int, root: Folder) -> None:
        self._is_root = os.geteuid() == 0
        self._owner = os.geteuid(), os.getegid()
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._all: list[_Process] = []
        with suppress(OSError):  # without them, it only takes longer
            for _ in range(count):
                process = _Process(root.fd)
                self._all.append(process)
                self._idle.put(process)

    def write(self, items: Sequence[Item], pages: PageSource) -> tuple[list[Item], list[Item]]:
        """Write those of the items that are plain new files. Returns those that are done, and those that are not.

        Raises KnowngoodError when a process ended in the middle of it: nobody knows then what it has left.
        """
        try:
            process = self._idle.get_nowait()
        except Empty:
            return [], list(items)
        batch, left = self._gather(items, pages)
        answer = bytes(len(batch.items))
        try:
            if batch.items:
                answer = process.write(batch)
        except OSError:
            pass  # none of it was written
        finally:
            if not process.has_ended:
                self._idle.put(process)
        done: list[Item] = []
        for item, is_done in zip(batch.items, answer, strict=True):
            (done if is_done else left).append(item)
        return done, left

    def _gather(self, items: Sequence[Item], pages: PageSource) -> tuple[_Batch, list[Item]]:
        batch, left = _Batch(), list[Item]()
        for item in items:
            folder, entry, _ = item
            data = _content(entry, pages) if self._is_plain(folder, entry) else None
            if data is None or not batch.add(item, data):
                left.append(item)
        return batch, left

    def _is_plain(self, folder: Folder, entry: Entry) -> bool:
        """Whether a file is new, small, and nothing but content, owner, mode and time."""
        return (
            folder.fresh
            and entry.is_file
            and entry.links == 1
            and entry.size <= LARGEST
            and len(entry.name) <= _NAME_BYTES
            and not entry.mode & 0o7000
            and (entry.extra is NO_EXTRA or entry.extra == NO_EXTRA)
            and not folder.inherits
            and (self._is_root or (entry.uid, entry.gid) == self._owner)
        )

    def close(self) -> None:
        """End them all. No worker may be using one."""
        for process in self._all:
            process.close()
        self._all.clear()


def _content(entry: Entry, pages: PageSource) -> Buffer | None:
    """The content of a plain file; None where only the ordinary way can tell, or say what is wrong."""
    data: Buffer = entry.inline
    if entry.content == Content.CHUNK and len(entry.refs) == NAME_BYTES:
        try:
            data = pages.chunk(Name(entry.refs))
        except KnowngoodError:
            return None
    return data if len(data) == entry.size else None


def _put(memory: int, parts: Sequence[Buffer]) -> None:
    """Lay parts one behind the other into memory."""
    views = [memoryview(part).cast("B") for part in parts]
    at = 0
    while views:
        count = os.pwritev(memory, views, at)
        at += count
        while views and count >= len(views[0]):
            count -= len(views.pop(0))
        if count:
            views[0] = views[0][count:]
