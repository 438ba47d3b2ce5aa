"""A disk between a run and a power cut: what is durable for certain, and what may be.

The rules are those that POSIX leaves and a careful program may count on, weaker than what ext4, XFS and btrfs do
(docs/decisions/0022):

- `fsync` of a file makes its bytes and its length durable, and none of its names.
- `fsync` of a folder makes its entries durable, and nothing in them.
- Whatever was not synced is lost or kept, each operation by itself, in any combination; only one name's own changes
  keep their order. Of a write, each sector is kept or lost by itself, and the length apart from all of them.
- A rename is atomic, and durable with a sync of either folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from knowngood.testing.crash.operations import KEPT, LOST, Operation, What, shapes

_SCRATCH_KEPT = 48  # operations in scratch folders that may still be lost; older ones have long been written back


@dataclass(frozen=True, slots=True)
class Image:
    """What lies on a disk: files by path, and folders. Paths are relative."""

    files: dict[str, bytes]
    folders: frozenset[str]
    key: int  # equal where all but the scratch folders is equal


@dataclass(slots=True)
class _Nodes:
    """Files and folders by number."""

    files: dict[int, bytes] = field(default_factory=dict[int, bytes])
    folders: dict[int, dict[str, int]] = field(default_factory=dict[int, dict[str, int]])

    def fork(self) -> _Nodes:
        """A copy that can be changed by itself."""
        return _Nodes(dict(self.files), {node: dict(entries) for node, entries in self.folders.items()})

    def carry_out(self, operation: Operation, outcome: int = KEPT) -> None:
        """What became of an operation."""
        if outcome == LOST:
            return
        if operation.what == What.WRITE:
            self._write(operation, outcome)
        elif operation.what == What.SIZE:
            content, size = self.files.get(operation.node, b""), operation.offset
            self.files[operation.node] = content[:size] + bytes(max(0, size - len(content)))
        elif operation.what == What.LINK:
            if operation.is_folder:
                self.folders.setdefault(operation.target, {})
            else:
                self.files.setdefault(operation.target, b"")
            self.folders[operation.node][operation.name] = operation.target
        elif operation.what == What.UNLINK:
            self.folders[operation.node].pop(operation.name, None)
        elif operation.what == What.RENAME:
            if operation.target not in self.folders:
                self.files.setdefault(operation.target, b"")
            self.folders[operation.node].pop(operation.name, None)
            self.folders[operation.folder][operation.new_name] = operation.target

    def _write(self, operation: Operation, outcome: int) -> None:
        content = self.files.get(operation.node, b"")
        kept, size = shapes(operation)[outcome]
        grown = bytearray(content)
        if size is not None and size > len(grown):
            grown += bytes(size - len(grown))
        for begin, end in kept:
            stop = min(end, len(grown))
            if stop > begin:
                grown[begin:stop] = operation.data[begin - operation.offset : stop - operation.offset]
        self.files[operation.node] = bytes(grown)


class Disk:
    """Carries out a record, operation by operation.

    `scratch` are folders whose content matters to nobody after a cut. What is in them is made like all else, but two
    states that differ there only count as one.
    """

    def __init__(self, root: Path, scratch: Sequence[str] = ()) -> None:
        """All that is there now is durable."""
        self._root = root
        self._scratch = frozenset(scratch)
        self._durable = _Nodes()
        self.pending: list[Operation] = []  # what may be lost, in order
        self.scratched: list[Operation] = []  # the same, in scratch folders
        self._named: set[int] = set()  # files that ever had a name outside of scratch folders
        self._scratch_nodes: set[int] = set()
        self._paths: dict[int, str] = {}
        self._walk(root, "")
        self.highest = max(self._durable.folders.keys() | self._durable.files.keys())
        """The highest number that a file or folder ever had: none is used again."""

    def _walk(self, root: Path, path: str) -> int:
        numbers: dict[tuple[int, int], int] = {}

        def number(found: os.stat_result) -> int:
            return numbers.setdefault((found.st_dev, found.st_ino), len(numbers) + 1)

        def walk(folder: Path, path: str) -> int:
            node = number(folder.stat())
            self._know(node, path)
            entries = self._durable.folders.setdefault(node, {})
            for each in os.scandir(folder):
                below = f"{path}/{each.name}" if path else each.name
                if each.is_dir(follow_symlinks=False):
                    entries[each.name] = walk(folder / each.name, below)
                else:
                    entries[each.name] = file = number(each.stat(follow_symlinks=False))
                    self._durable.files[file] = (folder / each.name).read_bytes()
                    if node not in self._scratch_nodes:
                        self._named.add(file)
            return node

        return walk(root, path)

    def _know(self, node: int, path: str) -> None:
        self._paths[node] = path
        if path in self._scratch:
            self._scratch_nodes.add(node)

    # -------------------------------------------------------------------------------------------------- feeding

    def feed(self, operation: Operation) -> None:
        """The next operation."""
        if operation.what == What.SYNC:
            self._sync(operation.node)
            return
        if operation.what == What.MARK:
            return
        self.highest = max(self.highest, operation.node, operation.target)
        if operation.is_folder:
            above = self._paths.get(operation.node, "")
            self._know(operation.target, f"{above}/{operation.name}" if above else operation.name)
            self._durable.folders.setdefault(operation.target, {})
        if operation.what in (What.LINK, What.RENAME) and not self._is_scratch(operation):
            self._name(operation.target)
        if self._is_scratch(operation):
            self.scratched.append(operation)
            while len(self.scratched) > _SCRATCH_KEPT:
                self._durable.carry_out(self.scratched.pop(0))
        else:
            self.pending.append(operation)

    def _name(self, file: int) -> None:
        """A file gets a name that matters: so does what was written to it before."""
        if file not in self._named:
            self._named.add(file)
            self.pending += [
                each for each in self.scratched if each.what in (What.WRITE, What.SIZE) and each.node == file
            ]
            self.scratched = [each for each in self.scratched if each not in self.pending]

    def _is_scratch(self, operation: Operation) -> bool:
        if operation.what in (What.WRITE, What.SIZE):
            return operation.node not in self._named
        folders = {operation.node, operation.folder or operation.node}
        return folders <= self._scratch_nodes

    def _sync(self, node: int) -> None:
        """All that was done to a file or folder so far is durable; and with a rename, what led to it."""
        nodes = {node}
        for waiting in (self.pending, self.scratched):
            going: list[Operation] = []
            for each in reversed(waiting):
                if each.node in nodes or each.folder in nodes:
                    going.append(each)
                    nodes |= {each.node, each.folder} - {0}
            for each in reversed(going):
                self._durable.carry_out(each)
            gone = set(map(id, going))
            waiting[:] = [each for each in waiting if id(each) not in gone]

    # --------------------------------------------------------------------------------------------------- images

    def image(self, outcomes: Sequence[int], scratch: Sequence[int] = ()) -> Image:
        """What is left after a cut, when this became of `pending`, and this of `scratched` (by default all is lost)."""
        nodes = self._durable.fork()
        for operation, outcome in zip(self.scratched, scratch, strict=False):
            nodes.carry_out(operation, outcome)
        for operation, outcome in zip(self.pending, outcomes, strict=True):
            nodes.carry_out(operation, outcome)
        files: dict[str, bytes] = {}
        folders: set[str] = set()
        for path, node, is_folder in self._below(nodes, 1, ""):
            if is_folder:
                folders.add(path)
            else:
                files[path] = nodes.files[node]
        counted = [(path, content) for path, content in files.items() if path.rpartition("/")[0] not in self._scratch]
        return Image(files, frozenset(folders), hash((frozenset(counted), frozenset(folders))))

    def _below(self, nodes: _Nodes, node: int, path: str) -> Iterator[tuple[str, int, bool]]:
        for name, each in nodes.folders[node].items():
            below = f"{path}/{name}" if path else name
            is_folder = each in nodes.folders
            yield below, each, is_folder
            if is_folder:
                yield from self._below(nodes, each, below)

    def now(self) -> Image:
        """What is there without any cut."""
        return self.image([KEPT] * len(self.pending), [KEPT] * len(self.scratched))

    def nodes(self) -> dict[str, int]:
        """The number of everything that is there without any cut."""
        nodes = self._durable.fork()
        for operation in (*self.scratched, *self.pending):
            nodes.carry_out(operation)
        return {"": 1} | {path: node for path, node, _ in self._below(nodes, 1, "")}

    def differences(self) -> list[str]:
        """The paths at which the real folder is not what the record says: what was done there and never recorded."""
        said, found = self.now(), Disk(self._root).now()
        paths = said.files.keys() ^ found.files.keys() | said.folders ^ found.folders
        paths |= {path for path in said.files.keys() & found.files.keys() if said.files[path] != found.files[path]}
        return sorted(paths)

    def path(self, node: int) -> str:
        """Where a file or folder lies without any cut."""
        return next((path for path, each in self.nodes().items() if each == node), f"a file without a name ({node})")
