"""A checkpoint made of the one before: what changed since is taken again, into the sink, and put into its tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from knowngood.core.ids import Name
from knowngood.core.log import LogRecord
from knowngood.core.model import Totals
from knowngood.core.ports import CaptureContext, Captured, ChunkSink
from knowngood.kinds.files.capture.basis import Basis
from knowngood.kinds.files.capture.growing import put_page
from knowngood.kinds.files.follow.feed import Place
from knowngood.kinds.files.follow.known import Known, State
from knowngood.kinds.files.follow.quiet import Rows, take_quietly
from knowngood.kinds.files.follow.tools import Taken, Tools
from knowngood.tree.block import Content, Entry
from knowngood.tree.edit import Change, edit


@dataclass(frozen=True, slots=True)
class Base:
    """The checkpoint on which the log goes on. `devices` are the numbers of its file systems."""

    checkpoint: bytes
    started_ns: int
    totals: Totals
    devices: dict[int, int]


@dataclass(frozen=True, slots=True)
class Advanced:
    """A checkpoint, what was read for it, and the records that are missing until it."""

    captured: Captured
    base: Base
    taken: Taken
    rows: Rows
    updates: Mapping[Place, Known | None]
    records: Sequence[LogRecord]


def advance(
    tools: Tools,
    moved: Callable[[Taken], Rows | None],
    state: State,
    basis: Basis,
    base: Base,
    context: CaptureContext,
    seen: Mapping[Place, bytes | None],
    first: int,
    time_ns: int,
    level: str,
) -> Advanced:
    """Make a checkpoint of what is known and what was seen to have changed; `moved` looks for what changes meanwhile.

    Raises BasisDamaged; what the sink raises.

    The basis holds it when this returns, and trusts it once it is promoted.
    """
    sink, started_ns = context.sink, tools.clock()
    basis.begin(context.checkpoint_id, started_ns, tools.path, context.trusted)

    def put(refs: bytes, body: bytes) -> Name:
        return put_page(sink, basis, refs, body)

    def take(rows: Rows, before: Taken | None) -> Taken:
        with tools.folders() as folders:
            return tools.take(folders, state, basis, sink, put, rows, before, whole=True)

    rows, taken, quiet = take_quietly({**not_there(state, sink), **seen}, take, moved)
    records = taken.order.records(first, time_ns)
    updates = taken.order.updates()
    final = {**dict(state.changed()), **updates}
    root = edit(state.root, basis.pages.get, put, _changes(final))
    basis.finish(root)
    totals = _totals(base.totals, state, final)
    totals.read_bytes = taken.read_bytes
    captured = Captured(root, level, totals, taken.problems.listed, taken.problems.count)
    captured.instant = "quiet" if quiet else ""
    return Advanced(
        captured, Base(context.checkpoint_id, started_ns, totals, base.devices), taken, rows, updates, records
    )


def not_there(state: State, sink: ChunkSink) -> dict[Place, bytes | None]:
    """What was followed and whose content is in the log only, or in no form that a tree has."""
    return {
        place: known.entry.row
        for place, known in state.changed()
        if known and not (known.exact and _has_content(known.entry, sink))
    }


def _has_content(entry: Entry, sink: ChunkSink) -> bool:
    if entry.content == Content.LIST:
        return False  # its pages would have to be asked too
    return all(sink.known(Name(name)) for name in entry.names())


def _changes(final: Mapping[Place, Known | None]) -> Iterator[Change]:
    for place in sorted(final):
        known = final[place]
        yield Change(*place, known.entry if known else None)


def _totals(before: Totals, state: State, final: Mapping[Place, Known | None]) -> Totals:
    totals = replace(before, changed_files=0, read_bytes=0, landed_bytes=0)
    for place, known in final.items():
        old = state.base(place)
        _count(totals, old.entry if old else None, -1)
        _count(totals, known.entry if known else None, 1)
        totals.changed_files += bool(known and known.entry.is_file)
    return totals


def _count(totals: Totals, entry: Entry | None, by: int) -> None:
    if entry is None:
        return
    if entry.is_file:
        totals.files += by
        totals.bytes += by * entry.size
    elif entry.is_directory:
        totals.directories += by
    else:
        totals.others += by
