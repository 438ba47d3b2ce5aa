"""PostgreSQL's write-ahead log: places in it, its segment files, the chain of its pages (xlog_internal.h, 15 to 17).

Every page says where it is in which timeline of which history. A page that says anything else is not what comes next.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from knowngood.core.errors import Damaged

PAGE = 8192
"""Bytes of a page; a server built with another size is refused."""

_HEADER = struct.Struct("=HHIQI")  # magic, flags, timeline, address of the page, bytes of a record that goes on here
_LONG = struct.Struct("=HHIQI4xQII")  # of a segment's first page: and system, bytes of a segment, bytes of a page
_IS_LONG = 0x0002
_MAGIC = 0xD1  # the low byte is that of the version


def lsn_text(lsn: int) -> str:
    """`0/3000028`, as PostgreSQL writes a place in its log."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """`0/3000028` → bytes from the beginning of the log. Raises Damaged."""
    high, slash, low = text.partition("/")
    try:
        found = (int(high, 16) << 32) | int(low, 16)
    except ValueError:
        found = -1
    if not slash or not 0 <= found < 1 << 64 or len(text) > 17:
        raise Damaged(f"'{text}' is no place in a log of PostgreSQL")
    return found


@dataclass(frozen=True, slots=True)
class History:
    """Whose log it is: system identifier, timeline, bytes of a segment."""

    system: int
    timeline: int
    segment: int

    def floor(self, lsn: int) -> int:
        """Where the segment begins that has a place."""
        return lsn - lsn % self.segment

    def file(self, lsn: int) -> bytes:
        """The name of the segment file that has a place (XLogFileName)."""
        number, per_id = lsn // self.segment, (1 << 32) // self.segment
        return b"%08X%08X%08X" % (self.timeline, number // per_id, number % per_id)


def branches(history: bytes) -> dict[int, int]:
    """Where each timeline ended on the way to the one of this history file: `1<TAB>0/3000028<TAB>why` (timeline.c).

    Raises Damaged.
    """
    found: dict[int, int] = {}
    for line in history.decode("utf-8", "replace").splitlines():
        words = line.split(None, 2)
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2 or not words[0].isdigit() or len(words[0]) > 10:
            raise Damaged("a history file of PostgreSQL does not say where timelines end")
        found[int(words[0])] = parse_lsn(words[1])
    return found


class Chain:
    """Follows a log byte by byte, and looks at the header of every page."""

    def __init__(self, history: History, at: int) -> None:
        self._history = history
        self.at = at
        self._timeline = 0  # of the last page: a timeline begins with a copy of what it branched off from
        self._part = b""  # of a header that is not whole yet
        self._magic = 0
        self._empty = 0  # up to here there are zeros

    def feed(self, data: bytes) -> None:
        """What comes next. Raises Damaged when it does not belong there."""
        data = self._part + data
        base = self.at - len(self._part)
        self.at, self._part = base + len(data), b""
        page = base + -base % PAGE
        self._require_empty(data, base)
        while page < self.at:
            if page < self._empty:
                page = self._empty
                continue
            size = _LONG.size if page % self._history.segment == 0 else _HEADER.size
            if page + size > self.at:
                self._part = data[page - base :]
                return
            if data[page - base : page - base + size] == bytes(size) and page % self._history.segment:
                self._empty = self._history.floor(page) + self._history.segment
                self._require_empty(data[page - base :], page)
                continue
            self._look(data, page - base, page)
            page += PAGE

    def _require_empty(self, data: bytes, base: int) -> None:
        """The rest of a segment is zeros after the server has switched to the next one."""
        rest = data[: max(0, self._empty - base)]
        if rest.count(0) != len(rest):
            raise self._broken(base, "there is something behind the end of a segment")

    def _look(self, data: bytes, offset: int, page: int) -> None:
        magic, flags, timeline, address, _ = _HEADER.unpack_from(data, offset)
        if magic != self._magic:
            if self._magic or magic >> 8 != _MAGIC:
                raise self._broken(page, "its page is none of a log")
            self._magic = magic
        if address != page:
            raise self._broken(page, f"the page says that it is at {lsn_text(address)}")
        if not self._timeline <= timeline <= self._history.timeline:
            raise self._broken(page, f"the page is of timeline {timeline}, not {self._history.timeline}")
        self._timeline = timeline
        if bool(flags & _IS_LONG) != (page % self._history.segment == 0):
            raise self._broken(page, "a segment does not begin where it should")
        if flags & _IS_LONG:
            *_, system, segment, size = _LONG.unpack_from(data, offset)
            if (system, segment, size) != (self._history.system, self._history.segment, PAGE):
                raise self._broken(page, "the segment is of another server")

    @staticmethod
    def _broken(page: int, why: str) -> Damaged:
        return Damaged(f"the log does not go on at {lsn_text(page)}: {why}")
