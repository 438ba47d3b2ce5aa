"""Directories that somebody lists. Each listing is of the moment when it was begun."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from knowngood.kinds.files.journal.acting import Acting
from knowngood.kinds.files.journal.nodes import Node, Opened
from knowngood.wire.fuse import replies
from knowngood.wire.fuse.bodies import Open, Read, Release, Sync
from knowngood.wire.fuse.opcodes import Opcode
from knowngood.wire.fuse.requests import Request

_DOTS = (b".", b"..")


@dataclass(slots=True)
class _Listing:
    node: Node
    opened: Opened
    names: list[tuple[bytes, int, int]] | None = field(default=None)  # name, inode, type


class Listings:
    """Answers requests about open directories. A handle's number is its descriptor."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting
        self._nodes = acting.nodes
        self._open: dict[int, _Listing] = {}

    def saved(self) -> list[tuple[int, int, list[tuple[bytes, int, int]] | None]]:
        """What is being listed, for another program."""
        return [(fd, each.node.number, each.names) for fd, each in self._open.items()]

    def restore(self, listings: Iterable[tuple[int, int, list[tuple[bytes, int, int]] | None]]) -> None:
        """Know what was being listed."""
        self._open = {fd: _Listing(self._nodes[node], Opened(fd), names) for fd, node, names in listings}

    def open(self, request: Request, _: Open) -> list[bytes]:
        """OPENDIR."""
        node = self._nodes[request.node]
        pin = self._nodes.directory(node)
        fd = os.open(f"/proc/self/fd/{pin.fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open[fd] = _Listing(node, Opened(fd))
        return [replies.opened(fd)]

    def release(self, _: Request, body: Release) -> list[bytes]:
        """RELEASEDIR."""
        self._open.pop(body.handle, None)
        return []

    def sync(self, _: Request, body: Sync) -> int:
        """The descriptor for FSYNCDIR."""
        return self._open[body.handle].opened.fd

    def read(self, request: Request, body: Read) -> list[bytes]:
        """READDIR and READDIRPLUS. Offsets are places in the listing, after `.` and `..`."""
        listing = self._open[body.handle]
        if body.offset == 0 or listing.names is None:
            listing.names = self._names(listing)
        plus = request.opcode == Opcode.READDIRPLUS
        gathered = replies.Directory(body.size)
        for place in range(body.offset, len(_DOTS)):
            unknown = gathered.unknown() if plus else None
            if not gathered.add(_DOTS[place], listing.node.inode, stat.S_IFDIR, place + 1, unknown):
                return gathered.parts
        at = max(body.offset, len(_DOTS))
        for name, inode, kind in listing.names[at - len(_DOTS) :]:
            at += 1
            if not self._add(gathered, listing, (name, inode, kind), at, plus=plus):
                break
        return gathered.parts

    def _add(
        self, gathered: replies.Directory, listing: _Listing, each: tuple[bytes, int, int], at: int, *, plus: bool
    ) -> bool:
        name, inode, kind = each
        if not plus:
            return gathered.add(name, inode, kind, at)
        above, fd = listing.node, listing.opened.fd
        with self._nodes.lock:
            version = above.version
        try:
            file = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:  # it is gone meanwhile
            return gathered.add(name, inode, kind, at, gathered.unknown())
        with self._nodes.lock:
            if above.version != version:  # it may be another one by now: the kernel will look it up itself
                return gathered.add(name, inode, kind, at, gathered.unknown())
            node = self._nodes.meet(above, name, file)
            shown = self._acting.attributes(file)
            if gathered.add(name, shown.inode, stat.S_IFMT(file.st_mode), at, self._acting.found(node, file)):
                return True
            self._nodes.forget(node.number, 1)
            return False

    @staticmethod
    def _names(listing: _Listing) -> list[tuple[bytes, int, int]]:
        with os.scandir(listing.opened.fd) as entries:
            return [(os.fsencode(each.name), each.inode(), _kind(each)) for each in entries]


def _kind(entry: os.DirEntry[str]) -> int:
    """The type of an entry, as well as the listing tells it; 0 when it does not."""
    with suppress(OSError):
        if entry.is_symlink():
            return stat.S_IFLNK
        if entry.is_dir(follow_symlinks=False):
            return stat.S_IFDIR
        if entry.is_file(follow_symlinks=False):
            return stat.S_IFREG
    return 0
