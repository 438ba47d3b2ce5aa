"""What a tick and a checkpoint work with: open folders, the reader, and the pages that say what is in large files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from knowngood.core.ids import Name
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import ChunkSink
from knowngood.kinds.files.capture.basis import Basis
from knowngood.kinds.files.capture.listing import Lister
from knowngood.kinds.files.capture.old import OldTree
from knowngood.kinds.files.capture.resume import Interrupted
from knowngood.kinds.files.follow.clones import Clones
from knowngood.kinds.files.follow.dirtied import Parts
from knowngood.kinds.files.follow.feed import Place
from knowngood.kinds.files.follow.folders import Folders
from knowngood.kinds.files.follow.hashes import Hashes
from knowngood.kinds.files.follow.known import Inode, State
from knowngood.kinds.files.follow.look import Look, Sight
from knowngood.kinds.files.follow.order import After, Order, find_renames
from knowngood.kinds.files.follow.reading import Reader
from knowngood.kinds.files.follow.taking import Haul, Taking, renamed
from knowngood.kinds.files.limits import Limits
from knowngood.kinds.files.problems import Problems
from knowngood.tree.block import Entry
from knowngood.tree.build import PutPage
from knowngood.tree.read import TreeReader


class Tools:
    """Made once for a follower."""

    def __init__(
        self,
        component: ComponentSpec,
        path: bytes,
        state_dir: str,
        limits: Limits,
        clock: Callable[[], int],
        clones: Clones | None,
        through: bytes = b"",
    ) -> None:
        """`through` is a path by which the component is read, where that is not its own."""
        self.path = path
        self.through = through
        self._root = through or path
        self.clock = clock
        self.hashes = Hashes(state_dir)
        self.clones = clones
        self.parts: Parts | None = None  # of large files, where somebody tells every write
        self.pages: dict[Name, tuple[bytes, bytes]] = {}  # list pages of large files, since the last checkpoint
        self._component = component
        self._state_dir = state_dir
        self._limits = limits
        self._once: dict[Inode, None] = {}

    @contextmanager
    def folders(self) -> Iterator[Folders]:
        """The component's directories. Raises NotFound when it is gone."""
        folders = Folders(self._root, self._limits.open_directories)
        try:
            yield folders
        finally:
            folders.close()

    @contextmanager
    def standing_in(self, root: int, device: int, began_ns: int) -> Iterator[dict[int, int]]:
        """An open snapshot is what there is of the component meanwhile; it shows how it was after `began_ns`.

        `device` is the component's own. Returns the numbers of the snapshot's file systems.
        """
        clock, self.clock = self.clock, lambda: began_ns
        snapshot = os.fstat(root).st_dev
        self._root = b"/proc/self/fd/%d" % root
        if self.clones is not None:
            self.clones.stand_ins[snapshot] = device
        try:
            yield {snapshot: 0}
        finally:
            self._root, self.clock = self.through or self.path, clock
            if self.clones is not None:
                self.clones.stand_ins.clear()

    def look(
        self,
        folders: Folders,
        state: State,
        devices: dict[int, int],
        failed: dict[Place, bytes],
        entries: Iterable[Place],
        subtrees: Iterable[bytes],
    ) -> Sight:
        """What of these places has changed."""
        lister = Lister(self._component, self._state_dir, self._limits.spill_names)
        try:
            return Look(folders, lister, state, devices, failed).run(entries, subtrees)
        finally:
            lister.spill.close()

    def take(
        self,
        folders: Folders,
        state: State,
        basis: Basis,
        sink: ChunkSink,
        put: PutPage,
        rows: Mapping[Place, bytes | None],
        before: Taken | None = None,
        *,
        whole: bool,
    ) -> Taken:
        """Read what has changed; of what was taken `before` in vain, only what changed since."""
        if self.clones is not None and before is None:
            self.clones.let_go()
        problems, now_ns = Problems(), self.clock()
        chunks = self._chunks(state, basis)
        interrupted = Interrupted([], OldTree(basis, [], sink.known, lambda _: None), put)
        reader = Reader(
            sink,
            interrupted,
            problems,
            self._limits,
            self.clock,
            self.hashes,
            self.clones,
            self._once,
            chunks,
            whole=whole,
            parts=self.parts,
        )
        renames = find_renames(state, rows)
        after = before.after if before else {}
        haul = Taking(folders, state, reader, now_ns, after, whole=whole).run(rows, renames)
        order = Order(state, haul.after, renamed(haul.after, renames), chunks)
        read_bytes = reader.read_bytes + (before.read_bytes if before else 0)
        return Taken(haul, order, problems, read_bytes)

    def _chunks(self, state: State, basis: Basis) -> Callable[[Entry], Iterable[tuple[bytes, int]]]:
        def page(name: Name) -> tuple[bytes, bytes]:
            return self.pages.get(name) or basis.pages.get(name)

        return TreeReader(state.root, page).chunks


class Taken:
    """What was read, and how it becomes records."""

    def __init__(self, haul: Haul, order: Order, problems: Problems, read_bytes: int) -> None:
        self.haul = haul
        self.order = order
        self.problems = problems
        self.read_bytes = read_bytes

    @property
    def after(self) -> After:
        """What is in the places that changed."""
        return self.haul.after
