"""How a MariaDB server is reached: its option file, or its socket; and what to tell when it is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socket import AF_UNIX, SHUT_RDWR, SOCK_STREAM, create_connection, socket
from typing import Any, NoReturn

import pymysql
from pymysql.connections import Connection

from knowngood.core.errors import Busy, KnowngoodError, UsageError
from knowngood.core.model import ComponentSpec
from knowngood.databases.feed import Away

CONNECT_SECONDS = 10
_RIGHTS_NEEDED = "RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, REPLICATION SLAVE"
GRANT_HINT = f"give the account what it needs: GRANT {_RIGHTS_NEEDED} ON *.* TO 'backup'@'localhost'"
"""What to do for an account that may not read everything."""

_RIGHTS = frozenset({1044, 1045, 1142, 1227, 1698})
_GONE = frozenset({2002, 2003, 2006, 2013, 1053})
_LATER = frozenset({1040, 1205, 1226})


@dataclass(frozen=True, slots=True)
class Access:
    """Where a server is. `options` is a file as its own clients read it, with the account: the section [client]."""

    socket: str = ""
    host: str = ""
    port: int = 3306
    user: str = ""
    options: str = ""

    @property
    def text(self) -> str:
        """For people."""
        return self.socket or (f"{self.host}:{self.port}" if self.host else self.options)

    def connect(self, seconds: float = 30.0, **more: Any) -> Connection[Any]:
        """A connection, with automatic commit. Raises Away, UsageError."""
        where: dict[str, Any] = {"unix_socket": self.socket} if self.socket else {}
        if self.host:
            where |= {"host": self.host, "port": self.port}
        if self.user:
            where["user"] = self.user
        if self.options:
            where["read_default_file"] = self.options
        with told(self):
            connection = pymysql.connect(
                defer_connect=True,
                **where,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                read_timeout=seconds,
                write_timeout=seconds,
                charset="utf8mb4",
                **more,
            )
            way = _way(connection)
            try:
                connection.connect(way)
            except BaseException:
                sever(connection)
                way.close()
                raise
            return connection

    def arguments(self) -> list[str]:
        """The same for mariabackup. No password is among them."""
        first = [f"--defaults-file={self.options}"] if self.options else ["--no-defaults"]
        where = [f"--socket={self.socket}"] if self.socket else []
        where += [f"--host={self.host}", f"--port={self.port}"] if self.host else []
        return first + where + ([f"--user={self.user}"] if self.user else [])


def _way(connection: Any) -> socket:
    """A socket to where a connection leads. PyMySQL leaves its own open when it cannot connect."""
    if connection.unix_socket:
        found = socket(AF_UNIX, SOCK_STREAM)
        try:
            found.settimeout(CONNECT_SECONDS)
            found.connect(connection.unix_socket)
        except BaseException:
            found.close()
            raise
    else:
        found = create_connection((connection.host, connection.port), CONNECT_SECONDS)
    found.settimeout(None)  # PyMySQL sets it for each reading and writing
    return found


def access_of(component: ComponentSpec) -> Access:
    """The access of a component. Raises UsageError that says what is wrong with it."""
    options = component.options
    for name in ("socket", "option-file"):
        if (path := options.get(name)) and not os.path.isabs(path):
            raise UsageError(f"the path '{path}' is not absolute", hint="begin it with /")
    port = options.get("port", "3306")
    if not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise UsageError(f"'{port}' is no port", hint="write a number, such as '3306'")
    if not any(options.get(name) for name in ("socket", "host", "option-file")):
        hint = "add 'socket: /run/mysqld/mysqld.sock', or 'option-file: /etc/knowngood/mariadb.cnf'"
        raise UsageError("it is not said where the MariaDB server is", hint=hint)
    where = options.get("socket", ""), options.get("host", ""), int(port)
    return Access(*where, options.get("user", ""), options.get("option-file", ""))


@contextmanager
def told(access: Access) -> Iterator[None]:
    """Errors of the server, and of the way there, in our words."""
    try:
        yield
    except pymysql.err.Error as wrong:
        _tell(access, wrong)
    except OSError as wrong:
        reason = "it does not answer" if isinstance(wrong, TimeoutError) else (wrong.strerror or str(wrong)).lower()
        raise Away(f"MariaDB at {access.text} cannot be reached: {reason}") from None


def _tell(access: Access, wrong: Exception) -> NoReturn:
    number, said = (*wrong.args, "", "")[:2]
    what = f"MariaDB at {access.text}"
    if number in _RIGHTS:
        raise UsageError(f"{what} does not allow it: {said}", hint=GRANT_HINT) from None
    if number in _GONE:
        raise Away(f"{what} cannot be reached: {said}") from None
    if number in _LATER:
        raise Busy(f"{what} cannot do it now: {said}") from None
    raise KnowngoodError(f"{what}: {said or wrong}") from None


def value(connection: Connection[Any], question: str) -> Any:
    """The first value of the first row; None when there is none. Raises pymysql's errors."""
    with connection.cursor() as cursor:
        cursor.execute(question)
        row = cursor.fetchone()
    return row[0] if row else None


def sever(connection: Any) -> None:
    """Close a connection at once, also when another thread waits in it: the server rolls back and unlocks."""
    way, file = connection._sock, connection._rfile  # noqa: SLF001 - PyMySQL closes one and leaves the other open
    connection._sock = connection._rfile = None  # noqa: SLF001
    if way is not None:
        with suppress(OSError):
            way.shutdown(SHUT_RDWR)
        way.close()
    if file is not None:
        with suppress(OSError, ValueError):
            file.close()
