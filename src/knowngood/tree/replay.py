"""Replays a log on a tree: records one after the other, and then the state as a tree of its own, readable on demand.

Nothing is written: what changed is held as pieces of the base's chunks, of what the log brought, of holes. See
docs/format.md, section Log frames and segments, for what each record means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from knowngood.core.errors import Damaged, NotFound, Unsupported
from knowngood.core.ids import Name
from knowngood.core.log import LogRecord, Operation
from knowngood.core.ports import PageSource
from knowngood.tree.assemble import assemble
from knowngood.tree.block import NO_EXTRA, Entry
from knowngood.tree.edit import Change, edit
from knowngood.tree.namespace import Item, Namespace
from knowngood.tree.net import Net
from knowngood.tree.operations import Expand, Operations
from knowngood.tree.overlay import OverlaySource
from knowngood.tree.read import TreeReader
from knowngood.tree.sources import Scratch, Sources

_PAGES = 160  # of the base tree that are kept decoded, of about 200 KiB each
_CHUNKS = 4  # of the base that are kept, of 4 MiB at most each
_WHY = {1: "the log overflowed", 2: "capture was not running"}


class ChangesLost(NotFound):
    """The moment lies behind a gap in the log: what happened in between was not captured.

    `sequence` is where replay had to stop: the number of the first record that was not replayed.
    """

    def __init__(self, why: str, sequence: int) -> None:
        super().__init__(
            f"this moment cannot be made: {why} before it",
            hint="choose a moment before the gap, or a point after it",
        )
        self.sequence = sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Until:
    """Where replay ends: before the record of this number, after the last one of this moment (ns), at this mark.

    One of them at most; without any, at the end of the log.
    """

    sequence: int | None = None
    time_ns: int | None = None
    mark: bytes | None = None

    def ends_before(self, record: LogRecord) -> bool:
        """Whether a record is the first beyond the target."""
        if self.sequence is not None:
            return record.sequence >= self.sequence
        return self.time_ns is not None and record.time_ns > self.time_ns


END = Until()
"""The end of the log."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A state that replay came to.

    `changes` are to be taken once, in order, before replay goes on; `source` has the content of their entries, and
    reads from base and scratch as long as it is used.
    """

    changes: Iterator[Change]
    source: OverlaySource
    sequence: int  # number of the next record
    time_ns: int  # of the last record that was replayed; 0 when there was none


class Replay:
    """A base tree, and what changes on it. After an error only throwing it away is left.

    Memory: 60 MiB at most, about 1.5 KiB for each entry that was touched, and for each MiB of a file that was
    written to at most 512 pieces of about 200 bytes. How long the log is does not matter.
    """

    def __init__(self, root: Name, pages: PageSource, scratch: Scratch, expand: Expand, sequence: int) -> None:
        """`sequence` is the number of the first record after the base; `expand` unpacks zstd to a given length."""
        self.sequence = sequence
        self.time_ns = 0
        self._root = root
        self._pages = pages
        self._scratch = scratch
        self._sources = Sources(pages, scratch, _CHUNKS)
        self._names = Namespace(TreeReader(root, pages.page, _PAGES))
        self._operations = Operations(self._names, self._sources, scratch, expand)

    def run(self, records: Iterable[LogRecord], until: Until = END) -> None:
        """Replay records, which begin with the one of number `sequence`, up to a target.

        Raises ChangesLost when a gap or a break in the numbers comes first, NotFound when the log ends before a mark
        or number does, Damaged when a record cannot be carried out, Unsupported when it is of an unknown kind.
        """
        for record in records:
            if until.ends_before(record) and not _hides(record, until):
                return
            self.apply(record)
            if record.operation == Operation.MARK and record.second == until.mark:
                return
        if until.mark is not None:
            raise NotFound(f"the log does not have the mark {until.mark.hex()[:8]}")
        if until.sequence is not None and self.sequence < until.sequence:
            raise NotFound(f"the log ends before record {until.sequence}, at {self.sequence}")

    def apply(self, record: LogRecord) -> None:
        """Carry out one record. Raises as `run` does."""
        self._expect(record)
        try:
            self._operations.carry_out(record)
        except (Damaged, Unsupported) as wrong:
            wrong.message = f"record {record.sequence} of the log: {wrong.message}"
            raise
        self._passed(record)

    def pass_over(self, record: LogRecord) -> None:
        """Leave one record out: it concerns nothing that anybody will ask for. Raises as `run` does."""
        self._expect(record)
        self._passed(record)

    def _expect(self, record: LogRecord) -> None:
        if record.sequence > self.sequence:
            raise ChangesLost(f"records {self.sequence} to {record.sequence - 1} are missing", self.sequence)
        if record.sequence < self.sequence:
            raise Damaged(f"the log repeats record {record.sequence}")
        if record.operation == Operation.GAP:
            raise ChangesLost(_WHY.get(record.value, "changes were lost"), self.sequence)

    def _passed(self, record: LogRecord) -> None:
        self.sequence += 1
        self.time_ns = record.time_ns

    def find(self, key: bytes) -> Item | None:
        """What is at a key now, if anything is: the same item as long as it is the same thing, wherever it moves.

        Its entry is right but for where the content is, and changes as replay goes on.
        """
        return self._names.look(key)

    def finish(self) -> Replayed:
        """The state so far. Replay may go on afterwards, once the changes were taken."""
        self._names.meet_links()
        source = OverlaySource(self._pages, self._scratch)
        net = Net(self._names, TreeReader(self._root, self._pages.page), _Finisher(source, self._sources))
        return Replayed(net.changes(), source, self.sequence, self.time_ns)

    def state(self) -> tuple[Name, OverlaySource]:
        """The state so far as a tree: its root, and a source of its pages and chunks."""
        found = self.finish()
        return edit(self._root, self._pages.page, found.source.put, found.changes), found.source


def _hides(record: LogRecord, until: Until) -> bool:
    """Whether changes up to the moment may have been lost in a gap that was noted after it."""
    return until.time_ns is not None and record.operation == Operation.GAP


class _Finisher:
    """Describes the content of changed items; that of one with several names once."""

    def __init__(self, overlay: OverlaySource, sources: Sources) -> None:
        self._overlay = overlay
        self._sources = sources
        self._linked: dict[tuple[int, int], tuple[Item, Entry]] = {}

    def __call__(self, item: Item) -> Entry:
        """The entry. Raises Damaged when two files with several names have one inode: they would become one."""
        entry = item.entry
        if entry.links < 2 or not entry.is_file:
            return self._described(item)
        inode = entry.file_system, entry.inode
        if inode not in self._linked:
            self._linked[inode] = item, self._described(item)
        known, entry = self._linked[inode]
        if known is not item:
            raise Damaged(f"the log has two files of the same inode, {inode[1]}")
        return entry

    def _described(self, item: Item) -> Entry:
        if item.pieces is None:
            return item.entry
        content, refs, inline, lengths, extents = assemble(item.pieces, self._overlay, self._sources)
        entry = item.entry.at(item.entry.directory, item.entry.name)
        entry.content, entry.refs, entry.inline = content, refs, inline
        if entry.extra is not NO_EXTRA or lengths or extents:
            entry.extra = msgspec.structs.replace(entry.extra, lengths=lengths, extents=extents)
        return entry
