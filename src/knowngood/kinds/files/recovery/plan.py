"""What a recovery would do, found out by looking at names and rows only: nothing is changed, no content is read."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from knowngood.core.errors import Damaged, KnowngoodError
from knowngood.core.ids import Name
from knowngood.core.ports import PageSource, RecoveryPlan, RecoveryRequest
from knowngood.core.progress import Progress
from knowngood.kinds.files.recovery.compare import unchanged
from knowngood.kinds.files.recovery.extras import Extras, is_empty
from knowngood.kinds.files.recovery.layout import data_bytes
from knowngood.kinds.files.recovery.links import LinkTable
from knowngood.kinds.files.recovery.others import is_same
from knowngood.kinds.files.recovery.place import CLOSED, Folder, lstat, open_folder
from knowngood.kinds.files.recovery.selection import Selection, blocks, entries_of
from knowngood.kinds.files.recovery.target import look, target_of
from knowngood.kinds.files.recovery.walk import Walk
from knowngood.kinds.files.spill import NameSet
from knowngood.tree.block import ROOT_NAME, ROW, Block, Entry
from knowngood.tree.page import Child
from knowngood.tree.read import TreeReader

SAMPLES = 20
CREATE, REWRITE, ATTRIBUTES, SAME, CHECK, DELETE, LOST = (
    "create",
    "rewrite",
    "attributes",
    "same",
    "check",  # counted as the same: it looks so, and its content is compared when the plan is carried out
    "delete",
    "lost",  # the checkpoint's page that tells of it is damaged
)


def plan_recovery(request: RecoveryRequest, pages: PageSource, progress: Progress) -> RecoveryPlan:
    """Compare the checkpoint with the target.

    Raises NotFound when a path or pattern meets nothing in the checkpoint, UsageError, Damaged, Locked.
    """
    reader = TreeReader(Name(request.checkpoint.root), pages.page)
    selection = Selection(reader, request.checkpoint, request.paths)
    fd = look(target_of(request, selection))
    try:
        planner = _Planner(request, progress, fd)
        if selection.is_whole and not selection.is_file and (fd == CLOSED or is_empty(fd)):
            planner.all_new(reader)
        else:
            planner.compared(selection, fd)
            selection.check_met()
    finally:
        if fd != CLOSED:
            os.close(fd)
    return planner.plan


class _Planner:
    """Fills a plan; the walk through the tree asks it for what a recovery would be asked for."""

    def __init__(self, request: RecoveryRequest, progress: Progress, target: int) -> None:
        self.plan = RecoveryPlan(request)
        self._started_ns = request.checkpoint.started_ns
        self._progress = progress
        self._extras = Extras(request, None, target)
        self._links = LinkTable()
        self._sampled: Counter[str] = Counter()

    def all_new(self, reader: TreeReader) -> None:
        """Nothing is there yet: rows say enough, and most entries need not even be decoded."""
        for block in blocks(reader, b"", self._on_damage):
            self.plan.create += block.count
            if self._sampled[CREATE] < SAMPLES or block.extras or not _is_plain(block):
                for entry in entries_of(block):
                    self._sample(CREATE, entry.path)
                    self._add_bytes(entry)
            else:
                self.plan.write_bytes += sum(row[4] for row in ROW.iter_unpack(block.rows) if stat.S_ISREG(row[0]))

    def compared(self, selection: Selection, fd: int) -> None:
        """Compare with what is there, entry by entry."""
        root = Folder(b"", fd, selection.root, whole=selection.is_whole and not selection.is_file)
        if fd == CLOSED:
            root.fresh = True
        else:
            root.identify(os.fstat(fd))
            root.names = NameSet()
        walk = Walk(self, root)

        def on_damage(leaf: Child, wrong: KnowngoodError) -> None:
            walk.lenient = True
            self._on_damage(leaf, wrong)

        try:
            walk.run(selection.groups(on_damage))
        finally:
            root.fd = CLOSED
            walk.close()
            self._links.close()

    def enter(self, above: Folder, folder: Folder) -> None:
        """Look into a folder, if it is there."""
        name = folder.key.rpartition(b"\0")[2]
        try:
            fd = None if above.fresh else open_folder(above, name)
        except OSError:
            folder.lost = True
            return
        if fd is None:
            folder.fresh = True
        else:
            folder.fd = fd
            folder.identify(os.fstat(fd))
            folder.names = NameSet()

    def work(self, folder: Folder, entries: list[Entry]) -> None:
        """Judge the entries of a folder."""
        self._progress.current = os.fsdecode(folder.path)
        for entry in entries:
            if folder.names is not None:
                folder.names.add(entry.name)
            try:
                if entry.name == ROOT_NAME:
                    have = os.fstat(folder.fd) if folder.fd != CLOSED else None
                else:
                    have = lstat(folder, entry.name)
                what = self._judge(folder, entry, have)
            except OSError:
                what = REWRITE  # not to be looked at: carrying out the plan will say why
            self._note(what, entry)

    def listed(self, folder: Folder) -> None:
        """Count what is extra."""
        if folder.names is None:
            return
        with suppress(OSError):  # carrying out the plan will say why
            self._extras.sweep(folder, self._extra)
        folder.names.close()
        folder.names = None

    def leave(self, folder: Folder) -> None:
        """Nothing more comes for a folder. The root is the caller's."""
        if folder.key:
            folder.close()

    def settle(self) -> None:
        """Nothing is ever under way."""

    def _judge(self, folder: Folder, entry: Entry, have: os.stat_result | None) -> str:
        if have is None:
            return CREATE
        if stat.S_IFMT(have.st_mode) != stat.S_IFMT(entry.mode):
            return REWRITE
        if entry.is_file and unchanged(have, entry, self._started_ns):
            return SAME
        same_attributes = (
            have.st_mode == entry.mode
            and (have.st_uid, have.st_gid) == (entry.uid, entry.gid)
            and have.st_mtime_ns == entry.mtime_ns
        )
        if entry.is_file:
            if have.st_size != entry.size or have.st_mtime_ns != entry.mtime_ns:
                return REWRITE
            return CHECK if same_attributes else ATTRIBUTES
        if not entry.is_directory and not is_same(folder, entry, have):
            return REWRITE
        return SAME if same_attributes else ATTRIBUTES

    def _note(self, what: str, entry: Entry) -> None:
        plan = self.plan
        if what == CREATE:
            plan.create += 1
        elif what == REWRITE:
            plan.rewrite += 1
        elif what == ATTRIBUTES:
            plan.attributes += 1
        else:
            plan.same += 1
        if what in (CREATE, REWRITE):
            self._add_bytes(entry)
        if what != SAME:
            self._sample(what, entry.path)

    def _add_bytes(self, entry: Entry) -> None:
        if entry.is_file and (entry.links < 2 or self._links.first(entry) is None):
            with suppress(Damaged):  # it will be a problem when its turn comes
                self.plan.write_bytes += data_bytes(entry)

    def _extra(self, path: bytes, count: int) -> None:
        self.plan.delete += count
        self._sample(DELETE, path)

    def _sample(self, what: str, path: bytes) -> None:
        if self._sampled[what] < SAMPLES:
            self._sampled[what] += 1
            self.plan.samples.append((what, path))

    def _on_damage(self, leaf: Child, _: KnowngoodError) -> None:
        self._sample(LOST, leaf.directory.replace(b"\0", b"/") or ROOT_NAME)


def _is_plain(block: Block) -> bool:
    """Whether no entry of a block has a second name, so that rows alone tell how much there is to write."""
    return all(row[3] < 2 or stat.S_ISDIR(row[0]) for row in _rows(block))


def _rows(block: Block) -> Iterator[tuple[int, ...]]:
    return ROW.iter_unpack(block.rows)
