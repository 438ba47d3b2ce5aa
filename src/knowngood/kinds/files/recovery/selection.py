"""Which part of a checkpoint is wanted: all of it, exact paths, or patterns. Hands out groups of entries in tree order.

Folders above what is wanted come along, marked as only passed through. A leaf page that is damaged is skipped: what
the other pages hold is still recovered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import msgspec

from knowngood.core.errors import Damaged, KnowngoodError, NotFound, UsageError
from knowngood.core.model import Checkpoint
from knowngood.kinds.files.exclude import Exclusions
from knowngood.tree.block import ROOT_NAME, Block, Entry
from knowngood.tree.page import Child
from knowngood.tree.read import TreeReader, within

OnDamage = Callable[[Child, KnowngoodError], None]
_GLOB = re.compile(r"[*?\[]")
_HINT = "look with: knowngood ls; patterns are such as 'mail/*.eml' or '**/report.pdf'"


@dataclass(slots=True)
class Group:
    """Entries of one directory, in order of names."""

    directory: bytes
    entries: list[Entry]  # wanted
    passing: list[Entry] = field(default_factory=list)  # folders on the way to what is wanted


class Selection:
    """What of a checkpoint is wanted."""

    def __init__(self, reader: TreeReader, checkpoint: Checkpoint, paths: Iterable[str]) -> None:
        """Raises UsageError for words that cannot be meant, NotFound for an exact path that is not there."""
        self._reader = reader
        self._root = reader.lookup(b"")
        self._file_name = b"" if self._root.is_directory else os.path.basename(os.fsencode(checkpoint.source))
        self._exact: dict[bytes, Entry] = {}
        self._patterns: list[tuple[str, Exclusions]] = []  # the same language as that of exclusions
        self._unmet: set[str] = set()
        self.is_whole = True
        wanted = [(path, _relative(path, checkpoint.source)) for path in paths]
        if self._file_name:
            for path, relative in wanted:
                if relative not in (b"", self._file_name):
                    raise _not_there(path)
        elif wanted and all(relative for _, relative in wanted):
            self.is_whole = False
            for path, relative in wanted:
                self._add(path, relative)

    @property
    def is_file(self) -> bool:
        """Whether the component is a single file and not a folder."""
        return bool(self._file_name)

    @property
    def is_exact(self) -> bool:
        """Whether only exact paths are wanted."""
        return not self.is_whole and not self._patterns

    @property
    def root(self) -> Entry | None:
        """The entry of the root folder; None when the component is a single file."""
        return None if self._file_name else self._root

    def _add(self, path: str, relative: bytes) -> None:
        try:
            entry = self._reader.lookup(relative)
        except NotFound:
            if not _GLOB.search(path):
                raise _not_there(path) from None
            self._patterns.append((path, _pattern(path, relative)))
            self._unmet.add(path)
        else:
            self._exact[entry.key] = entry

    def groups(self, on_damage: OnDamage) -> Iterator[Group]:
        """Everything that is wanted, in tree order. Raises Damaged."""
        if self._file_name:
            yield Group(b"", [replace(self._root, name=self._file_name, directory=b"")])
        elif self.is_whole:
            for block in blocks(self._reader, b"", on_damage):
                yield Group(block.directory, entries_of(block))
        elif self._patterns:
            yield from self._matching(on_damage)
        else:
            yield from self._exactly(on_damage)

    # ------------------------------------------------------------------------------------------------ exact paths

    def _exactly(self, on_damage: OnDamage) -> Iterator[Group]:
        tops = [entry for key, entry in sorted(self._exact.items()) if not self._is_below_another(key)]
        skeleton: dict[bytes, dict[bytes, tuple[Entry, bool]]] = {b"": {ROOT_NAME: (self._root, False)}}
        for entry in tops:
            above = b""
            for part in entry.directory.split(b"\0") if entry.directory else ():
                inside = skeleton.setdefault(above, {})
                if part not in inside:
                    path = (above + b"\0" + part if above else part).replace(b"\0", b"/")
                    inside[part] = (self._reader.lookup(path), False)
                above = above + b"\0" + part if above else part
            skeleton.setdefault(entry.directory, {})[entry.name] = (entry, True)
        ahead = sorted([(key, False) for key in skeleton] + [(entry.key, True) for entry in tops if entry.is_directory])
        for key, is_whole in ahead:
            if is_whole:
                for block in blocks(self._reader, key, on_damage):
                    yield Group(block.directory, entries_of(block))
            else:
                here = [found for _, found in sorted(skeleton[key].items())]
                passing = [each for each, wanted in here if not wanted]
                yield Group(key, [each for each, wanted in here if wanted], passing)

    def _is_below_another(self, key: bytes) -> bool:
        return any(above in self._exact for above in _above(key))

    # --------------------------------------------------------------------------------------------------- patterns

    def _matching(self, on_damage: OnDamage) -> Iterator[Group]:
        for block in blocks(self._reader, b"", on_damage):
            entries = entries_of(block)
            if self._is_inside(block.directory):
                yield Group(block.directory, entries)
                continue
            above = block.directory.replace(b"\0", b"/") + b"/" if block.directory else b""
            group = Group(block.directory, [], [])
            for entry in entries:
                if entry.name != ROOT_NAME and self._is_met(above, entry.name, entry.is_directory, entry.key):
                    group.entries.append(entry)
                elif entry.is_directory:
                    group.passing.append(entry)
            yield group

    def _is_inside(self, directory: bytes) -> bool:
        """Whether a directory, or one above it, is wanted as a whole."""
        for key in (*_above(directory), directory):
            above, _, name = key.replace(b"\0", b"/").rpartition(b"/")
            if key and self._is_met(above + b"/" if above else b"", name, True, key):
                return True
        return False

    def _is_met(self, above: bytes, name: bytes, is_directory: bool, key: bytes) -> bool:
        if key in self._exact:
            return True
        for text, pattern in self._patterns:
            if pattern.match(above, name, is_directory):
                self._unmet.discard(text)
                return True
        return False

    def check_met(self) -> None:
        """Once all groups have come: raises NotFound when a pattern met nothing."""
        if self._unmet:
            raise _not_there("', '".join(sorted(self._unmet)))


def _above(key: bytes) -> Iterator[bytes]:
    """The keys of all directories above one, from the top; the root's left out."""
    at = key.find(b"\0")
    while at >= 0:
        yield key[:at]
        at = key.find(b"\0", at + 1)


def _relative(path: str, source: str) -> bytes:
    raw = os.fsencode(path)
    if raw.startswith(b"/"):
        above = os.fsencode(source).rstrip(b"/")
        if raw.rstrip(b"/") != above and not raw.startswith(above + b"/"):
            raise NotFound(f"'{path}' is not below {source}", hint=f"name paths below {source}")
        raw = raw[len(above) :]
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    if b".." in parts or b"\0" in raw:
        raise UsageError(f"'{path}' is not a path in a checkpoint", hint=_HINT)
    return b"/".join(parts)


def _pattern(path: str, relative: bytes) -> Exclusions:
    anchor = "/" if path.startswith("/") else ""
    end = "/" if path.endswith("/") else ""
    try:
        return Exclusions([anchor + os.fsdecode(relative) + end])
    except UsageError as wrong:
        raise UsageError(f"'{path}' is not a path or pattern", hint=wrong.hint) from None


def _not_there(path: str) -> NotFound:
    return NotFound(f"the checkpoint has no '{path}'", hint=_HINT)


def blocks(reader: TreeReader, above: bytes, on_damage: OnDamage) -> Iterator[Block]:
    """The blocks of a directory and all below it. A damaged leaf is told of and skipped, unless it is all there is."""
    for leaf in reader.leaves(above):
        try:
            found = reader.leaf(leaf)
        except (Damaged, NotFound) as wrong:
            if leaf.page == reader.root:
                raise
            on_damage(leaf, wrong)
            continue
        for block in found:
            if within(block.directory, above):
                yield block


def entries_of(block: Block) -> list[Entry]:
    """The entries of a block. Raises Damaged when its columns contradict each other."""
    try:
        return list(block.entries())
    except (ValueError, msgspec.MsgspecError) as wrong:
        raise Damaged(f"a page of the tree contradicts itself: {wrong}") from None
