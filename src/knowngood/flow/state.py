"""States: the components of a service as they were at a moment, ready to be read. A checkpoint is one; with its log
replayed on it, every moment is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from msgspec.structs import replace

from knowngood.core.errors import Damaged, NotFound, Unsupported
from knowngood.core.ids import Name, short
from knowngood.core.instants import SECOND, iso_text, when_text
from knowngood.core.log import NO_FRAME, LogRecord
from knowngood.core.model import Checkpoint, Level
from knowngood.core.ports import PageSource
from knowngood.flow.moment import Aim, Moment, Stand, stands_of
from knowngood.flow.parts import Parts
from knowngood.flow.related import Related
from knowngood.flow.scratch import FileScratch
from knowngood.flow.source import source
from knowngood.seal.codec import Codec, decode
from knowngood.tree.replay import Replay
from knowngood.vault.log_reader import LogReader

_METHOD = "each component by itself: its log up to one moment, by the clock of its host"


@dataclass(frozen=True, slots=True)
class State:
    """One component as it was, open for reading. `checkpoint` is the one it was made from, with the root of this state.

    `changes` records were replayed; `sequence` is the number of the next one, None where no log took part. `last_ns` is
    when the last change was captured, or the checkpoint finished. `covered`: the log goes on after it, so nothing that
    happened before the moment is missing. `set_back_ns` is how far the clock went back in between, at most.
    """

    stand: Stand
    checkpoint: Checkpoint
    pages: PageSource
    last_ns: int
    changes: int = 0
    sequence: int | None = None
    covered: bool = False
    thinned: bool = False
    set_back_ns: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the components together. `at_ns`: nothing later is inside; `spread_ns` None: not known."""

    at_ns: int
    level: str
    method: str
    spread_ns: int | None


@contextmanager
def states(
    moment: Moment, component: str | None, parts: Parts, purpose: str, only: Related | None = None
) -> Iterator[list[State]]:
    """The components of a moment, or one of them, readable while the block lasts. With `only`, what it does not concern
    is as in the checkpoint, or half changed.

    Raises NotFound where what happened before the moment is not all known, Damaged where it cannot be read: both say
    which moments before and after can be had.
    """
    aims = moment.chosen(component)
    with parts.vault.session(purpose, reading=True) as session, ExitStack() as opened:
        pages = source(parts, session)
        scratches = [opened.enter_context(scratch_of(each, parts)) for each in aims]
        yield [open_state(moment, *each, pages, parts, only) for each in zip(aims, scratches, strict=True)]


def scratch_of(aim: Aim, parts: Parts) -> FileScratch:
    """What the state of a component takes to be open: it is thrown away after it."""
    return FileScratch(lambda: parts.state_dir(aim.stand.checkpoint.timeline))


def evidence(moment: Moment, opened: list[State]) -> Evidence:
    """How these states are one moment: as their point says, or each cut off by time."""
    point = moment.point
    if moment.asked_ns is None and all(each.stand.point == point and not each.changes for each in opened):
        spread = point.evidence.get("spread-seconds")
        method = point.evidence.get("method", "")
        return Evidence(point.moment_ns, point.level, method, int(float(spread) * SECOND) if spread else None)
    times = [each.last_ns for each in opened]
    at_ns = max(times) if moment.asked_ns is None else moment.asked_ns
    return Evidence(at_ns, Level.CUT, _METHOD, max(times) - min(times))


def evidence_of_aims(moment: Moment) -> Evidence:
    """The same, of a moment that is not open: without what only its logs tell."""
    point = moment.point
    if moment.asked_ns is None and all(each.until is None and each.stand.point == point for each in moment.aims):
        return Evidence(point.moment_ns, point.level, point.evidence.get("method", ""), None)
    return Evidence(moment.asked_ns or point.moment_ns, Level.CUT, _METHOD, None)


def open_state(
    moment: Moment, aim: Aim, scratch: FileScratch, pages: PageSource, parts: Parts, only: Related | None = None
) -> State:
    """The state of one component, in a session that `pages` reads in; the scratch is its own. `only` as in `states`,
    which raises the same."""
    checkpoint = aim.stand.checkpoint
    position = aim.stand.position
    if aim.until is None or position is None:
        return State(aim.stand, checkpoint, pages, checkpoint.finished_ns, thinned=aim.thinned)
    parts.progress.enter(f"replaying the log of {checkpoint.component}")
    replay = Replay(Name(checkpoint.root), pages, scratch, expand, position.sequence)
    seen = Clock(checkpoint.finished_ns)
    reader = LogReader(parts.vault, parts.catalog, parts.private())
    try:
        for record in reader.records(checkpoint.timeline, position, aim.until):
            (replay.apply if only is None or only.concerns(record) else replay.pass_over)(record)
            seen.note(record)
    except (NotFound, Damaged, Unsupported) as wrong:
        raise _unreachable(moment, aim, parts, wrong, replay.sequence, seen) from wrong
    newest = parts.catalog.log.newest(checkpoint.timeline)
    covered = newest is not None and replay.sequence < newest.end
    changes = replay.sequence - position.sequence
    root, there = replay.state() if changes else (checkpoint.root, pages)
    return State(
        aim.stand,
        replace(checkpoint, root=root),
        there,
        seen.last_ns,
        changes,
        replay.sequence,
        covered,
        set_back_ns=seen.set_back_ns,
    )


def expand(data: bytes, length: int) -> bytes:
    """zstd data → exactly so many bytes. Raises Damaged."""
    return decode(Codec.ZSTD, data, length)


class Clock:
    """What the times of records were, one after the other."""

    def __init__(self, start_ns: int) -> None:
        self.last_ns = start_ns
        self.latest_ns = 0  # of all records
        self.set_back_ns = 0

    def note(self, record: LogRecord) -> None:
        """One more record."""
        self.set_back_ns = max(self.set_back_ns, self.last_ns - record.time_ns)
        self.last_ns = record.time_ns
        self.latest_ns = max(self.latest_ns, record.time_ns)


def _unreachable(
    moment: Moment, aim: Aim, parts: Parts, wrong: NotFound | Damaged | Unsupported, sequence: int, seen: Clock
) -> NotFound | Damaged | Unsupported:
    """The error, with the nearest moments that can be had."""
    checkpoint = aim.stand.checkpoint
    wanted = "the newest state" if moment.asked_ns is None else when_text(moment.asked_ns, fraction=3)
    message = f"{wanted} of '{checkpoint.component}' cannot be made: {wrong.message}"
    recover = f"knowngood recover {moment.point.service} --at "
    # The moment of the last good record is none that can be had: what was lost may have happened in it.
    before = seen.latest_ns - 1
    if before >= checkpoint.finished_ns:
        hints = [f"the nearest before: {recover}{iso_text(before)}"]
    else:
        hints = [f"the nearest before: {recover}{short(aim.stand.point.id)}"]
    following = next_stand(stands_of(parts, moment.point.service, checkpoint.timeline), aim.stand, sequence)
    if following is None:
        hints.append(f"there is none after it yet; to make one: knowngood protect {moment.point.service}")
    else:
        when = when_text(following.point.moment_ns)
        hints.append(f"the nearest after, of {when}: {recover}{short(following.point.id)}")
    kind = next(each for each in (NotFound, Damaged, Unsupported) if isinstance(wrong, each))
    return kind(message, hint="; ".join(hints))


def next_stand(stands: dict[bytes, list[Stand]], base: Stand, sequence: int) -> Stand | None:
    """The first checkpoint after a break in the log of which `sequence` is the first record that is not known."""
    for each in stands.get(base.checkpoint.timeline, ()):
        position = each.position
        if position is None or each.checkpoint.id == base.checkpoint.id:
            continue
        if position.sequence > sequence or (position.sequence == sequence and position.frame == NO_FRAME):
            return each
    return None
