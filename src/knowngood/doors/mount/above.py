"""The directories above the trees: services, their components, and the moments of each."""

from __future__ import annotations

import errno
import itertools
import stat
import threading
from collections.abc import Iterable

from knowngood.core.errors import NotFound, UsageError
from knowngood.core.ids import Name
from knowngood.doors.mount.attributes import BRIEF_NS, LONG_NS, of_above, of_entry, of_root
from knowngood.doors.mount.moments import LATEST, Moment
from knowngood.doors.mount.nodes import Nodes, Path
from knowngood.doors.mount.shelf import Listing, Shelf
from knowngood.tree.numbered import NumberedTree, page_cache
from knowngood.wire.fuse import replies
from knowngood.wire.fuse.bodies import Named, Open, Read, Release
from knowngood.wire.fuse.opcodes import Opcode
from knowngood.wire.fuse.requests import Request

_UNKNOWN = 0  # the type of an entry that has to be looked up: a component can be a file
_DEPTH = 2  # of a component


class Above:
    """Answers for the directories above the trees. Safe to use from many threads."""

    def __init__(self, shelf: Shelf, nodes: Nodes) -> None:
        self._shelf = shelf
        self._nodes = nodes
        self._pages = page_cache()
        self._lock = threading.Lock()
        self._handles: dict[int, list[tuple[bytes, int]]] = {}  # what was there when a directory was opened
        self._numbers = itertools.count(1)

    def lookup(self, request: Request, body: Named) -> bytes:
        """A service, a component, or a tree."""
        path = (*self._nodes.path(request.node), body.name)
        if len(path) > _DEPTH:
            return self._enter(path)
        newest = _newest(self._shelf.listing(), path)
        if newest is None:
            return replies.no_entry(BRIEF_NS)
        node = self._nodes.above(path)
        return replies.entry(node, of_above(node, newest), BRIEF_NS, BRIEF_NS)

    def _enter(self, path: Path) -> bytes:
        try:
            moment = self._shelf.choose(*path)
        except (NotFound, UsageError):  # no moment, or none as old
            return replies.no_entry(BRIEF_NS)
        pages = moment.pages or self._shelf
        opened = self._nodes.enter(path, moment, NumberedTree(Name(moment.root), pages.page, self._pages))
        try:
            attributes = of_entry(of_root(opened), opened)
        except BaseException:
            self._nodes.forget(opened.root_node, 1)
            raise
        return replies.entry(opened.root_node, attributes, BRIEF_NS, LONG_NS)

    def attributes(self, request: Request) -> bytes:
        """Of one of these directories, as was last known."""
        newest = _newest(self._shelf.current, self._nodes.path(request.node))
        return replies.attributes_reply(of_above(request.node, newest), BRIEF_NS)

    def open(self, request: Request, _: Open) -> bytes:
        """Begin to list: what is there now is what the listing will show, however long it takes."""
        path = self._nodes.path(request.node)
        names = [
            (name, _UNKNOWN if len(path) == _DEPTH else stat.S_IFDIR) for name in _below(self._shelf.listing(), path)
        ]
        with self._lock:
            handle = next(self._numbers)
            self._handles[handle] = [(b".", stat.S_IFDIR), (b"..", stat.S_IFDIR), *names]
        return replies.opened(handle)

    def read(self, request: Request, body: Read) -> list[bytes]:
        """A part of a listing."""
        names = self._handles.get(body.handle)
        if names is None:
            raise OSError(errno.EBADF, "the directory is not open")
        gathered = replies.Directory(body.size)
        plus = replies.Directory.unknown() if request.opcode == Opcode.READDIRPLUS else None
        for place in range(body.offset, len(names)):
            name, kind = names[place]
            if not gathered.add(name, request.node, kind, place + 1, plus):
                break
        return gathered.parts

    def release(self, body: Release) -> None:
        """The listing is over."""
        with self._lock:
            self._handles.pop(body.handle, None)


def _below(listing: Listing, path: Path) -> Iterable[bytes]:
    match path:
        case ():
            return listing.services
        case (service,):
            return listing.services.get(service, {})
        case _:
            return listing.component(*path)


def _newest(listing: Listing, path: Path) -> Moment | None:
    """The newest moment below a directory; None when there is none, or no such directory."""
    if len(path) == _DEPTH:
        return listing.component(*path).get(LATEST)
    below = [_newest(listing, (*path, name)) for name in _below(listing, path)]
    return max((each for each in below if each), key=lambda moment: moment.received_ns, default=None)
