"""A throw-away MariaDB server on a recovered folder: the base is prepared, the binary log replayed behind it."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Mapping
from contextlib import closing, suppress

from knowngood.core.errors import Busy, Damaged, KnowngoodError, NotFound
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import Sandbox
from knowngood.databases.server import Server
from knowngood.kinds.mariadb.access import Access, told, value
from knowngood.kinds.mariadb.base import PLACE, PROGRAM, place_of

USER = "knowngood_sandbox"
_START_SECONDS = 600.0
_WORK_SECONDS = 24 * 3600.0
_MARKER = "knowngood-replayed"


class MariaSandbox:
    """A running server (port Sandbox)."""

    def __init__(self, server: Server, access: Access) -> None:
        self._server = server
        self._access = access

    @property
    def address(self) -> Mapping[str, str]:
        """Its socket, and a file with the account."""
        socket, options = self._access.socket, self._access.options
        return {"socket": socket, "option-file": options, "path": self._server.folder}

    def ask(self, question: str, timeout: float) -> list[tuple[str, ...]]:
        """A statement in SQL."""
        with closing(self._access.connect(timeout)) as connection:
            try:
                with told(self._access), connection.cursor() as cursor:
                    cursor.execute(question)
                    return [tuple("" if each is None else str(each) for each in row) for row in cursor.fetchall()]
            except KnowngoodError as wrong:
                if "timed out" in wrong.message:
                    raise Busy(f"the recovered server does not answer within {timeout:g} s") from None
                raise

    def stop(self) -> None:
        """End it."""
        self._server.stop()

    def end(self, seconds: float) -> None:
        """Remove our account, and end it with all that it has written down. Raises KnowngoodError."""
        with closing(self._access.connect()) as connection, told(self._access), connection.cursor() as cursor:
            cursor.execute(f"DROP USER '{USER}'@'localhost'")
        self._server.end(seconds)


def start_sandbox(component: ComponentSpec, folder: str) -> Sandbox:  # noqa: ARG001 - all that matters is in the folder
    """Prepare, start, replay; return when every event is carried out. It can be done once with a folder."""
    return start_server(folder, "mysql")


def start_server(folder: str, user: str) -> MariaSandbox:
    """The same, as this user when we are root."""
    base, marker = os.path.join(folder, "base"), os.path.join(folder, _MARKER)
    if os.path.exists(marker):
        raise KnowngoodError(f"a server was started on {folder} before", hint="recover it anew into another folder")
    place = place_of(_content(os.path.join(base, PLACE)))
    server = Server(folder, user)
    try:
        with open(marker, "wb"):
            pass
        server.run([PROGRAM, "--no-defaults", "--prepare", f"--target-dir={base}"], _WORK_SECONDS)
        access = _start(server, base)
        _replay(server, access, folder, place.file, place.offset)
    except BaseException:
        server.stop()
        raise
    return MariaSandbox(server, access)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(4096)
    except FileNotFoundError:
        raise Damaged(f"there is no base in {os.path.dirname(path)}") from None


def _start(server: Server, base: str) -> Access:
    socket, word = os.path.join(server.sockets, "s"), secrets.token_hex(16)
    start = f"""CREATE OR REPLACE USER '{USER}'@'localhost' IDENTIFIED BY '{word}';
GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'localhost' WITH GRANT OPTION;
"""
    first = server.secret("first.sql", start)
    options = server.secret("client.cnf", f"[client]\nsocket={socket}\nuser={USER}\npassword={word}\n")
    command = ["mariadbd", "--no-defaults", f"--datadir={base}", f"--socket={socket}", f"--init-file={first}"]
    command += ["--skip-networking", "--skip-log-bin", "--skip-slave-start", "--innodb-flush-log-at-trx-commit=0"]
    command += [f"--pid-file={server.sockets}/pid", f"--tmpdir={server.sockets}", "--event-scheduler=DISABLED"]
    access = Access(socket=socket, options=options)
    server.start(command, lambda: _answers(access), _START_SECONDS)
    return access


def _answers(access: Access) -> bool:
    with suppress(KnowngoodError), closing(access.connect(5)) as connection, told(access):
        return value(connection, "SELECT 1") == 1
    return False


def _replay(server: Server, access: Access, folder: str, first: str, offset: int) -> None:
    """Carry out the binary log behind the base. The first statement that fails ends it."""
    logs = os.path.join(folder, "binlog")
    numbered = sorted((len(name), name) for name in os.listdir(logs))  # after .999999 comes one more digit
    paths = [os.path.join(logs, name) for length, name in numbered if (length, name) >= (len(first), first)]
    reading = ["mariadb-binlog", "--no-defaults", "--disable-log-bin", f"--start-position={offset}", *paths]
    writing = ["mariadb", f"--defaults-file={access.options}", "--binary-mode", "--max-allowed-packet=1G"]
    try:
        server.pipe(reading, writing, _WORK_SECONDS)
    except subprocess.TimeoutExpired:
        raise Busy("the binary log cannot be replayed in a day") from None
    except FileNotFoundError as wrong:
        raise NotFound(f"the program '{wrong.filename}' is not installed") from None
