"""From one timeline of a server to the next, after a failover: a standby was promoted and goes on with the log.

A timeline's first segment begins with a copy of what it branched off from. A server that recovers reads that segment
once it finds the timeline's history file. So the whole copy, up to where the new timeline goes its own way, comes in
one piece, and the history file behind it: no moment has half of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from knowngood.databases.steps import Begin, Settle, Step, Write
from knowngood.kinds.postgres import layout
from knowngood.kinds.postgres.link import Link, one_row
from knowngood.kinds.postgres.place import Position
from knowngood.wire.pglog import branches


def history_file(link: Link, timeline: int) -> tuple[bytes, bytes]:
    """Name and content of the file that tells where a timeline comes from. Raises Refused, Away, Damaged."""
    name, content = one_row(link.ask(f"TIMELINE_HISTORY {timeline}"), 2)
    return name.encode(), content.encode()


def leads_on(link: Link, at: Position, timeline: int) -> bool:
    """Whether a later timeline of the same server goes on from a place, without leaving out anything before it.

    Raises as `history_file`.
    """
    end = branches(history_file(link, timeline)[1]).get(at.timeline)
    return end is not None and at.lsn <= end


def switched(at: Position, data: bytes, history: tuple[bytes, bytes]) -> Iterator[Step]:
    """The steps from the end of a timeline, `at`, which is moved on, to the next one. These bytes of it have come, from
    its first segment's beginning on."""
    name, content = history
    if at.lsn % at.segment:
        yield Settle(layout.LOG + at.history.file(at.lsn))
    at.timeline, at.lsn = int(name[:8], 16), at.history.floor(at.lsn)
    yield from at.advance(data)
    path = layout.LOG + name
    yield Begin(path)
    yield Write(path, 0, content)
    yield Settle(path)
