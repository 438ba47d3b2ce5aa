"""Redis as a feed: it is told that we are a replica. Base and stream become the files of a multi-part AOF."""

from __future__ import annotations

import re
import threading
from contextlib import closing, suppress
from io import BytesIO
from typing import NoReturn

import msgspec

from knowngood.core.errors import KnowngoodError
from knowngood.core.instants import now_ns
from knowngood.core.ports import ChunkSink, Holder
from knowngood.core.progress import Progress
from knowngood.databases.facts import add_facts
from knowngood.databases.feed import Away, ChainBroken, Taken
from knowngood.databases.image import Image
from knowngood.databases.inbox import Inbox
from knowngood.databases.steps import Begin, Step, Write
from knowngood.kinds.redis.address import Address
from knowngood.kinds.redis.base import BaseStream
from knowngood.kinds.redis.holder import RedisHolder
from knowngood.kinds.redis.link import Link, expect_bytes, fields
from knowngood.kinds.redis.production import facts_from
from knowngood.wire.resp import Refused, command

FOLDER = b"appendonlydir/"
BASE = FOLDER + b"appendonly.aof.1.base.rdb"
STREAM = FOLDER + b"appendonly.aof.1.incr.aof"
MANIFEST = FOLDER + b"appendonly.aof.manifest"
_MANIFEST = b"file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"

_ACK_SECONDS = 1.0  # the server gives up a replica that is silent for a minute
_SILENT_SECONDS = 60.0  # it pings every ten
_MARK_SECONDS = 5.0
_IDLE_BYTES = 4096
_IDLE = re.compile(
    rb"(?:%b|%b|\*2\r\n\$6\r\nSELECT\r\n\$\d+\r\n\d+\r\n)*"
    % (re.escape(command("PING")), re.escape(command("REPLCONF", "GETACK", "*"))),
    re.IGNORECASE,
)


class Position(msgspec.Struct, array_like=True):
    """A place in the history of a server: which history, how many bytes of it, and where that is in our file."""

    history: str
    offset: int
    start: int  # the offset at which our stream begins


class RedisFeed:
    """A server as a replica sees it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._inbox: Inbox | None = None
        self._link: Link | None = None
        self._threads: list[threading.Thread] = []
        self._at = Position("", 0, 0)  # as far as it was taken
        self._landed = 0
        self._idle = b""  # came, and changes nothing
        self._limit: int | None = None  # a mark: the next take ends there
        self._holder = RedisHolder(address, self._set_limit)

    @property
    def holder(self) -> Holder | None:
        """Writes are paused."""
        return self._holder

    # ------------------------------------------------------------------------------------------------- base and stream

    def base(self, image: Image, sink: ChunkSink, progress: Progress) -> bytes:
        """An RDB; the stream goes on behind it."""
        self._end()
        self._limit = None
        progress.enter(f"waiting for a base of Redis at {self._address.text}")
        with closing(Link(self._address)) as asking:
            facts = facts_from(asking)
        link = Link(self._address, _SILENT_SECONDS)
        try:
            answer = self._begin(link, "?", -1)
            words = answer.split()
            if len(words) != 3 or words[0] != "FULLRESYNC":
                self._no_base(answer)
            stream = BaseStream(link.receive, link.rest())
            image.add(sink, BASE, stream.read, now_ns())
        except BaseException:
            link.close()
            raise
        image.add(sink, MANIFEST, BytesIO(_MANIFEST).read, now_ns())
        add_facts(image, sink, facts)
        image.apply([Begin(STREAM)])
        offset = int(words[2])
        self._at = Position(words[1], offset, offset)
        self._listen(link, stream.rest())
        return msgspec.msgpack.encode(self._at)

    def _no_base(self, answer: str) -> NoReturn:
        raise Away(f"Redis at {self._address.text} gives no base now: {answer}")

    def resume(self, position: bytes) -> bool:
        """Ask for the bytes behind a position."""
        self._end()
        self._at = msgspec.msgpack.decode(position, type=Position)
        link = Link(self._address, _SILENT_SECONDS)
        try:
            words = self._begin(link, self._at.history, self._at.offset + 1).split()
        except BaseException:
            link.close()
            raise
        if words[0] != "CONTINUE":
            link.close()
            return False
        if len(words) > 1:
            self._at.history = words[1]
        self._listen(link, link.rest())
        self._limit = self._limit or self._written()  # what was acknowledged before is in what is taken first
        return True

    def _written(self) -> int:
        with closing(Link(self._address)) as link:
            return int(fields(link.ask_text("INFO", "replication"))["master_repl_offset"])

    def _begin(self, link: Link, history: str, offset: int) -> str:
        try:
            link.ask("REPLCONF", "capa", "eof", "capa", "psync2")
            reply = expect_bytes(link.ask("PSYNC", history, offset))
        except Refused as wrong:
            raise link.refused("PSYNC", wrong) from None
        return reply.decode(errors="replace")

    def _listen(self, link: Link, first: bytes) -> None:
        inbox = Inbox()
        self._link, self._inbox, self._landed = link, inbox, self._at.offset
        self._threads = [
            threading.Thread(target=self._receive, args=(link, inbox, first), name="redis", daemon=True),
            threading.Thread(target=self._acknowledge, args=(link, inbox), name="redis-ack", daemon=True),
        ]
        for each in self._threads:
            each.start()

    @staticmethod
    def _receive(link: Link, inbox: Inbox, first: bytes) -> None:
        try:
            if not first or inbox.put(first):
                while inbox.put(link.receive()):
                    pass
        except KnowngoodError as wrong:
            inbox.fail(wrong)

    def _acknowledge(self, link: Link, inbox: Inbox) -> None:
        """Tell the server again and again how far we are: it gives up who is silent."""
        with suppress(KnowngoodError):
            link.send("REPLCONF", "ACK", self._landed)
            while not inbox.closes(_ACK_SECONDS):
                link.send("REPLCONF", "ACK", self._landed)

    # ------------------------------------------------------------------------------------------------------- taking

    def take(self) -> Taken:
        """The bytes that came."""
        inbox = self._inbox
        if inbox is None:
            self._reconnect()
            inbox = self._inbox
            assert inbox is not None
        came = self._received(inbox)
        data, self._idle = self._idle + came, b""
        if _says_nothing(data):  # it waits for what comes next: a server at rest makes no records
            self._idle, data = data, b""
        steps: list[Step] = []
        if data:
            steps.append(Write(STREAM, self._at.offset - self._at.start, data))
            self._at.offset += len(data)
        return Taken(steps, msgspec.msgpack.encode(self._at))

    def _received(self, inbox: Inbox) -> bytes:
        if self._limit is not None:
            return self._received_to(self._limit)
        try:
            return inbox.take()
        except KnowngoodError:
            self._end()
            self._reconnect()
            return b""

    def _received_to(self, limit: int) -> bytes:
        """Exactly up to a mark. A connection that broke meanwhile is made anew."""
        self._limit = None
        for again in (True, False):
            inbox, missing = self._inbox, max(0, limit - self._at.offset - len(self._idle))
            if inbox is not None and inbox.wait(missing, _MARK_SECONDS):
                return inbox.take(missing)
            if again:
                self._end()
                self._reconnect()
        raise Away(f"Redis at {self._address.text} does not send what it has written")

    def _reconnect(self) -> None:
        if not self.resume(msgspec.msgpack.encode(self._at)):
            raise ChainBroken(
                f"Redis at {self._address.text} does not go on where it was: it was restarted, or replaced"
            )

    def _set_limit(self, offset: int) -> None:
        self._limit = offset

    def landed(self, position: bytes) -> None:
        """What WAIT waits for."""
        self._landed = msgspec.msgpack.decode(position, type=Position).offset
        if self._link is not None:
            self._link.send("REPLCONF", "ACK", self._landed)

    def kept(self, position: bytes) -> None:
        """The server keeps a backlog of its own."""

    def fileno(self) -> int:
        """Can be read when bytes came."""
        return self._inbox.fileno() if self._inbox else -1

    def close(self) -> None:
        """The server sees a replica go."""
        self._end()
        self._holder.close()

    def _end(self) -> None:
        self._idle = b""
        link, inbox = self._link, self._inbox
        self._link = self._inbox = None
        if inbox is not None:
            inbox.close()
        if link is not None:
            link.close()
        for each in self._threads:
            each.join()
        self._threads = []


def _says_nothing(data: bytes) -> bool:
    """Whether these are only the signs of life that a server sends to its replicas."""
    return len(data) <= _IDLE_BYTES and _IDLE.fullmatch(data) is not None
