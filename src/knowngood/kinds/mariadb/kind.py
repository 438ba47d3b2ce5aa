"""What a MariaDB component is, and what it asks of the server."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import closing, suppress

from knowngood.core.errors import Unsupported, UsageError
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import Kind
from knowngood.core.traits import KindTraits, Option
from knowngood.databases.in_place import OPTION
from knowngood.databases.kind import DatabaseKind, Ways
from knowngood.kinds.mariadb.access import Access, access_of, told, value
from knowngood.kinds.mariadb.base import PROGRAM
from knowngood.kinds.mariadb.feed import MariaFeed
from knowngood.kinds.mariadb.production import PLACE
from knowngood.kinds.mariadb.rows import open_rows
from knowngood.kinds.mariadb.sandbox import start_sandbox

_OLDEST = (10, 5)
_SERIES = re.compile(r"(\d+)\.(\d+)")

TRAITS = KindTraits(
    name="mariadb",
    capture=("scan", "journal"),
    holds=True,
    located=False,
    options=(
        Option("socket", "/run/mysqld/mysqld.sock"),
        Option("host", "127.0.0.1"),
        Option("port", "3306"),
        Option("user", "backup"),
        Option("option-file", "/etc/knowngood/mariadb.cnf"),
        Option(OPTION, "/var/lib/mysql"),
    ),
)


def mariadb_kind(folders: Kind) -> Kind:
    """The kind `mariadb`; `folders` brings files back into folders."""
    return DatabaseKind(
        Ways(TRAITS, _probe, _feed, start_sandbox, _owner, open_rows, spare=_feed, place=PLACE), folders
    )


def _probe(component: ComponentSpec) -> None:
    """Raise what is wrong: the access, the version, the binary log, the program."""
    access = access_of(component)
    with closing(access.connect()) as connection, told(access):
        version = str(value(connection, "SELECT @@version"))
        logs = value(connection, "SELECT @@log_bin")
        folder = str(value(connection, "SELECT @@datadir"))
    series = _SERIES.match(version)
    if "MariaDB" not in version or series is None or (int(series[1]), int(series[2])) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise Unsupported(f"the server at {access.text} is {version}, and MariaDB {oldest} or newer is needed")
    if not logs:
        hint = "add log_bin to its section [mysqld], and start it anew"
        raise UsageError(f"MariaDB at {access.text} writes no binary log", hint=hint)
    if not os.access(folder, os.R_OK | os.X_OK):
        hint = "run as root, or as the server's user, on the server's host"
        raise UsageError(f"the files of MariaDB at {access.text} cannot be read in {folder}", hint=hint)
    _check_program(series[0])


def _check_program(series: str) -> None:
    """mariabackup is of the same series as the server, or its bases cannot be trusted."""
    told_version = ""
    with suppress(FileNotFoundError, subprocess.TimeoutExpired):
        done = subprocess.run([PROGRAM, "--version"], capture_output=True, timeout=30, check=False)
        told_version = (done.stdout + done.stderr).decode(errors="replace")
    if not told_version:
        raise UsageError(f"the program '{PROGRAM}' is not installed", hint="on Debian: apt-get install mariadb-backup")
    if f"{series}." not in told_version:
        raise UsageError(f"{PROGRAM} is not of the server's version {series}: {told_version.strip()}")


def _feed(component: ComponentSpec, state_dir: str) -> MariaFeed:  # noqa: ARG001 - it keeps nothing of its own
    access = access_of(component)
    return MariaFeed(access, lambda: _ask(access, "SELECT @@datadir"), lambda: _server(access))


def _server(access: Access) -> str:
    """What tells a server from another one, and from itself after RESET MASTER."""
    return _ask(access, "SELECT CONCAT(@@server_id, ' ', @@hostname, ' ', @@datadir)")


def _ask(access: Access, question: str) -> str:
    with closing(access.connect()) as connection, told(access):
        return str(value(connection, question))


def _owner(component: ComponentSpec) -> tuple[int, int]:
    """Of the server's files."""
    found = os.stat(_ask(access_of(component), "SELECT @@datadir"))
    return found.st_uid, found.st_gid
