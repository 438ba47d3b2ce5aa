"""A PostgreSQL server of some size, its log behind it: how long its base takes, how soon commits are safe, and how long
it takes until it is back; here, and by others."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from bench.services.latency import loaded, waits
from bench.services.peers import PEERS, Peer
from bench.services.servers import Postgres
from bench.services.shop import SERVICE, Shop
from bench.services.table import Table, quantile
from knowngood.core.instants import iso_text, now_ns
from knowngood.databases.server import Server

_MIB_OF_SCALE = 16
_TPS = 300
_SECONDS = 600.0


def measure(folder: Path, mib: int, seconds: float, table: Table) -> None:
    """A database of so many MiB, then so many seconds of writing with each of us in turn."""
    settings = ("max_wal_size=4GB", "archive_mode=on")
    with closing(Postgres(folder / "large", settings)) as server:
        scale = max(1, mib // _MIB_OF_SCALE)
        server.run("pgbench", "-h", server.sockets, "-U", "postgres", "-q", "-i", "-s", scale, "postgres")
        with closing(server.connect()) as db:
            db.execute("alter system set archive_command = 'exit 0'")  # until somebody archives
            db.execute("select pg_reload_conf()")
            db.execute("create table load (id bigserial primary key, body text)")
            db.execute("checkpoint")
            (size,) = db.execute("select sum(pg_database_size(oid))::bigint from pg_database").fetchone() or (0,)
        table.add("a PostgreSQL server: size", size / 2**20, "MiB")
        yardstick = 0.0
        for make in PEERS:
            peer = make(folder, server)
            if why := peer.missing():
                table.note(f"{peer.name}: left out, {why}")
                continue
            came = _one(peer, server, seconds, table)
            yardstick = yardstick or came
        ours = _one(_Ours(folder, server), server, seconds, table)
        table.add("Knowngood: recovery, by pg_basebackup and replay of as much", ours / yardstick, "times", 1.2)


def _one(peer: Peer, server: Postgres, seconds: float, table: Table) -> float:
    """Base, log and recovery by one of them. Seconds of the way back; of plain PostgreSQL, with those of a base."""
    with closing(peer):
        began = time.monotonic()
        peer.base()
        base = time.monotonic() - began
        table.add(f"{peer.name}: base", base, "s")
        table.add(f"{peer.name}: size of it", peer.size() / 2**20, "MiB")
        with loaded(server, _TPS):
            time.sleep(1)
            if peer.receiver:
                found = sorted(waits(server, seconds, peer.receiver))
                for part in (0.5, 0.99):
                    table.add(f"{peer.name}: commit to durable, p{100 * part:g}", 1e3 * quantile(found, part), "ms")
            else:
                found = sorted(peer.archived(seconds))
                table.add(f"{peer.name}: a full segment to archived, p50", 1e3 * quantile(found, 0.5), "ms")
        with closing(server.connect()) as db:
            db.execute("insert into load (body) values ('last')")
            peer.catch_up()
            (rows,) = db.execute("select count(*) from load").fetchone() or (0,)
        began = time.monotonic()
        to = peer.recovered()
        fetched = time.monotonic() - began
        with closing(started(to, server)) as back:
            took = time.monotonic() - began
            if back.rows() != rows:
                raise AssertionError(f"{peer.name}: {back.rows()} rows came back of {rows}")
        table.add(f"{peer.name}: recovery to its last moment", took, "s")
        shutil.rmtree(to, ignore_errors=True)
    if peer.is_yardstick:
        table.add("pg_basebackup and replay of that log", base + took - fetched, "s")
    return base + took - fetched if peer.is_yardstick else took


class started:  # noqa: N801 - it reads as what it does
    """A server on a recovered folder, from when it can be written to."""

    def __init__(self, folder: Path, like: Postgres) -> None:
        self._server = Server(str(folder), "postgres")
        to = ["-h", self._server.sockets, "-U", "postgres", "-d", "postgres"]
        self._psql = [str(like.programs / "psql"), "-XAtq", *to]
        command = [str(like.programs / "postgres"), "-D", str(folder), "-k", self._server.sockets]
        settings = ("listen_addresses=", "archive_mode=off", "fsync=off", "hot_standby=off")
        self._server.start([*command, *(word for each in settings for word in ("-c", each))], self._answers, _SECONDS)

    def _answers(self) -> bool:
        with suppress(subprocess.CalledProcessError):
            return self._ask("select pg_is_in_recovery()") == "f"
        return False

    def _ask(self, text: str) -> str:
        return subprocess.run([*self._psql, "-c", text], check=True, capture_output=True, text=True).stdout.strip()

    def rows(self) -> int:
        """How many rows the load has left."""
        return int(self._ask("select count(*) from load"))

    def close(self) -> None:
        """End it."""
        self._server.stop()


class _Ours(Peer):
    """Knowngood."""

    name = "Knowngood"
    receiver = "knowngood%"
    is_yardstick = False

    def __init__(self, folder: Path, server: Postgres) -> None:
        super().__init__(folder, server)
        self._shop = Shop(folder / "ours", {"db": server}, "rpo: 1d, points: 12h")
        self._ending: Callable[[], object] = lambda: None

    def missing(self) -> str:
        """It is here."""
        return ""

    def base(self) -> None:
        """The keeper's first point."""
        following = self._shop.followed()
        following.__enter__()
        self._ending = lambda: following.__exit__(None, None, None)

    def size(self) -> int:
        """Of the vault."""
        return self._shop.size()

    def catch_up(self) -> None:
        """Wait until the last commit is durable."""
        list(waits(self.server, 0.1, self.receiver))

    def recovered(self) -> Path:
        """A moment between points."""
        self._shop.call("recover", SERVICE, "--at", iso_text(now_ns()), "--to", self.folder / "back", "--yes")
        return self.folder / "back" / "db"

    def close(self) -> None:
        """End the keeper; the server keeps nothing for us."""
        self._ending()
