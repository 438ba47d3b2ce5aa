"""History: every version of a path. Where there is a log, each change is one; elsewhere what differs between points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from knowngood.core.errors import Damaged, NotFound, Unsupported, UsageError
from knowngood.core.ids import Name
from knowngood.core.instants import SECOND
from knowngood.core.log import LogRecord, Operation
from knowngood.core.model import Checkpoint, Point
from knowngood.flow.look import inside
from knowngood.flow.moment import After, Stand, after
from knowngood.flow.parts import Parts
from knowngood.flow.past import ATTRIBUTES, CONTENT, Past
from knowngood.flow.source import Source, source
from knowngood.tree.block import Entry
from knowngood.tree.namespace import place_of
from knowngood.tree.read import TreeReader, key_of

ABSENT, CREATED, WRITTEN, RENAMED, CHANGED, DELETED = (
    "absent",
    "created",
    "written",
    "renamed",
    "attributes",
    "deleted",
)
_TOGETHER = SECOND
"""Changes of one file that follow its version within this time are part of it."""


@dataclass(frozen=True, slots=True)
class Version:
    """A path as it was from one moment on. `entry` is None when it was not there.

    `other` is the other path of a rename. `point` is the first that showed it; None where the log says exactly when it
    was: `sequence` then is the number of its record.
    """

    component: str
    moment_ns: int
    cause: str
    entry: Entry | None
    point: Point | None = None
    sequence: int | None = None
    other: bytes | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """From when on the changes of a component are not known, and why. They are again from the next point on."""

    component: str
    after_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class History:
    """The versions of a path, oldest first, and where some may be missing."""

    versions: list[Version]
    unknown: list[Unknown]


def history(points: list[Point], component: str | None, path: str, parts: Parts) -> History:
    """Every version of a path in these points and in the logs between and after them.

    Raises UsageError when the path is in more than one component.
    """
    ordered = sorted(points, key=lambda each: each.received_ns)
    found: list[History] = []
    with parts.vault.session("look", reading=True) as session:
        pages = source(parts, session)
        for name in _components(ordered, component, parts):
            track = _Track(name, path, pages, parts)
            versions = list(track.versions(ordered))
            found.append(History(versions, track.unknown))
    held = [each for each in found if any(version.entry for version in each.versions)]
    if len(held) > 1:
        names = ", ".join(each.versions[0].component for each in held)
        raise UsageError(f"'{path}' is in more than one component", hint=f"choose with --component: {names}")
    return held[0] if held else History([], [each for one in found for each in one.unknown])


def _components(points: list[Point], component: str | None, parts: Parts) -> list[str]:
    names = dict.fromkeys(
        parts.catalog.checkpoint(mark.checkpoint).component for point in points for mark in point.marks
    )
    return [each for each in names if component in (None, each)]


class _Track:
    """One path through the past of one component. Memory: what replay takes."""

    def __init__(self, component: str, path: str, pages: Source, parts: Parts) -> None:
        self.unknown: list[Unknown] = []
        self._component = component
        self._path = path
        self._pages = pages
        self._parts = parts
        self._past: Past | None = None
        self._timeline = b""
        self._key = b""
        self._last: Version | None = None
        self._root = b""  # of the tree that was looked at last
        self._leaf: tuple[bytes, Name | None] | None = None  # the path in its tree, and the leaf in which it can be
        self._found: Entry | None = None  # what is there
        self._held: Version | None = None  # the last one of the log, which may yet grow

    def versions(self, points: list[Point]) -> Iterator[Version]:
        """All of them, oldest first."""
        for point in points:
            stand = self._stand(point)
            if stand is None or stand.checkpoint.timeline != self._timeline:
                yield from self._follow(None)
                self._past = None
            elif self._past is not None:
                if stand.position is not None:
                    yield from self._follow(stand.sequence)
                if self._past is not None:
                    continue  # the log says all that this point could
            yield from self._seen(point, stand)
            self._begin(stand)
        yield from self._follow(None)

    def _stand(self, point: Point) -> Stand | None:
        for mark in point.marks:
            checkpoint = self._parts.catalog.checkpoint(mark.checkpoint)
            if checkpoint.component == self._component:
                return Stand(point, checkpoint)
        return None

    # ---------------------------------------------------------------------------------------------------- points

    def _seen(self, point: Point, stand: Stand | None) -> Iterator[Version]:
        """The path at a point; a tree that is the same as the one before is not read again."""
        if stand is not None and stand.checkpoint.root == self._root and self._last is not None:
            return
        self._root = stand.checkpoint.root if stand else b""
        entry = self._entry(stand.checkpoint) if stand else None
        last = self._last
        if last is not None and _same(last, entry):
            return
        before = last.entry if last else None
        cause = _cause(before, entry) if last or entry else ABSENT
        self._last = Version(self._component, point.moment_ns, cause, entry, point)
        yield self._last

    def _entry(self, checkpoint: Checkpoint) -> Entry | None:
        """The entry in a tree. A leaf that is the same as in the tree before is not read again."""
        tree, inner = TreeReader(Name(checkpoint.root), self._pages.page), inside(checkpoint, self._path)
        leaf = tree.leaf_of(inner)
        if self._leaf != (inner, leaf):
            self._leaf, self._found = (inner, leaf), None
            with suppress(NotFound):
                self._found = tree.lookup(inner)
        return self._found

    # ------------------------------------------------------------------------------------------------------- log

    def _begin(self, stand: Stand | None) -> None:
        """Follow the log from a point on, if there is one."""
        self._timeline = stand.checkpoint.timeline if stand else b""
        if stand is not None and after(stand, self._parts) == After.LOG:
            self._key = key_of(inside(stand.checkpoint, self._path))
            self._past = Past(stand, self._pages, self._parts)
            self._root = b""

    def _follow(self, before: int | None) -> Iterator[Version]:
        """The versions that the log brings up to a record's number. Where it breaks, it is left."""
        past = self._past
        if past is None:
            return
        try:
            for record in past.records(before):
                version = self._apply(past, record)
                if version is None:
                    continue
                if self._held is not None and (joined := _joined(self._held, version)):
                    self._held = joined
                    continue
                yield from self._release()
                self._held = version
        except (NotFound, Damaged, Unsupported) as wrong:
            self.unknown.append(Unknown(self._component, past.clock.last_ns, wrong.message))
            self._past = None
        yield from self._release()

    def _release(self) -> Iterator[Version]:
        if self._held is not None:
            self._last, self._held = self._held, None
            yield self._last

    def _apply(self, past: Past, record: LogRecord) -> Version | None:
        """Carry out a record; the version that it makes of the path."""
        before = past.find(self._key)
        past.apply(record)
        item = past.find(self._key)
        if item is before:
            if item is None or record.operation not in (*CONTENT, *ATTRIBUTES) or past.find(record.path) is not item:
                return None
            cause = WRITTEN if record.operation in CONTENT else CHANGED
        else:
            cause = {Operation.RENAME: RENAMED, Operation.UNLINK: DELETED}.get(Operation(record.operation), CREATED)
        other = self._other(record) if cause == RENAMED else None
        directory, name = place_of(self._key)
        entry = replace(item.entry, directory=directory, name=name) if item else None
        return Version(self._component, record.time_ns, cause, entry, None, record.sequence, other)

    def _other(self, record: LogRecord) -> bytes | None:
        """Where the path was before a rename, or is after it."""
        for here, there in ((record.path, record.second), (record.second, record.path)):
            if self._key == here or self._key.startswith(here + b"\0"):
                return (there + self._key[len(here) :]).replace(b"\0", b"/")
        return None


def _joined(first: Version, then: Version) -> Version | None:
    """One version of two that are hardly apart; None when they are two."""
    if then.cause not in (WRITTEN, CHANGED) or first.cause not in (CREATED, WRITTEN, CHANGED):
        return None
    if not 0 <= then.moment_ns - first.moment_ns <= _TOGETHER:
        return None
    cause = WRITTEN if (first.cause, then.cause) == (CHANGED, WRITTEN) else first.cause
    return replace(first, cause=cause, entry=then.entry, sequence=then.sequence)


def _same(last: Version, entry: Entry | None) -> bool:
    """Whether a point shows what is known already. What a log told says nothing of where the content is."""
    before = last.entry
    if before is None or entry is None:
        return before is entry
    if last.point is None:
        return _look(before) == _look(entry)
    return _print(before) == _print(entry)


def _look(entry: Entry) -> tuple[int, ...]:
    return entry.mode, entry.uid, entry.gid, entry.size, entry.mtime_ns


def _print(entry: Entry) -> tuple[object, ...]:
    return entry.row, entry.refs, entry.inline, entry.extra


def _cause(before: Entry | None, entry: Entry | None) -> str:
    if before is None or entry is None:
        return DELETED if entry is None else CREATED
    content = (before.refs, before.inline, before.size) != (entry.refs, entry.inline, entry.size)
    return WRITTEN if content else CHANGED
