"""Receives the binary log as a replica does (COM_BINLOG_DUMP), event by event, into an inbox."""

from __future__ import annotations

import struct
import threading
from typing import Any

import pymysql
from pymysql.constants import COMMAND

from knowngood.core.errors import Damaged, KnowngoodError
from knowngood.core.ids import new_id
from knowngood.databases.feed import ChainBroken
from knowngood.databases.inbox import Inbox
from knowngood.kinds.mariadb.access import Access, sever, told, value
from knowngood.wire.binlog import Chain, Event, Place

LENGTH = struct.Struct("<I")
_SILENT_SECONDS = 30.0  # a heartbeat comes every five
_HEARTBEAT_NS = 5_000_000_000
_PURGED = 1236  # also: the position is wrong, the log is not there, an event cannot be read


class Receiver:
    """One dump. Its thread ends when it is closed, or the server does."""

    def __init__(self, access: Access, start: Place, born: int) -> None:
        """`born` is when the file was begun, 0 where that is not known. Raises Away, UsageError."""
        self._access = access
        self._connection: Any = access.connect(_SILENT_SECONDS)
        self.inbox = Inbox()
        try:
            with told(access):
                self._checksums = self._prepare()
                self._dump(start)
        except BaseException:
            self.close()
            raise
        self._chain = Chain(start, checksums=self._checksums, born=born)
        self._rest = b""
        threading.Thread(target=self._receive, name="binlog", daemon=True).start()

    def _prepare(self) -> bool:
        """Whether events have checksums."""
        connection = self._connection
        checksums = value(connection, "SELECT @@global.binlog_checksum") != "NONE"
        with connection.cursor() as cursor:
            cursor.execute("SET @master_binlog_checksum = @@global.binlog_checksum")
            cursor.execute("SET @mariadb_slave_capability = 4")  # as it is written, nothing rewritten for old replicas
            cursor.execute(f"SET @master_heartbeat_period = {_HEARTBEAT_NS}")
        return checksums

    def _dump(self, start: Place) -> None:
        number = int.from_bytes(new_id()[:4], "little") | 1 << 31  # of a replica: nobody else may have it
        name = start.file.encode()
        self._connection._execute_command(  # noqa: SLF001 - PyMySQL has no public name for commands of replication
            COMMAND.COM_BINLOG_DUMP, struct.pack("<IHI", start.offset, 0, number) + name
        )

    def _receive(self) -> None:
        connection = self._connection
        try:
            while True:
                packet = connection._read_packet()  # noqa: SLF001 - same
                if packet.is_eof_packet():
                    raise pymysql.err.OperationalError(2013, "it has ended the log")
                data = packet.get_all_data()[1:]
                if not self.inbox.put(LENGTH.pack(len(data)) + data):
                    return
        except pymysql.err.Error as wrong:
            self.inbox.fail(self._failure(wrong))
        except (OSError, AttributeError, ValueError):  # it was closed meanwhile
            self.inbox.fail(self._failure(pymysql.err.OperationalError(2013, "the connection is closed")))

    def _failure(self, wrong: Exception) -> KnowngoodError:
        if wrong.args and wrong.args[0] == _PURGED:
            return ChainBroken(f"MariaDB at {self._access.text} does not go on with its binary log: {wrong.args[1]}")
        try:
            with told(self._access):
                raise wrong
        except KnowngoodError as mapped:
            return mapped

    def events(self) -> list[Event]:
        """The events that came. Raises ChainBroken, and why nothing more comes."""
        data = self._rest + self.inbox.take()
        found: list[Event] = []
        at = 0
        while len(data) - at >= LENGTH.size:
            (size,) = LENGTH.unpack_from(data, at)
            try:
                event = self._chain.feed(data[at + LENGTH.size : at + LENGTH.size + size])
            except Damaged as wrong:
                raise ChainBroken(f"MariaDB at {self._access.text}: {wrong.message}") from None
            if event is not None:
                found.append(event)
            at += LENGTH.size + size
        return found

    def close(self) -> None:
        """End the dump."""
        self.inbox.close()
        sever(self._connection)
