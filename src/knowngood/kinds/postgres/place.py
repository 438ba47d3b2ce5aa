"""Places in the log of one server, and the steps by which bytes of it become segment files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec

from knowngood.core.errors import Unsupported
from knowngood.databases.steps import Begin, Settle, Step, Write
from knowngood.kinds.postgres import layout
from knowngood.kinds.postgres.link import Link, one_row
from knowngood.wire.pglog import PAGE, History, parse_lsn


class Position(msgspec.Struct, array_like=True):
    """A place in the log of a server: whose log, and how many bytes of it."""

    system: int
    timeline: int
    segment: int
    lsn: int

    @property
    def history(self) -> History:
        """Whose log it is."""
        return History(self.system, self.timeline, self.segment)

    def advance(self, data: bytes) -> Iterator[Step]:
        """The bytes that come here, as parts of segment files; this is the place after them then."""
        history, view = self.history, memoryview(data)
        while view:
            path, offset = layout.LOG + history.file(self.lsn), self.lsn % history.segment
            part = view[: history.segment - offset]
            if not offset:
                yield Begin(path, history.segment)
            yield Write(path, offset, bytes(part))
            self.lsn, view = self.lsn + len(part), view[len(part) :]
            if not self.lsn % history.segment:
                yield Settle(path)

    def encoded(self) -> bytes:
        """What `decoded` reads."""
        return msgspec.msgpack.encode(self)


def decoded(position: bytes) -> Position:
    """A place that was `encoded`."""
    return msgspec.msgpack.decode(position, type=Position)


def identify(link: Link) -> tuple[History, int]:
    """Whose log a server has, and where it is in it. Raises Unsupported."""
    system, timeline, place, *_ = one_row(link.ask("IDENTIFY_SYSTEM"), 3)
    segment = _bytes(one_row(link.ask("SHOW wal_segment_size"), 1)[0])
    page = _bytes(one_row(link.ask("SHOW wal_block_size"), 1)[0])
    if page != PAGE:
        raise Unsupported(f"this PostgreSQL was built with log pages of {page} bytes, and {PAGE} are understood")
    return History(int(system), int(timeline), segment), parse_lsn(place)


_UNITS = {"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


def _bytes(shown: str) -> int:
    """`16MB`, as SHOW says it."""
    with suppress(ValueError):
        return int(shown[:-2]) * _UNITS.get(shown[-2:], 0) or int(shown)
    return 0
