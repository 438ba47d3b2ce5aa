"""Look: inside moments, without recovering anything."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from knowngood.core.buffers import Buffer
from knowngood.core.errors import NotFound, UsageError
from knowngood.core.ids import Name
from knowngood.core.model import Checkpoint
from knowngood.core.ports import PageSource
from knowngood.flow.moment import Moment
from knowngood.flow.parts import Parts
from knowngood.flow.state import State, states
from knowngood.tree.block import Content, Entry, Extra
from knowngood.tree.diff import diff
from knowngood.tree.read import TreeReader


@dataclass(frozen=True, slots=True)
class View:
    """One component at one moment, open for looking."""

    state: State
    tree: TreeReader

    @property
    def checkpoint(self) -> Checkpoint:
        """The state as a checkpoint."""
        return self.state.checkpoint


@contextmanager
def views(moment: Moment, component: str | None, parts: Parts) -> Iterator[list[View]]:
    """The components of a moment, open for as long as the block lasts. Raises as `states` does."""
    with states(moment, component, parts, "look") as opened:
        yield [View(each, TreeReader(Name(each.checkpoint.root), each.pages.page)) for each in opened]


def only(opened: list[View], path: str) -> View:
    """The one component that a path without a component can mean. Raises NotFound, UsageError."""
    if len(opened) == 1:
        return opened[0]
    holders = [view for view in opened if _holds(view, path)]
    if len(holders) == 1:
        return holders[0]
    names = ", ".join(view.checkpoint.component for view in (holders or opened))
    if not holders:
        raise NotFound(f"no component has '{path}'", hint=f"look with: knowngood find; components: {names}")
    raise UsageError(f"'{path}' is in more than one component", hint=f"choose with --component: {names}")


def inside(checkpoint: Checkpoint, path: str) -> bytes:
    """A path as a person writes it, absolute or below the component's root → below the root."""
    source = checkpoint.source.rstrip("/")
    if path == source or path.startswith(source + "/"):
        path = path[len(source) :]
    return path.strip("/").encode("utf-8", "surrogateescape")


def _holds(view: View, path: str) -> bool:
    try:
        view.tree.lookup(inside(view.checkpoint, path))
    except NotFound:
        return False
    return True


def listing(view: View, path: str, *, below: bool, after: bytes = b"") -> Iterator[Entry]:
    """The entries of a directory that come after a name, or of all below it; a file lists itself. Raises NotFound."""
    entry = view.tree.lookup(inside(view.checkpoint, path))
    if not entry.is_directory:
        yield entry
    elif below:
        yield from (each for each in view.tree.entries(entry.key) if each.key != entry.key)
    else:
        yield from view.tree.directory(entry.key, after)


def find(view: View, pattern: str) -> Iterator[Entry]:
    """Entries whose name, or whose path when the pattern has a `/`, matches a shell pattern."""
    wanted = pattern.encode("utf-8", "surrogateescape")
    by_path = b"/" in wanted
    wanted = wanted.lstrip(b"/")
    for entry in view.tree.entries():
        if entry.key and fnmatch.fnmatchcase(entry.path if by_path else entry.name, wanted):
            yield entry


def content(view: View, path: str) -> Iterator[Buffer]:
    """The bytes of a file, holes as zeros. Raises NotFound, UsageError."""
    entry = view.tree.lookup(inside(view.checkpoint, path))
    if not entry.is_file:
        raise UsageError(f"'{path}' is not a regular file", hint="list it with: knowngood ls")
    yield from file_content(view.tree, view.state.pages, entry)


def file_content(tree: TreeReader, pages: PageSource, entry: Entry) -> Iterator[Buffer]:
    """The bytes of a regular file's entry, holes as zeros."""
    if entry.content == Content.INLINE:
        yield entry.inline
        return
    stream = (memoryview(pages.chunk(Name(name))) for name, _ in tree.chunks(entry))
    at, rest = 0, memoryview(b"")
    for offset, length in entry.extents():
        yield from _zeros(offset - at)
        at = offset + length
        while length:
            rest = rest or next(stream)
            piece, rest = rest[:length], rest[length:]
            length -= len(piece)
            yield piece
    yield from _zeros(entry.size - at)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, 1 << 20))
        count -= 1 << 20


def differences(before: View, after: View) -> Iterator[tuple[Entry | None, Entry | None]]:
    """What differs between a component at two moments.

    Where a log was replayed, the same content can be in other chunks: then it is read, and compared.
    """
    replayed = before.state.changes or after.state.changes
    for old, new in diff(before.tree, after.tree):
        if replayed and old is not None and new is not None:
            alike = _alike(before, old, after, new)
            if alike != old:
                yield old, alike
        else:
            yield old, new


def _alike(before: View, old: Entry, after: View, new: Entry) -> Entry:
    """The new entry, with what says nothing of a difference as in the old one: where content is, unknown times."""
    if not (old.ctime_ns and new.ctime_ns):
        new = replace(new, ctime_ns=old.ctime_ns)
    if not (old.is_file and new.is_file) or old.size != new.size or old.refs == new.refs:
        return new
    if not _same_bytes(
        file_content(before.tree, before.state.pages, old), file_content(after.tree, after.state.pages, new)
    ):
        return new
    extra = Extra(old.extra.lengths, old.extra.extents, new.extra.xattrs, new.extra.flags, new.extra.rdev)
    return replace(new, content=old.content, refs=old.refs, inline=old.inline, extra=extra)


def _same_bytes(left: Iterator[Buffer], right: Iterator[Buffer]) -> bool:
    """Whether two streams of the same length have the same bytes. Memory: one chunk of each."""
    one = other = memoryview(b"")
    while True:
        one, other = one or _next(left), other or _next(right)
        count = min(len(one), len(other))
        if not count:
            return True
        if one[:count] != other[:count]:
            return False
        one, other = one[count:], other[count:]


def _next(stream: Iterator[Buffer]) -> memoryview:
    for piece in stream:
        if len(piece):
            return memoryview(piece)
    return memoryview(b"")
