"""Undelete: find what was deleted, and bring chosen things back to where they were. What is there is never touched."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from knowngood.core.errors import Damaged, Exists, NotFound, Unsupported, UsageError
from knowngood.core.ids import Name
from knowngood.core.log import LogRecord, Operation
from knowngood.core.model import Point
from knowngood.core.ports import Recovered
from knowngood.flow.history import Unknown
from knowngood.flow.look import inside
from knowngood.flow.moment import After, Aim, Moment, Stand, after, stands_of
from knowngood.flow.parts import Parts
from knowngood.flow.past import ATTRIBUTES, CONTENT, Past
from knowngood.flow.points import latest_point
from knowngood.flow.recover import Agree, ComponentPlan, Wish, carry_out, make_plan, request_for
from knowngood.flow.related import Related
from knowngood.flow.source import Source, source
from knowngood.flow.state import states
from knowngood.tree.block import Entry
from knowngood.tree.diff import diff
from knowngood.tree.namespace import Item, place_of
from knowngood.tree.read import TreeReader, within
from knowngood.vault.log_reader import LogReader, Until

_STATES = 32  # that are open at once, while somebody thinks about the plan


@dataclass(frozen=True, slots=True)
class Deleted:
    """Something that was deleted, as it was at last: in every state from before record `since` to before `sequence`.

    Without `sequence`, no log tells when: it is in the checkpoint of `stand`, and not in the one after. `is_there`:
    something is at its path now. `only`: the records from the checkpoint on that have to be replayed to have it;
    None: all.
    """

    stand: Stand
    entry: Entry
    moment_ns: int
    since: int
    sequence: int | None
    is_there: bool
    only: Related | None = None

    @property
    def component(self) -> str:
        """The component it was in."""
        return self.stand.checkpoint.component


@dataclass(frozen=True, slots=True)
class Found:
    """What was deleted, the oldest first, and where something may be missing."""

    deleted: list[Deleted]
    unknown: list[Unknown]


def find_deleted(service: str, since_ns: int, component: str | None, parts: Parts, paths: Sequence[str] = ()) -> Found:
    """What was deleted from a moment on, each path as it was the last time. What a rename replaced does not count.

    With `paths`, all that they mean is found, and of other things maybe not all: of the log, only what concerns them is
    replayed. Memory: about 1 KiB for each. Raises NotFound, Locked.
    """
    point, stands = latest_point(parts, service), stands_of(parts, service)
    found = Found([], [])
    with parts.vault.session("look", reading=True) as session:
        pages = source(parts, session)
        for mark in point.marks:
            ordered = stands[mark.timeline]
            if component in (None, ordered[-1].checkpoint.component):
                search = _Search(ordered, since_ns, pages, parts, paths)
                found.deleted.extend(sorted(search.run(), key=lambda each: each.moment_ns))
                found.unknown.extend(search.unknown)
    return found


class _Entangled(Exception):
    """What concerns some paths cannot be replayed by itself: a file was written to under another name."""


class _Search:
    """Goes through one timeline: its log where there is one, the difference between checkpoints elsewhere."""

    def __init__(
        self, stands: Sequence[Stand], since_ns: int, pages: Source, parts: Parts, paths: Sequence[str]
    ) -> None:
        self.unknown: list[Unknown] = []
        self._stands = stands
        self._since_ns = since_ns
        self._pages = pages
        self._parts = parts
        self._paths = paths
        self._found: dict[bytes, Deleted] = {}
        self._earlier: set[bytes] = set()  # what the log says was deleted before the moment

    def run(self) -> Iterable[Deleted]:
        """All that was deleted, by path."""
        before = [at for at, each in enumerate(self._stands) if each.checkpoint.finished_ns <= self._since_ns]
        reached, previous = -1, None
        for stand in self._stands[before[-1] if before else 0 :]:
            if previous is not None and not 0 <= stand.sequence <= reached:
                self._points(previous, stand)
            if stand.sequence > reached and after(stand, self._parts) == After.LOG:
                reached = self._log(stand)
            previous = stand
        return self._found.values()

    def _points(self, stand: Stand, following: Stand) -> None:
        """What the next checkpoint does not have any more, nor under another name."""
        trees = (TreeReader(Name(each.checkpoint.root), self._pages.page) for each in (stand, following))
        gone: list[Entry] = []
        came: set[tuple[int, int]] = set()
        for old, new in diff(*trees):
            if old is None and new is not None:
                came.add((new.file_system, new.inode))
            elif new is None and old is not None and old.key not in self._found and old.key not in self._earlier:
                gone.append(old)
        for entry in gone:
            if (entry.file_system, entry.inode) not in came:
                self._note(stand, entry, following.checkpoint.finished_ns, 0, None)

    def _log(self, stand: Stand) -> int:
        """What the log from a checkpoint on tells of; returns how far it led."""
        if self._paths:
            found, earlier, unknown = dict(self._found), set(self._earlier), list(self.unknown)
            only = self._concerned(stand)
            with suppress(_Entangled):
                reached = self._replayed(stand, only)
                mine = (each.entry for each in self._found.values() if each.only is only)
                if all(map(only.is_certain_of, mine)):
                    return reached
            self._found, self._earlier, self.unknown = found, earlier, unknown
        return self._replayed(stand, None)

    def _concerned(self, stand: Stand) -> Related:
        """Which records have to be replayed for what the paths mean."""

        def wanted(record: LogRecord) -> bool:
            if record.operation != Operation.UNLINK:
                return False
            return any(_means(path, stand, record.path) for path in self._paths)

        assert stand.position is not None
        reader = LogReader(self._parts.vault, self._parts.catalog, self._parts.private())
        return Related(_whole_ones(reader.records(stand.checkpoint.timeline, stand.position)), wanted)

    def _replayed(self, stand: Stand, only: Related | None) -> int:
        """Replay the log from a checkpoint on, or only what has to be."""
        past = Past(stand, self._pages, self._parts, only)
        touched: dict[Item, int] = {}
        moved = stand.sequence  # the first record after which no folder was renamed
        try:
            for record in past.records():
                item = past.find(record.path)
                if record.operation == Operation.UNLINK and item is not None:
                    since = max(moved, touched.get(item, moved))
                    self._unlinked(stand, _named(item, record.path), record, since, only)
                past.apply(record)
                moved = self._touch(past, record, touched, moved)
        except (NotFound, Damaged, Unsupported) as wrong:
            if only is not None and isinstance(wrong, Damaged):
                raise _Entangled from wrong
            component = stand.checkpoint.component
            self.unknown.append(Unknown(component, past.clock.last_ns, wrong.message))
            return past.sequence - 1  # a checkpoint at the very place of a break may be where the next chain begins
        return past.sequence

    def _unlinked(self, stand: Stand, entry: Entry, record: LogRecord, since: int, only: Related | None) -> None:
        if record.time_ns < self._since_ns:
            self._earlier.add(entry.key)
        else:
            self._note(stand, entry, record.time_ns, since, record.sequence, only)

    @staticmethod
    def _touch(past: Past, record: LogRecord, touched: dict[Item, int], moved: int) -> int:
        is_rename = record.operation == Operation.RENAME
        if is_rename or record.operation in (*CONTENT, *ATTRIBUTES, Operation.CREATE, Operation.LINK):
            for path in (record.path, record.second) if is_rename else (record.path,):
                item = past.find(path)
                if item is not None:
                    touched[item] = record.sequence + 1
                    if is_rename and item.folder is not None:
                        moved = record.sequence + 1
        return moved

    def _note(
        self, stand: Stand, entry: Entry, at_ns: int, since: int, sequence: int | None, only: Related | None = None
    ) -> None:
        there = os.path.lexists(_place(stand, entry))
        self._found.pop(entry.key, None)
        self._found[entry.key] = Deleted(stand, entry, at_ns, since, sequence, there, only)


def _whole_ones(records: Iterator[LogRecord]) -> Iterator[LogRecord]:
    """The records up to where the log breaks: whoever replays them says why."""
    with suppress(NotFound, Damaged, Unsupported):
        yield from records


def _named(item: Item, key: bytes) -> Entry:
    directory, name = place_of(key)
    return replace(item.entry, directory=directory, name=name)


def _place(stand: Stand, entry: Entry) -> bytes:
    return os.path.join(os.fsencode(stand.checkpoint.source), entry.path)


# ------------------------------------------------------------------------------------------------------- bringing back


def chosen(found: Found, paths: Iterable[str]) -> list[Deleted]:
    """Those that paths or patterns mean, with all that was below them, and that are not there now.

    Raises NotFound for one that means nothing, Exists when all that it means is there.
    """
    wanted: dict[int, Deleted] = {}
    for path in paths:
        meant = [each for each in found.deleted if _means(path, each.stand, each.entry.key)]
        if not meant:
            raise NotFound(f"nothing that was deleted is called '{path}'", hint="leave --path out to see what was")
        if all(each.is_there for each in meant):
            raise Exists(
                f"'{path}' is there again", hint="to get the old one beside it: knowngood recover --path … --to DIR"
            )
        wanted |= {id(each): each for each in meant if not each.is_there}
    return list(wanted.values())


def _means(path: str, stand: Stand, key: bytes) -> bool:
    """Whether a path or pattern means what is at a key, or something above it."""
    wanted = inside(stand.checkpoint, path)
    there = key.replace(b"\0", b"/")
    if there == wanted or there.startswith(wanted + b"/"):
        return True
    return fnmatch.fnmatchcase(there if b"/" in wanted else place_of(key)[1], wanted)


def undelete(service: str, deleted: list[Deleted], parts: Parts, agree: Agree) -> list[tuple[ComponentPlan, Recovered]]:
    """Plan, ask, and bring back. Raises Exists when something came to be in the way, and writes nothing then."""
    point, stands = latest_point(parts, service), stands_of(parts, service)
    _refuse_what_is_there(deleted)
    with ExitStack() as opened:
        plans: list[ComponentPlan] = []
        for aim, group in _groups(deleted, stands):
            plans.append(_plan(point, aim, group, parts, opened))
        if not agree(plans):
            return []
        _refuse_what_is_there(deleted)
        return [(each, carry_out(each, parts)) for each in plans]


def _refuse_what_is_there(deleted: list[Deleted]) -> None:
    for each in deleted:
        place, source = _place(each.stand, each.entry), os.fsencode(each.stand.checkpoint.source)
        above = os.path.dirname(place)
        while len(above) > len(source) and not os.path.lexists(above):
            above = os.path.dirname(above)
        is_folder = len(above) <= len(source) or (os.path.isdir(above) and not os.path.islink(above))
        _refuse(os.path.lexists(place) or not is_folder, each.entry.path)


def _refuse(is_there: bool, path: bytes) -> None:
    if is_there:
        what = f"something is in the way of '{os.fsdecode(path)}'"
        raise Exists(what, hint="nothing was written; look at it, and run it again")


def _plan(point: Point, aim: Aim, group: list[Deleted], parts: Parts, opened: ExitStack) -> ComponentPlan:
    only = group[0].only if all(each.only is group[0].only for each in group) else None
    (state,) = opened.enter_context(states(Moment(point, (aim,)), None, parts, "undelete", only))
    tree = TreeReader(Name(state.checkpoint.root), state.pages.page)
    paths = tuple(os.fsdecode(each.replace(b"\0", b"/")) for each in _whole({each.entry.key for each in group}, tree))
    planned = make_plan(state, request_for(state, Wish(paths=paths), parts), parts)
    plan = planned.plan
    _refuse(bool(plan.rewrite or plan.attributes or plan.same or plan.delete), os.fsencode(paths[0]))
    return planned


def _whole(keys: set[bytes], tree: TreeReader) -> list[bytes]:
    """Paths that bring just these back: a folder as a whole where all below it is wanted, so that it is as it was."""
    found: list[bytes] = []
    for key in sorted(keys, key=lambda each: each.split(b"\0")):
        if found and within(key, found[-1]):
            continue
        directory, name = place_of(key)
        entry = tree.find(directory, name)
        if entry is None:
            continue
        if not entry.is_directory or all(each.key in keys for each in tree.entries(key)):
            found.append(key)
    return found


def _groups(deleted: list[Deleted], stands: dict[bytes, list[Stand]]) -> Iterator[tuple[Aim, list[Deleted]]]:
    """The fewest states that have all of them, each as it was at last. Raises UsageError when those are too many."""
    plain: dict[bytes, list[Deleted]] = {}
    logged: dict[bytes, list[Deleted]] = {}
    for each in deleted:
        checkpoint = each.stand.checkpoint
        place = plain.setdefault(checkpoint.id, []) if each.sequence is None else logged.setdefault(checkpoint.id, [])
        place.append(each)
    groups = [(Aim(some[0].stand), some) for some in plain.values()]
    for some in logged.values():
        groups += _stabbed(some, stands[some[0].stand.checkpoint.timeline])
    if len(groups) > _STATES:
        raise UsageError(f"these are spread over {len(groups)} states", hint="choose fewer at a time with --path")
    yield from groups


def _stabbed(deleted: list[Deleted], stands: list[Stand]) -> list[tuple[Aim, list[Deleted]]]:
    """Files in as few states as can be; folders come along, those that were empty have a state as files do."""
    files = {each.entry.key: each for each in deleted if not each.entry.is_directory}
    above = {key[:at] for key in files for at, byte in enumerate(key) if not byte}
    folders = [each for each in deleted if each.entry.is_directory]
    alone = [each for each in folders if each.entry.key not in above]
    groups: list[tuple[Aim, list[Deleted]]] = []
    ordered = sorted((*files.values(), *alone), key=_end)
    while ordered:
        at = _end(ordered[0])
        some = [each for each in ordered if each.since <= at]
        ordered = [each for each in ordered if each.since > at]
        base = [each for each in stands if some[0].stand.sequence <= each.sequence <= at]
        along = [each for each in folders if each not in alone and each.since <= at <= _end(each)]
        groups.append((Aim(base[-1], Until(sequence=at)), [*some, *along]))
    return groups


def _end(deleted: Deleted) -> int:
    return deleted.sequence if deleted.sequence is not None else -1
