"""MariaDB as a feed: mariabackup's base, and from the beginning of its file on, the binary log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from knowngood.core.errors import KnowngoodError
from knowngood.core.ports import ChunkSink, Holder
from knowngood.core.progress import Progress
from knowngood.databases.facts import FOLDER, add_facts
from knowngood.databases.feed import Away, Beyond, ChainBroken, Taken
from knowngood.databases.image import Image
from knowngood.databases.steps import Begin, Settle, Step, Write
from knowngood.kinds.mariadb.access import Access
from knowngood.kinds.mariadb.base import take_base
from knowngood.kinds.mariadb.binlog import Receiver
from knowngood.kinds.mariadb.holder import MariaHolder, end_of_log
from knowngood.wire.binlog import MAGIC, Event, Place, born_of

LOG = b"binlog/"
_MARK_SECONDS = 5.0
_SILENT_SECONDS = 10.0


class Position(msgspec.Struct, array_like=True):
    """A place in the binary log of one server."""

    server: str
    file: str
    offset: int
    born: int = 0  # when the file was begun


class MariaFeed:
    """A server as a replica sees it."""

    def __init__(self, access: Access, datadir: Callable[[], str], server: Callable[[], str]) -> None:
        """`datadir` asks where the server's files are, `server` who it is."""
        self._access = access
        self._datadir = datadir
        self._server = server
        self._receiver: Receiver | None = None
        self._at = Position("", "", 0)  # as far as it was taken
        self._ahead: list[Event] = []  # behind a mark
        self._mark: Place | None = None
        self._heard = 0.0  # when something came, or the server was asked, on the steady clock
        self._holder = MariaHolder(access, self._set_mark)

    @property
    def holder(self) -> Holder | None:
        """A global read lock."""
        return self._holder

    def base(self, image: Image, sink: ChunkSink, progress: Progress) -> bytes:
        """A base, and its binary log from the file's beginning."""
        self._end()
        progress.enter(f"taking a base of MariaDB at {self._access.text}")
        folder = self._datadir()
        place = take_base(self._access, folder, image, sink, progress)
        add_facts(image, sink, {FOLDER: folder})
        path = LOG + place.file.encode()
        image.apply([Begin(path), Write(path, 0, MAGIC)])
        self._at = Position(self._server(), place.file, len(MAGIC))
        self._listen()
        self._mark = place  # what is in its file already belongs to the base
        taken = self.take()
        image.apply(taken.steps)
        return taken.position

    def resume(self, position: bytes) -> bool:
        """Ask for what is behind a position."""
        self._end()
        self._at = msgspec.msgpack.decode(position, type=Position)
        if self._server() != self._at.server:
            return False
        self._listen()
        self._mark = self._mark or end_of_log(self._access)
        return True

    def _listen(self) -> None:
        self._receiver = Receiver(self._access, Place(self._at.file, self._at.offset), self._at.born)
        self._heard = time.monotonic()

    # ------------------------------------------------------------------------------------------------------- taking

    def reach(self, position: bytes) -> Taken:
        """The events up to a place."""
        wanted = msgspec.msgpack.decode(position, type=Position)
        mark, here = Place(wanted.file, wanted.offset), Place(self._at.file, self._at.offset)
        if here != mark and _beyond(here, mark):
            raise Beyond(f"the binary log was read beyond {mark.file} {mark.offset} already")
        self._mark = mark
        return self.take()

    def take(self) -> Taken:
        """The events that came."""
        if self._receiver is None:
            self._reconnect()
        events, self._ahead = self._ahead, []
        try:
            assert self._receiver is not None
            events += self._receiver.events()
        except ChainBroken:
            self._end()
            raise
        except KnowngoodError:
            self._end()
            if not events:  # those first: they are before what comes when the server is back
                self._reconnect()
        self._check_silence(events)
        if self._mark is not None:
            events = self._upto(self._mark, events)
            self._mark = None
        steps = list(self._steps(events))
        if events:
            last = events[-1]
            self._at.file, self._at.offset = last.place.file, last.place.offset + len(last.data)
            found = (born_of(each.data) for each in events)
            self._at.born = next((each for each in reversed([*found]) if each is not None), self._at.born)
        return Taken(steps, msgspec.msgpack.encode(self._at))

    def _check_silence(self, events: list[Event]) -> None:
        """A dump of a log that was begun anew stays silent for ever: so who is silent is asked where its log ends."""
        now = time.monotonic()
        if events or self._mark is not None:
            self._heard = now
        elif now - self._heard >= _SILENT_SECONDS:
            self._heard = now
            place = end_of_log(self._access)
            if place != Place(self._at.file, self._at.offset) and not _beyond(
                place, Place(self._at.file, self._at.offset)
            ):
                raise ChainBroken(f"MariaDB at {self._access.text} has begun its binary log anew")
            self._mark = place

    def _upto(self, mark: Place, events: list[Event]) -> list[Event]:
        """Those before a mark, which are waited for; the others stay for later."""
        end = time.monotonic() + _MARK_SECONDS
        while not self._reached(mark, events):
            if self._receiver is None or not self._receiver.inbox.wait(1, max(0.0, end - time.monotonic())):
                self._ahead = events
                self._end()
                raise Away(f"MariaDB at {self._access.text} does not send what it has written")
            events += self._receiver.events()
        at = next((n for n, each in enumerate(events) if _beyond(each.place, mark)), len(events))
        self._ahead = events[at:]
        return events[:at]

    def _reached(self, mark: Place, events: list[Event]) -> bool:
        if not events:
            return Place(self._at.file, self._at.offset) == mark
        last = events[-1]
        return _beyond(Place(last.place.file, last.place.offset + len(last.data)), mark)

    def _steps(self, events: list[Event]) -> Iterator[Step]:
        """Neighbours become one write."""
        file, start, parts = self._at.file, self._at.offset, list[bytes]()
        for event in events:
            if event.place.file != file:
                if parts:
                    yield Write(LOG + file.encode(), start, b"".join(parts))
                yield Settle(LOG + file.encode())
                file, start, parts = event.place.file, len(MAGIC), []
                yield Begin(LOG + file.encode())
                yield Write(LOG + file.encode(), 0, MAGIC)
            parts.append(event.data)
        if parts:
            yield Write(LOG + file.encode(), start, b"".join(parts))

    def _reconnect(self) -> None:
        if not self.resume(msgspec.msgpack.encode(self._at)):
            raise ChainBroken(f"MariaDB at {self._access.text} is another server than before")

    def _set_mark(self, place: Place) -> None:
        self._mark = place

    def landed(self, position: bytes) -> None:
        """The server does not ask."""

    def kept(self, position: bytes) -> None:
        """The server keeps its binary log by its own rules."""

    def fileno(self) -> int:
        """Can be read when events came."""
        return self._receiver.inbox.fileno() if self._receiver else -1

    def close(self) -> None:
        """The server sees a replica go."""
        self._end()
        self._holder.close()

    def _end(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.close()


def _beyond(place: Place, mark: Place) -> bool:
    """Whether a place is at a mark, or after it: the files of a log are numbered, in as many digits."""
    return (len(place.file), place.file, place.offset) >= (len(mark.file), mark.file, mark.offset)
