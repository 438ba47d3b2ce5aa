"""Others who protect a PostgreSQL server, each as its own manual says and at its defaults. `bench/peers.sh barman
pgbackrest` installs them; what is not here is left out."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from bench.continuous.figures import until
from bench.services.latency import waits
from bench.services.servers import Postgres

_SECONDS = 600.0
_LOOK = 0.002


class Peer:
    """One of them. `receiver` is what its standby calls itself, as a pattern; empty where it archives segments."""

    name = ""
    receiver = ""
    is_yardstick = False
    program = ""

    def __init__(self, folder: Path, server: Postgres) -> None:
        self.server = server
        self.folder = folder / type(self).__name__.lower().strip("_")
        self.folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self._running: list[subprocess.Popen[bytes]] = []

    def missing(self) -> str:
        """Why it cannot be measured; empty when it can."""
        return "" if shutil.which(self.program) else f"{self.program} is not installed: bench/peers.sh {self.program}"

    def base(self) -> None:
        """Take a base, and what it takes to keep the log from then on."""
        raise NotImplementedError

    def size(self) -> int:
        """Bytes of it all."""
        return sum(each.stat().st_size for each in self.folder.rglob("*") if each.is_file() and not each.is_symlink())

    def archived(self, seconds: float) -> Iterator[float]:
        """Of those who archive segments: how long each took, in seconds."""
        with closing(self.server.connect()) as db:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                yield self._segment(db)

    def _segment(self, db: psycopg.Connection[Any]) -> float:
        (name,) = db.execute("select pg_walfile_name(pg_switch_wal())").fetchone() or ("",)
        began = time.monotonic()
        newest = "select coalesce(last_archived_wal, '') >= %s from pg_stat_archiver"
        until(lambda: (db.execute(newest, (name,)).fetchone() or (False,))[0], _SECONDS, _LOOK)
        return time.monotonic() - began

    def catch_up(self) -> None:
        """Wait until all that was committed is durable there."""
        list(waits(self.server, 0.1, self.receiver))

    def recovered(self) -> Path:
        """Bring it back into a folder, which a server is then started on."""
        raise NotImplementedError

    def close(self) -> None:
        """End what runs."""
        for each in self._running:
            each.terminate()
            each.wait()

    def run(self, *words: object) -> str:
        """What a program says, by the server's user."""
        done = subprocess.run(self._command(words), check=False, capture_output=True, text=True, cwd="/")
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, words))}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def spawn(self, *words: object) -> None:
        """A program that runs until `close`."""
        self._running.append(
            subprocess.Popen(self._command(words), cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )

    @staticmethod
    def _command(words: Sequence[object]) -> list[str]:
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        return [*as_user, *map(str, words)]


class Plain(Peer):
    """PostgreSQL's own programs."""

    name = "pg_basebackup, pg_receivewal"
    receiver = "pg_receivewal"
    is_yardstick = True

    def missing(self) -> str:
        """They came with the server."""
        return ""

    def base(self) -> None:
        """As it is, in a folder."""
        programs, to = self.server.programs, ("-h", self.server.sockets, "-U", "postgres")
        self.wal, self.data = self.folder / "wal", self.folder / "base"
        self.run("mkdir", self.wal)
        with closing(self.server.connect()) as db:  # that of pg_receivewal keeps nothing before it has streamed
            db.execute("select pg_create_physical_replication_slot('plain', true)")
        self.spawn(programs / "pg_receivewal", *to, "-D", self.wal, "-S", "plain", "--synchronous")
        self.run(programs / "pg_basebackup", *to, "-D", self.data, "-c", "fast", "-X", "none")

    def recovered(self) -> Path:
        """The base itself: how long copying it takes is what it took to take it."""
        self.close()
        self._running.clear()
        for each in self.wal.glob("*.partial"):
            each.rename(each.with_suffix(""))
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"restore_command = 'cp {self.wal}/%f %p'\n")
        (self.data / "recovery.signal").touch()
        return self.data

    def close(self) -> None:
        """The slot goes too."""
        super().close()
        with closing(self.server.connect()) as db:
            db.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")


class Barman(Peer):
    """Barman, streaming."""

    name = "Barman"
    program = "barman"
    _calls_itself = "barman_receive_wal"

    def base(self) -> None:
        """By pg_basebackup, with a slot."""
        home, to = self.folder / "home", f"host={self.server.sockets} user=postgres"
        self.run("mkdir", home)
        self.conf = self.folder / "barman.conf"
        self.conf.write_text(
            f"[barman]\nbarman_home={home}\nbarman_user=postgres\nlog_file={home}/log\n"
            f"configuration_files_directory={home}\nbarman_lock_directory={home}\n"
            f"[shop]\ndescription=shop\nconninfo={to} dbname=postgres\nstreaming_conninfo={to}\n"
            f"backup_method=postgres\nstreaming_archiver=on\nslot_name=barman\npath_prefix={self.server.programs}\n"
        )
        self._barman("receive-wal", "--create-slot", "shop")
        self.spawn("barman", "-c", self.conf, "receive-wal", "shop")
        with closing(self.server.connect()) as db:
            self._until_there(db)
        self._barman("switch-wal", "--force", "--archive", "shop")
        self._barman("backup", "--immediate-checkpoint", "shop")

    def _barman(self, *words: str) -> str:
        return self.run("barman", "-c", self.conf, *words)

    def _until_there(self, db: psycopg.Connection[Any]) -> None:
        query = "select 1 from pg_stat_replication where application_name = %s"
        until(lambda: db.execute(query, (self._calls_itself,)).fetchone() is not None, _SECONDS)

    def _segment(self, db: psycopg.Connection[Any]) -> float:
        """It syncs, and tells the server of it, when a segment is full: then that has its last name."""
        (name,) = db.execute("select pg_walfile_name(pg_switch_wal())").fetchone() or ("",)
        began = time.monotonic()
        there = self.folder / "home/shop/streaming" / name
        until(there.exists, _SECONDS, _LOOK)
        return time.monotonic() - began

    def catch_up(self) -> None:
        """What is in a segment that is not full does not come back: it is made full."""
        self._barman("switch-wal", "--force", "--archive", "shop")

    def recovered(self) -> Path:
        """Into a folder."""
        self._barman("recover", "shop", "latest", str(self.folder / "back"))
        return self.folder / "back"

    def close(self) -> None:
        """The slot goes too."""
        super().close()
        with closing(self.server.connect()) as db:
            db.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")


class PgBackRest(Peer):
    """pgBackRest, archiving."""

    name = "pgBackRest"
    program = "pgbackrest"

    def base(self) -> None:
        """A full backup."""
        self.conf = self.folder / "pgbackrest.conf"
        folders = "".join(f"{each}-path={self.folder}/{each}\n" for each in ("log", "lock", "spool"))
        self.conf.write_text(
            f"[global]\nrepo1-path={self.folder}/repo\n{folders}start-fast=y\n"
            f"[shop]\npg1-path={self.server.data}\npg1-socket-path={self.server.sockets}\npg1-user=postgres\n"
        )
        self.run("mkdir", *(self.folder / each for each in ("log", "lock", "spool", "repo")))
        self._set(f"pgbackrest --config={self.conf} --stanza=shop archive-push %p")
        self._call("stanza-create")
        self._call("backup", "--type=full")

    def _call(self, *words: str) -> str:
        return self.run("pgbackrest", f"--config={self.conf}", "--stanza=shop", *words)

    def _set(self, command: str) -> None:
        with closing(self.server.connect()) as db:
            db.execute(sql.SQL("alter system set archive_command = {}").format(sql.Literal(command)))
            db.execute("select pg_reload_conf()")

    def catch_up(self) -> None:
        """The last segment is made full, and archived."""
        with closing(self.server.connect()) as db:
            self._segment(db)

    def recovered(self) -> Path:
        """Into a folder."""
        back = self.folder / "back"
        self.run("mkdir", "-m", "700", back)
        self._call(f"--pg1-path={back}", "restore")
        return back

    def size(self) -> int:
        """Of the repository."""
        return sum(each.stat().st_size for each in (self.folder / "repo").rglob("*") if each.is_file())

    def close(self) -> None:
        """The server archives nothing any more."""
        self._set("exit 0")


PEERS: tuple[type[Peer], ...] = (Plain, Barman, PgBackRest)
