"""A throw-away PostgreSQL server on a recovered folder: it recovers to the end of the log, and can then be written to.

It reaches nothing but its own folder: no network, no archive, no standby. It runs as a user who owns nothing else, so
that even a log that makes a tablespace cannot reach the disks of the server that it came from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing, suppress

from knowngood.core.errors import KnowngoodError, NotFound
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import Sandbox
from knowngood.databases.server import Server
from knowngood.kinds.postgres import layout
from knowngood.kinds.postgres.address import Address, address_of
from knowngood.kinds.postgres.link import Link
from knowngood.kinds.postgres.refusal import Refused

_START_SECONDS = 6 * 3600.0  # it replays everything since the base
_PORT = "5432"
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "archive_mode": "off",
    "archive_cleanup_command": "",
    "recovery_end_command": "",
    "restore_command": "false",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "synchronous_standby_names": "",
    "hot_standby": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "ssl": "off",
    "allow_in_place_tablespaces": "on",
    "recovery_target_action": "promote",
    "max_logical_replication_workers": "0",
    "autovacuum": "off",
    "cluster_name": "knowngood",
    "unix_socket_permissions": "0700",
}


class PostgresSandbox:
    """A running server (port Sandbox)."""

    def __init__(self, server: Server, address: Address) -> None:
        self._server = server
        self._address = address

    @property
    def address(self) -> Mapping[str, str]:
        """Its socket, the account, and the database."""
        words = dict(self._address.words)
        dsn = " ".join(f"{name}={value}" for name, value in words.items())
        return {"dsn": dsn, **words, "path": self._server.folder}

    def ask(self, question: str, timeout: float) -> list[tuple[str, ...]]:
        """A statement of SQL."""
        with closing(Link(self._address)) as link:
            try:
                return [tuple(each or "" for each in row) for row in link.ask(question, seconds=timeout)]
            except Refused as wrong:
                raise KnowngoodError(f"the recovered server refuses the question: {wrong.said}") from None

    def stop(self) -> None:
        """End it."""
        self._server.stop()

    def end(self, seconds: float) -> None:
        """End it with a checkpoint: its folder is whole then. Raises KnowngoodError."""
        self._server.end(seconds)


def start_sandbox(component: ComponentSpec, folder: str) -> Sandbox:
    """Start a server; return when it has recovered everything. Raises NotFound where its version is not installed."""
    return start_server(component, folder, "nobody")


def start_server(component: ComponentSpec, folder: str, user: str) -> PostgresSandbox:
    """The same, as this user when we are root."""
    version = _version(folder)
    program = f"/usr/lib/postgresql/{version}/bin/postgres"
    if not os.path.exists(program):
        raise NotFound(f"PostgreSQL {version} is not installed here", hint=f"apt-get install postgresql-{version}")
    settings = _settings(folder)
    server = Server(folder, user)
    server.write("pg_hba.conf", "local all all trust\n")
    server.write("pg_ident.conf", "")
    server.write("postgresql.conf", settings)
    options = {
        **_SETTINGS,
        "config_file": os.path.join(server.sockets, "postgresql.conf"),
        "hba_file": os.path.join(server.sockets, "pg_hba.conf"),
        "ident_file": os.path.join(server.sockets, "pg_ident.conf"),
        "unix_socket_directories": server.sockets,
        "port": _PORT,
    }
    command = [program, "-D", folder, *(word for name, value in options.items() for word in ("-c", f"{name}={value}"))]
    words = {"host": server.sockets, "port": _PORT, "user": layout.superuser_of(settings)}
    words["dbname"] = address_of(component).database or "postgres"
    address = Address(tuple(words.items()))
    server.start(command, lambda: _answers(address), _START_SECONDS)
    return PostgresSandbox(server, address)


def _settings(folder: str) -> str:
    """What was noted of the server; nothing for a folder that somebody else has made."""
    with (
        suppress(FileNotFoundError),
        open(os.path.join(folder, os.fsdecode(layout.SETTINGS)), encoding="utf-8") as file,
    ):
        return file.read()
    return ""


def _version(folder: str) -> str:
    try:
        with open(os.path.join(folder, "PG_VERSION"), encoding="ascii") as file:
            return file.read(16).strip()
    except (OSError, UnicodeDecodeError):
        raise NotFound(f"there is no data folder of PostgreSQL in {folder}") from None


def _answers(address: Address) -> bool:
    try:
        with closing(Link(address)) as link:
            return link.value("select pg_is_in_recovery()") == "f"
    except KnowngoodError:
        return False
