"""What the kernel knows by number: nodes, the names that lead to them, and open directories to reach them through.

A node is a file or directory below the component's folder. The names under which it was met are kept, so that each
change can be told by path; only the kernel makes and forgets nodes. Directories are held by descriptors that are opened
below each other, through no symlink: nothing leads out of the folder, whatever somebody does to it underneath.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from knowngood.kinds.files.journal.scope import Scope
from knowngood.linux.beneath import open_beneath
from knowngood.tree.namespace import key_in
from knowngood.wire.fuse.opcodes import ROOT_NODE

_OPEN = 2048  # directories that are kept open
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW

Name = tuple[int, bytes]
"""The number of a directory, and a name in it."""


class Opened:
    """A descriptor that is closed when nobody uses it any more."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self.fd)


@dataclass(slots=True, eq=False)
class Node:
    """One file or directory."""

    number: int
    device: int
    inode: int
    kind: int  # of its mode
    outside: bool = False  # a directory: what is in it does not belong to the component
    lookups: int = 0
    names: dict[Name, None] = field(default_factory=dict)
    open: list[int] = field(default_factory=list)  # descriptors of those who have it open
    version: int = 0  # of a directory: how often its names were changed
    ctime_ns: int = 0  # when it was last changed through us
    capable: bool = False  # it has file capabilities, which a write takes away
    key: bytes | None = None
    hidden: bool = False  # it does not belong to the component
    epoch: int = -1  # when the two were worked out

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.kind == stat.S_IFDIR


class SavedNode(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """A node as one program hands it on to another."""

    number: int
    device: int
    inode: int
    kind: int
    outside: bool
    lookups: int
    names: list[Name]
    open: list[int]
    version: int
    ctime_ns: int
    capable: bool
    buried: bool  # another file may have its inode number


def stale() -> OSError:
    """Nothing is known of such a node, or it is not there any more."""
    return OSError(errno.ESTALE, os.strerror(errno.ESTALE))


class Nodes:
    """All nodes. Memory: about 700 bytes for each that the kernel knows, which forgets them under pressure."""

    def __init__(self, root: int, scope: Scope) -> None:
        """`root` is a descriptor of the folder; it is used and not closed."""
        self.lock = threading.RLock()
        self.scope = scope
        self._epoch = 0
        self._next = ROOT_NODE + 1
        here = os.fstat(root)
        self.root_device = here.st_dev
        self._root = Opened(os.dup(root))
        top = Node(ROOT_NODE, here.st_dev, here.st_ino, stat.S_IFDIR, lookups=1, key=b"")
        self._nodes = {ROOT_NODE: top}
        self._found = {(here.st_dev, here.st_ino): top}
        self._names: dict[Name, Node] = {}
        self._open: OrderedDict[int, Opened] = OrderedDict()

    def saved(self) -> tuple[int, list[SavedNode]]:
        """All that is known, for another program: the next number, and each node."""
        return self._next, [
            SavedNode(
                number=each.number,
                device=each.device,
                inode=each.inode,
                kind=each.kind,
                outside=each.outside,
                lookups=each.lookups,
                names=list(each.names),
                open=each.open,
                version=each.version,
                ctime_ns=each.ctime_ns,
                capable=each.capable,
                buried=self._found.get((each.device, each.inode)) is not each,
            )
            for each in self._nodes.values()
        ]

    def restore(self, following: int, nodes: Iterable[SavedNode]) -> None:
        """Know what another program knew."""
        self._next = following
        for each in nodes:
            node = self._nodes.get(each.number) or Node(each.number, each.device, each.inode, each.kind)
            node.outside, node.lookups, node.open = each.outside, each.lookups, each.open
            node.version, node.ctime_ns, node.capable = each.version, each.ctime_ns, each.capable
            node.names = dict.fromkeys(each.names)
            self._nodes[each.number] = node
            self._names.update(dict.fromkeys(node.names, node))
            if not each.buried:
                self._found[each.device, each.inode] = node

    def __getitem__(self, number: int) -> Node:
        found = self._nodes.get(number)
        if found is None:
            raise stale()
        return found

    # ------------------------------------------------------------------------------------------- what the kernel does

    def meet(self, above: Node, name: bytes, file: os.stat_result) -> Node:
        """The node of what is under a name now; the kernel is told of it once more."""
        with self.lock:
            identity = file.st_dev, file.st_ino
            kind = stat.S_IFMT(file.st_mode)
            node = self._found.get(identity)
            if node is None or node.kind != kind:
                node = self._found[identity] = Node(self._next, *identity, kind)
                self._nodes[self._next] = node
                self._next += 1
            if node.number == ROOT_NODE:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if self._names.get((above.number, name)) is not node:
                self._bind(above, name, node)
                if node.is_directory:
                    node.outside = self.scope.leaves_out(self.directory(node).fd, file)
            node.lookups += 1
            return node

    def forget(self, number: int, lookups: int) -> None:
        """The kernel gives back so many of the times that it was told of a node."""
        with self.lock:
            node = self._nodes.get(number)
            if node is None or number == ROOT_NODE:
                return
            node.lookups -= lookups
            self.tidy(node)

    def tidy(self, node: Node) -> None:
        """Let go of a node that nobody knows any more."""
        with self.lock:
            if node.lookups > 0 or node.open or node.number == ROOT_NODE:
                return
            self._nodes.pop(node.number, None)
            self._open.pop(node.number, None)
            for each in node.names:
                if self._names.get(each) is node:
                    del self._names[each]
            self.bury(node)

    # -------------------------------------------------------------------------------------------------- names change

    def named(self, above: Node, name: bytes) -> Node | None:
        """What is known under a name."""
        return self._names.get((above.number, name))

    def unbind(self, above: Node, name: bytes) -> Node | None:
        """A name is gone; what it stood for, if that is known."""
        with self.lock:
            above.version += 1
            node = self._names.pop((above.number, name), None)
            if node is not None:
                node.names.pop((above.number, name), None)
                node.epoch = -1
                self._epoch += node.is_directory
            return node

    def bury(self, node: Node) -> None:
        """It has no name any more at all: another file may get its inode number."""
        with self.lock:
            identity = node.device, node.inode
            if self._found.get(identity) is node:
                del self._found[identity]

    def bind(self, above: Node, name: bytes, node: Node | None) -> None:
        """A name stands for a node now, or for what is not known."""
        with self.lock:
            self.unbind(above, name)
            if node is not None:
                self._bind(above, name, node)

    def _bind(self, above: Node, name: bytes, node: Node) -> None:
        place = above.number, name
        former = self._names.get(place)
        if former is not None:
            former.names.pop(place, None)
            former.epoch = -1
        if node.is_directory:
            for each in node.names:
                self._names.pop(each, None)
            node.names.clear()
            self._epoch += 1
        node.names[place] = None
        self._names[place] = node
        node.epoch = -1

    # ---------------------------------------------------------------------------------------------------------- paths

    def key(self, node: Node) -> bytes | None:
        """Its path, as a key; None when no name of it is known, or when it does not belong to the component."""
        self._work_out(node)
        return None if node.hidden else node.key

    def key_in(self, above: Node, name: bytes) -> bytes | None:
        """The path of a name in a directory, in the same way."""
        self._work_out(above)
        return None if above.hidden or above.outside or above.key is None else key_in(above.key, name)

    def is_hidden(self, node: Node) -> bool:
        """Whether it does not belong to the component."""
        self._work_out(node)
        return node.hidden

    def _work_out(self, node: Node) -> None:
        if node.epoch == self._epoch or node.number == ROOT_NODE:
            return
        with self.lock:
            epoch = self._epoch
            node.key, node.hidden = None, False
            for directory, name in node.names:
                above = self._nodes.get(directory)
                if above is None:
                    continue
                self._work_out(above)
                if above.key is not None:
                    node.key, node.hidden = key_in(above.key, name), above.hidden or above.outside
                    if not node.hidden:
                        break
            node.epoch = epoch

    def directory(self, node: Node) -> Opened:
        """A directory, open for reaching what is in it. Raises OSError."""
        if node.number == ROOT_NODE:
            return self._root
        opened = self._open.get(node.number)
        if opened is not None:
            return opened
        with self.lock:
            return self._open_directory(node)

    def _open_directory(self, node: Node) -> Opened:
        chain = [node]
        while True:
            last = chain[-1]
            opened = self._root if last.number == ROOT_NODE else self._open.get(last.number)
            if opened is not None:
                break
            above = next((self._nodes.get(directory) for directory, _ in last.names), None)
            if above is None or len(chain) > 100_000:
                raise stale()
            chain.append(above)
        chain.pop()
        for each in reversed(chain):
            ((_, name),) = each.names
            fd = Opened(open_beneath(opened.fd, name, _DIRECTORY))
            here = os.fstat(fd.fd)
            if (here.st_dev, here.st_ino) != (each.device, each.inode):
                raise stale()
            opened = self._open[each.number] = fd
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return opened

    def place(self, node: Node) -> tuple[Opened, bytes]:
        """An open directory and a name in it that lead to a node. Raises OSError."""
        with self.lock:
            for directory, name in node.names:
                above = self._nodes.get(directory)
                if above is not None:
                    return self.directory(above), name
        raise stale()

    def stat(self, node: Node) -> os.stat_result:
        """What stat(2) says of it. Raises OSError."""
        if node.kind == stat.S_IFDIR:
            return os.fstat(self.directory(node).fd)
        if node.open:
            with suppress(OSError, IndexError):
                here = os.fstat(node.open[0])
                if (here.st_dev, here.st_ino) == (node.device, node.inode):
                    return here
        directory, name = self.place(node)
        here = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
        if (here.st_dev, here.st_ino) != (node.device, node.inode):
            raise stale()
        return here

    def pinned(self, node: Node) -> Opened:
        """A descriptor (O_PATH) of what a node is, be it a symlink or open only. Raises OSError."""
        if node.is_directory:
            return self.directory(node)
        if node.names:
            directory, name = self.place(node)
            pin = Opened(open_beneath(directory.fd, name, os.O_PATH | os.O_NOFOLLOW))
            here = os.fstat(pin.fd)
            if (here.st_dev, here.st_ino) == (node.device, node.inode):
                return pin
        if node.open:
            return Opened(os.open(f"/proc/self/fd/{node.open[0]}", os.O_PATH | os.O_CLOEXEC))
        raise stale()
