"""What all changes have in common: they are made one after the other, and told to the journal in that order."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from knowngood.core.buffers import Buffer
from knowngood.core.instants import SECOND, now_ns
from knowngood.core.log import Form, Operation
from knowngood.kinds.files.attributes import proc_path, xattrs_of
from knowngood.kinds.files.capture.entries import row_of
from knowngood.kinds.files.exclude import CACHE_TAG
from knowngood.kinds.files.journal.entries import Draft, Special, draft, written
from knowngood.kinds.files.journal.nodes import Node, Nodes
from knowngood.kinds.files.journal.writing import JournalWriter
from knowngood.vault.layout import DESCRIPTOR
from knowngood.wire.fuse import replies
from knowngood.wire.fuse.replies import Attributes

VALID_NS = SECOND
"""How long the kernel may rely on names and attributes: all changes come through it, but for those made underneath."""

_TAGS = frozenset({CACHE_TAG, DESCRIPTOR.encode()})


class Acting:
    """The order of changes. Whoever makes one does so within `change`, and tells it before that ends."""

    def __init__(self, nodes: Nodes, journal: JournalWriter) -> None:
        self.nodes = nodes
        self.journal = journal
        self.order = threading.Lock()  # who holds it holds all writers
        self.time_ns = 0  # of the change that is being made
        self.may_wait: Callable[[], None] = lambda: None  # to be called before waiting for anything

    def change(self) -> Self:
        """Make one change, within a `with`. While too much waits to be landed, it takes longer."""
        return self

    def __enter__(self) -> None:
        if not self.order.acquire(blocking=False):
            self.may_wait()
            self.order.acquire()
        self.time_ns = now_ns()

    def __exit__(self, *_: object) -> None:
        self.order.release()
        delay = self.journal.delay()
        if delay:
            self.may_wait()
            time.sleep(delay)

    # -------------------------------------------------------------------------------------------------------- telling

    def tell(self, *drafts: Draft | None) -> None:
        """Append what was done, as one; None among it is nothing."""
        if entries := [each for each in drafts if each is not None]:
            self.journal.append(entries)

    def entry(self, operation: int, key: bytes | None, **more: Any) -> Draft | None:
        """One change of what is at a key; None when it does not belong to the component."""
        return None if key is None else draft(operation, self.time_ns, key, **more)

    def changed(self, operation: int, node: Node, file: os.stat_result, **more: Any) -> Draft | None:
        """One change of a node, with what stat(2) says of it now."""
        node.ctime_ns = file.st_ctime_ns
        key = self.nodes.key(node)
        if key is None:
            if node.number == 1 or self.nodes.is_hidden(node) or not file.st_nlink:
                return None
            # It has a name that the kernel did not ask for.
            return draft(Special.VAGUE, self.time_ns, b"", value=file.st_ino)
        return draft(operation, self.time_ns, key, row=row_of(file), **more)

    def wrote(self, node: Node, file: os.stat_result, offset: int, data: Buffer) -> Draft | None:
        """`changed`, for a write."""
        key = self.nodes.key(node)
        if key is None:
            return self.changed(Operation.WRITE, node, file)
        node.ctime_ns = file.st_ctime_ns
        return written(self.time_ns, key, offset, row_of(file), data)

    def touched(self, above: Node) -> Draft | None:
        """A directory in which a name came or went: its times."""
        with suppress(OSError):
            return self.changed(Operation.TIMES, above, self.nodes.stat(above))
        return None

    def vague(self, key: bytes | None) -> Draft | None:
        """Something changed at a key, and below it, that cannot be told."""
        return self.entry(Special.VAGUE, key)

    def tagged(self, above: Node, name: bytes) -> Draft | None:
        """A file that decides whether its directory belongs to the component may have come, gone or changed."""
        if name not in _TAGS:
            return None
        with suppress(OSError):
            directory = self.nodes.directory(above)
            outside = self.nodes.scope.leaves_out(directory.fd, os.fstat(directory.fd))
            if outside != above.outside:
                above.outside = outside
                return self.vague(self.nodes.key(above))
        return None

    def carried(self, pin: int, key: bytes | None, file: os.stat_result, *, opened: bool) -> list[Draft | None]:
        """The attributes that something new came with: from a default ACL, or from a security module."""
        if key is None:
            return []
        row = row_of(file)
        return [
            self.entry(Operation.XATTR, key, second=name, length=len(value), form=Form.BYTES, row=row, data=value)
            for name, value in self._xattrs(pin if opened else proc_path(pin))
        ]

    @staticmethod
    def _xattrs(target: int | str) -> list[tuple[bytes, bytes]]:
        with suppress(OSError):
            return list(xattrs_of(target))
        return []

    # ------------------------------------------------------------------------------------------------------- replying

    def found(self, node: Node, file: os.stat_result) -> bytes:
        """What the kernel is told of a name's node."""
        return replies.entry(node.number, self.attributes(file), VALID_NS, VALID_NS)

    def attributes(self, file: os.stat_result) -> Attributes:
        """What stat(2) shows; other file systems below get numbers of their own."""
        inode = file.st_ino
        if file.st_dev != self.nodes.root_device:
            inode ^= (file.st_dev * 0x9E3779B97F4A7C15) & 0xFFFF_FFFF_0000_0000
        return Attributes(
            inode or 1,
            file.st_size,
            file.st_blocks,
            file.st_atime_ns,
            file.st_mtime_ns,
            file.st_ctime_ns,
            file.st_mode,
            file.st_nlink,
            file.st_uid,
            file.st_gid,
            _wire_rdev(file.st_rdev) if stat.S_ISCHR(file.st_mode) or stat.S_ISBLK(file.st_mode) else 0,
            file.st_blksize,
        )


def _wire_rdev(device: int) -> int:
    """A device's number as the protocol has it (new_encode_dev of the kernel)."""
    major, minor = os.major(device), os.minor(device)
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def device_of(wire: int) -> int:
    """A device's number from the protocol (new_decode_dev)."""
    return os.makedev((wire & 0xFFF00) >> 8, (wire & 0xFF) | ((wire >> 12) & 0xFFF00))
