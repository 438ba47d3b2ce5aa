"""What earlier captures knew of a directory, met in the order in which the walk comes by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from knowngood.core.ids import Name
from knowngood.kinds.files.capture.basis import Basis, Place, Version
from knowngood.kinds.files.capture.remembered import mapped, names_of
from knowngood.kinds.files.settled import certainly_settled, settled
from knowngood.tree.block import Block, Content, Entry
from knowngood.tree.build import logical_bytes
from knowngood.tree.page import Child, decode_leaf, decode_list

Known = Callable[[Name], bool]


@dataclass(frozen=True, slots=True)
class OldBlock:
    """A block, and the capture that made it."""

    block: Block
    version: Version

    @property
    def last(self) -> bytes:
        """Its last name."""
        return self.block.names.rpartition(b"\0")[2]

    @property
    def place(self) -> Place:
        """Its last entry."""
        return self.block.directory, self.last


@dataclass(frozen=True, slots=True)
class Overlap:
    """Old entries by name, and the blocks they are in by first name."""

    entries: dict[bytes, tuple[Entry, Version]]
    blocks: dict[bytes, Block]


class OldTree:
    """The blocks of earlier captures. Directories must be entered in tree order."""

    def __init__(self, basis: Basis, versions: list[Version], known: Known, know: Callable[[Child], None]) -> None:
        """`known` asks the vault for a name; `know` is told of each leaf that is in it."""
        self._basis = basis
        self._known = known
        self._know = know
        self._directory = b""
        self._ahead = self._blocks(versions)
        self._head = next(self._ahead, None)

    def _blocks(self, versions: list[Version]) -> Iterator[OldBlock]:
        after: Place = (b"", b"")
        for version in versions:
            for leaf in self._basis.leaves(version):
                blocks = self._leaf(leaf)
                fresh = [old for block in blocks if (old := OldBlock(block, version)).place > after]
                if fresh and leaf.level == 0 and (version.trusted or self._known(leaf.page)):
                    self._know(leaf if leaf.entries else _described(leaf, blocks))
                yield from fresh
            after = max(after, version.upto)

    def _leaf(self, leaf: Child) -> list[Block]:
        refs, body = self._basis.pages.get(leaf.page)
        with mapped():
            return decode_leaf(refs, body, page=leaf.page if leaf.level == 0 else b"")

    def enter(self, directory: bytes) -> None:
        """Go to a directory."""
        self._directory = directory
        while self._head is not None and self._head.block.directory < directory:
            self._head = next(self._ahead, None)

    def _skip_before(self, name: bytes) -> None:
        while self._head is not None and self._head.block.directory == self._directory and self._head.last < name:
            self._head = next(self._ahead, None)

    def exactly(self, file_system: int, first: bytes, names: bytes, rows: bytes) -> OldBlock | None:
        """The block of these names and rows in this directory, if there was one. Ask in ascending order."""
        head = self._head
        if head is not None and head.block.rows != rows:
            self._skip_before(first)
            head = self._head
        if head is None or head.block.rows != rows or head.block.names != names:
            return None
        same = head.block.directory == self._directory and head.block.file_system == file_system
        return head if same else None

    def between(self, first: bytes, last: bytes) -> Overlap:
        """What was known of the names from `first` to `last`. Ask in ascending order."""
        found = Overlap({}, {})
        self._skip_before(first)
        while self._head is not None and self._head.block.directory == self._directory:
            head = self._head
            if head.block.first > last:
                break
            found.blocks.setdefault(head.block.first, head.block)
            for entry in head.block.entries():
                found.entries.setdefault(entry.name, (entry, head.version))
            if head.last > last:
                break  # the next names may lie in it too
            self._head = next(self._ahead, None)
        return found

    def block_holds(self, old: OldBlock, newest_ns: int) -> bool:
        """Whether a block with equal rows, whose latest time of change is this, can be taken as it is, unseen."""
        if newest_ns >= certainly_settled(old.version.started_ns):
            return False
        if old.version.trusted:
            return True
        if Content.LIST in old.block.contents:
            return False  # one by one then
        return all(self._known(Name(name)) for name in set(names_of(old.block.refs)))

    def entry_holds(self, entry: Entry, version: Version) -> bool:
        """Whether an entry with an equal row can be taken as it is."""
        if not settled(entry.ctime_ns, version.started_ns):
            return False
        return version.trusted or self.content_known(entry.content, entry.names())

    def content_known(self, content: int, names: list[bytes]) -> bool:
        """Whether the vault has all of these chunks, or list pages and all that is in them."""
        if content != Content.LIST:
            return self.known_count(names) == len(names)
        return all(self.page_known(page) and self.known_part(page)[2] for page in names)

    def page_known(self, page: bytes) -> bool:
        """Whether the vault has a page; what it refers to is another question."""
        return self._known(Name(page))

    def known_part(self, page: bytes) -> tuple[list[bytes], list[int], bool]:
        """The chunks of a list page, names and lengths, up to the first that the vault lacks; whether that is all."""
        if not self._basis.pages.has(page):
            return [], [], False
        refs, body = self._basis.pages.get(Name(page))
        with mapped():
            names, lengths = decode_list(refs, body)
        count = self.known_count(names)
        return names[:count], lengths[:count], count == len(names)

    def known_count(self, names: list[bytes]) -> int:
        """How many of these chunks the vault has, from the first on."""
        for count, name in enumerate(names):
            if not self._known(Name(name)):
                return count
        return len(names)


def _described(leaf: Child, blocks: list[Block]) -> Child:
    """A leaf with what a node says of it."""
    entries = sum(block.count for block in blocks)
    size = sum(logical_bytes(block) for block in blocks)
    return Child(leaf.page, 0, blocks[0].directory, blocks[0].first, entries, size)
