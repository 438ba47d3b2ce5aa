"""A PostgreSQL server of the tests' own: an unprivileged user's, on a private socket, in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.servers.following import open_folder

BIN = max(
    (each.parent for each in Path("/usr/lib/postgresql").glob("[0-9][0-9]/bin/postgres")),
    default=Path("/usr/lib/postgresql/15/bin"),
)
"""Of the newest version that is installed; tools/debian13 has another one than Debian 12."""
POSTGRES = str(BIN / "postgres")

CONF = """
listen_addresses = ''
unix_socket_directories = '{folder}'
fsync = off
full_page_writes = on
wal_level = replica
max_wal_senders = 10
max_replication_slots = 10
max_wal_size = 256MB
min_wal_size = 32MB
shared_buffers = 32MB
dynamic_shared_memory_type = mmap
log_min_messages = warning
"""


class Postgres:
    """A server that can be stopped, killed, and started again."""

    def __init__(self, folder: Path, *, segment: int = 1, conf: str = "", primary: Postgres | None = None) -> None:
        """Make one in a folder, without starting it: a new one, or a standby of a primary. `segment` is in MiB."""
        self.folder = folder
        self.data = folder / "data"
        self.user = _unprivileged()
        if self.user:
            os.chown(folder, *_ids(self.user))
        if primary is not None:
            self.run("pg_basebackup", "-D", self.data, "-R", "-c", "fast", "-h", primary.folder, "-U", "postgres")
        else:
            self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-N", f"--wal-segsize={segment}")
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(CONF.format(folder=folder) + conf)

    @property
    def ids(self) -> tuple[int, int]:
        """User and group that it runs as."""
        return _ids(self.user) if self.user else (os.geteuid(), os.getegid())

    @property
    def dsn(self) -> str:
        """How to reach it."""
        return f"host={self.folder} user=postgres dbname=postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.run("pg_ctl", "-D", self.data, "-w", "-l", self.folder / "log", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is what a power cut leaves."""
        self.run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def kill(self) -> None:
        """Kill it, with all that it started."""
        pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)

    def sql(self, text: str, *, database: str = "postgres", user: str = "postgres") -> str:
        """What a statement gives, as psql prints it: unaligned rows."""
        words = ("-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", user, "-d", database, "-c", text)
        return self.run("psql", *words).strip()

    def run(self, program: str, *words: str | Path) -> str:
        """A program of PostgreSQL, by the server's user; what it prints."""
        done = subprocess.run(
            [str(BIN / program), *map(str, words)], check=False, text=True, capture_output=True, **self.as_user()
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
        return done.stdout

    def spawn(self, program: str, *words: str | Path) -> subprocess.Popen[str]:
        """A program of PostgreSQL that runs beside."""
        command: Sequence[str] = [str(BIN / program), *map(str, words)]
        return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self.as_user())

    def as_user(self) -> dict[str, Any]:
        """Arguments of subprocess that make somebody else of root."""
        if not self.user:
            return {}
        uid, gid = _ids(self.user)
        return {"user": uid, "group": gid, "extra_groups": [], "cwd": "/", "env": {**os.environ, "HOME": "/"}}

    def end(self) -> None:
        """Stop it, whatever state it is in, and remove everything."""
        with contextlib.suppress(AssertionError):
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def running_postgres(conf: str = "", segment: int = 1) -> Iterator[Postgres]:
    """A server while the block runs."""
    with open_folder() as folder:
        server = Postgres(folder, segment=segment, conf=conf)
        try:
            server.start()
            yield server
        finally:
            server.end()


def _unprivileged() -> str | None:
    return "nobody" if os.geteuid() == 0 else None


def _ids(user: str) -> tuple[int, int]:
    found = pwd.getpwnam(user)
    return found.pw_uid, found.pw_gid
