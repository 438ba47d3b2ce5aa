"""The walk: lists every directory in tree order, takes over what has not changed, and takes what has.

Per unchanged entry it does one `stat`, one `ROW.pack` and a few appends; nothing is opened but directories. Names
and rows of a whole block are then compared with the old ones at once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from knowngood.core.errors import KnowngoodError, NotFound
from knowngood.core.model import ComponentSpec, Totals
from knowngood.core.ports import CaptureContext, Captured
from knowngood.kinds.files.capture.basis import Basis
from knowngood.kinds.files.capture.entries import Taker, row_of
from knowngood.kinds.files.capture.gather import Cut, gather
from knowngood.kinds.files.capture.growing import GrowingTree
from knowngood.kinds.files.capture.listing import Lister, Spool
from knowngood.kinds.files.capture.old import OldTree, Overlap
from knowngood.kinds.files.capture.resume import Interrupted
from knowngood.kinds.files.capture.witness import Witness
from knowngood.kinds.files.handles import Handles, Moved
from knowngood.kinds.files.limits import Limits
from knowngood.kinds.files.problems import Problems, path_of
from knowngood.tree.block import ROOT_NAME, ROW, BlockWriter

_SIZE = 4  # its place in a row


@dataclass(slots=True)
class _Frame:
    """A directory whose own entries are done, and the directories below it that are not."""

    key: bytes
    children: Iterator[bytes]


class Scan:
    """One capture of a component."""

    def __init__(
        self,
        component: ComponentSpec,
        context: CaptureContext,
        basis: Basis,
        limits: Limits,
        clock: Callable[[], int],
        witness: Witness | None = None,
        snapshot: int | None = None,
        through: bytes = b"",
    ) -> None:
        """What is read is what lies at the component's path, or an open snapshot of it.

        `through` is a path by which the component is read, where that is not its own.
        """
        started_ns = clock()  # before anything is looked at: what changes later is not settled for the next capture
        self._path = os.path.realpath(os.fsencode(component.path))
        self._through = through or self._path
        self._snapshot = snapshot
        self._progress = context.progress
        self._limits = limits
        self._lister = Lister(component, context.state_dir, limits.spill_names)
        self._problems = Problems()
        self._totals = Totals()
        self._tree = GrowingTree(context.sink, basis, limits)
        versions = basis.begin(context.checkpoint_id, started_ns, self._path, context.trusted)
        self._old = OldTree(basis, versions, context.sink.known, self._tree.know)
        interrupted = Interrupted(versions, self._old, self._tree.put)
        self._taker = Taker(
            context.sink, self._tree, interrupted, self._problems, self._progress, limits, clock, witness
        )
        self._file_systems: dict[int, int] = {}
        self._key = b""

    @property
    def file_systems(self) -> dict[int, int]:
        """The numbers of the file systems that were met, by their devices."""
        return self._file_systems

    def run(self) -> Captured:
        """Capture the component. Raises NotFound when there is nothing at its path."""
        try:
            root = self._open_root()
            if root is None:
                self._single_file()
            else:
                self._walk(root)
            self._totals.read_bytes = self._taker.read_bytes
            page = self._tree.finish()
        finally:
            self._lister.spill.close()
        return Captured(page, "scan", self._totals, self._problems.listed, self._problems.count)

    def _open_root(self) -> int | None:
        """The component's folder; None when it is a file."""
        if self._snapshot is not None:
            return os.open(b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._snapshot)
        try:
            return os.open(self._through, os.O_RDONLY | os.O_DIRECTORY)
        except NotADirectoryError:
            return None
        except FileNotFoundError:
            raise NotFound(f"there is nothing at {os.fsdecode(self._path)}") from None
        except OSError as wrong:
            raise KnowngoodError(f"cannot open {os.fsdecode(self._path)}: {wrong.strerror}") from None

    # ------------------------------------------------------------------------------------------------------ the walk

    def _walk(self, root: int) -> None:
        """Depth first: that is the order of the keys. Only the directories on the way down are held."""
        handles = Handles(root, self._limits.open_directories)
        try:
            here = os.fstat(root)
            frames = [_Frame(b"", iter(self._directory(b"", root, here)))]
            while frames:
                name = next(frames[-1].children, None)
                if name is None:
                    frames.pop()
                    handles.leave()
                elif name != ROOT_NAME and (below := self._enter(handles, frames[-1], name)):
                    frames.append(below)
        finally:
            handles.close()

    def _enter(self, handles: Handles, above: _Frame, name: bytes) -> _Frame | None:
        """Go down into a directory and capture what is in it."""
        try:
            here = handles.enter(name)
        except Moved:
            self._problems.add(above.key.replace(b"\0", b"/"), "was moved while being read")
            above.children = iter(())
            return None
        except OSError as wrong:
            self._problems.failed(path_of(above.key, name), wrong)
            return None
        key = above.key + b"\0" + name if above.key else name
        return _Frame(key, iter(self._directory(key, handles.fd, here)))

    def _directory(self, key: bytes, fd: int, here: os.stat_result) -> Iterable[bytes]:
        """Capture the entries of one open directory; return the names of the directories among them."""
        self._key = self._taker.directory = key
        self._progress.current = key.replace(b"\0", b"/").decode(errors="replace")
        try:
            names = self._lister.names(key, fd, here)
        except OSError as wrong:
            self._problems.failed(key.replace(b"\0", b"/"), wrong)
            names = () if key else (ROOT_NAME,)
        self._old.enter(key)
        children = Spool(self._lister.spill)
        for cut in gather(fd, names, here.st_dev, self._ordinal, self._problems, key):
            self._block(fd, cut, children)
        return children

    def _ordinal(self, device: int) -> int:
        """The number of a file system: 0 for the root's, the others in order of appearance."""
        return self._file_systems.setdefault(device, len(self._file_systems))

    def _single_file(self) -> None:
        folder, name = os.path.split(self._path)
        fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            file = os.stat(name, dir_fd=fd, follow_symlinks=False)
            cut = Cut(0, [ROOT_NAME], [row_of(file)], newest_ns=file.st_ctime_ns, files=1, bytes=file.st_size)
            cut.alias = name
            self._block(fd, cut, Spool(self._lister.spill))
        finally:
            os.close(fd)

    # ----------------------------------------------------------------------------------------------------- one block

    def _block(self, fd: int, cut: Cut, children: Spool) -> None:
        names, rows = b"\0".join(cut.names), b"".join(cut.rows)
        old = self._old.exactly(cut.file_system, cut.names[0], names, rows)
        if old is None or not self._old.block_holds(old, cut.newest_ns):
            children.extend(self._changed_block(fd, cut))
            return
        self._tree.add(old.block)
        children.extend(cut.directories)
        totals, progress = self._totals, self._progress
        totals.files += cut.files
        totals.bytes += cut.bytes
        totals.directories += len(cut.directories)
        totals.others += len(cut.names) - cut.files - len(cut.directories)
        progress.files += cut.files
        progress.bytes += cut.bytes

    def _changed_block(self, fd: int, cut: Cut) -> list[bytes]:
        """A cut that is not wholly an old block: entry by entry. Returns the directories among them."""
        overlap = self._old.between(cut.names[0], cut.names[-1])
        writer = self._tree.open = BlockWriter(self._key, cut.file_system)
        directories: list[bytes] = []
        for name, row in zip(cut.names, cut.rows, strict=True):
            entry, version = overlap.entries.get(name, (None, None))
            if entry and version and entry.row == row and self._old.entry_holds(entry, version):
                writer.add(name, row, entry.content, entry.refs, entry.inline, entry.extra)
                self._progress.bytes += entry.size
            else:
                taken = self._taker.take(fd, cut.alias or name, ROW.unpack(row)[0])
                if taken is None:
                    self._lost(name)
                    continue
                writer.add(name, *taken)
                row = taken[0]
                self._totals.changed_files += stat.S_ISREG(ROW.unpack(row)[0])
            if self._count(row):
                directories.append(name)
            if writer.full:
                self._end_block(writer, overlap)
                writer = self._tree.open = BlockWriter(self._key, cut.file_system)
        self._end_block(writer, overlap)
        return directories

    def _end_block(self, writer: BlockWriter, overlap: Overlap) -> None:
        self._tree.open = None
        if len(writer):
            block = writer.block()
            old = overlap.blocks.get(block.first)
            self._tree.add(old if old and block.same_as(old) else block)

    def _lost(self, name: bytes) -> None:
        if name == ROOT_NAME:  # then there is nothing to protect
            reason = self._problems.listed[-1].reason if self._problems.listed else "it is gone"
            raise KnowngoodError(f"cannot read {os.fsdecode(self._path)}: {reason}")

    def _count(self, row: bytes) -> bool:
        """Count an entry of a changed block. True for a directory."""
        fields = ROW.unpack(row)
        if stat.S_ISREG(fields[0]):
            self._totals.files += 1
            self._totals.bytes += fields[_SIZE]
            self._progress.files += 1
        elif stat.S_ISDIR(fields[0]):
            self._totals.directories += 1
            return True
        else:
            self._totals.others += 1
        return False
