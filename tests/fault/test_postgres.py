"""A PostgreSQL server under load: wherever its log is cut, it comes back; whoever is killed, what was durable is there,
and nothing keeps commits waiting."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from knowngood.core.log import Operation
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import Sandbox
from knowngood.kinds.files import FilesKind
from knowngood.kinds.postgres import postgres_kind
from knowngood.kinds.postgres.address import Address
from knowngood.kinds.postgres.link import Link
from knowngood.testing.forking import fork
from knowngood.wire.pglog import parse_lsn
from tests.leaks import nothing_left_behind
from tests.servers.following import Following, following, open_folder
from tests.servers.postgres import POSTGRES, Postgres, running_postgres

__all__ = ["nothing_left_behind"]

pytestmark = [pytest.mark.slow, pytest.mark.needs(POSTGRES)]

_DEADLINE = 60.0
_SUMS = """
select (select sum(abalance) from pgbench_accounts), (select sum(bbalance) from pgbench_branches),
       (select sum(tbalance) from pgbench_tellers), (select coalesce(sum(delta), 0) from pgbench_history)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """With the tables of pgbench."""
    with running_postgres() as found:
        found.run("pgbench", "-i", "-s", "1", "-q", "-h", found.folder, "-U", "postgres", "postgres")
        found.sql("create table numbers (number int)")
        yield found


@contextmanager
def followed(server: Postgres, state: Path) -> Iterator[Following]:
    """While the block runs, with a base; afterwards the server keeps nothing for it."""
    spec = ComponentSpec(name="db", kind="postgres", options={"dsn": server.dsn})
    try:
        with following(postgres_kind(FilesKind()), spec, state) as found:
            found.checkpoint()
            yield found
    finally:
        server.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")


def link_to(server: Postgres) -> Link:
    """A session."""
    return Link(Address((("dbname", "postgres"), ("host", str(server.folder)), ("user", "postgres"))))


def until_durable(found: Following, link: Link) -> None:
    """Follow until the server has been told that all it has written is durable."""
    place = parse_lsn(link.value("select pg_current_wal_lsn()"))
    ours = "select max(flush_lsn) from pg_stat_replication where application_name like 'knowngood%'"
    found.until(lambda: parse_lsn(link.value(ours) or "0/0") >= place)


def is_whole(sandbox: Sandbox) -> int:
    """All sums agree, and every page and index is as it should be; how many transactions are in it."""
    (sums,) = sandbox.ask(_SUMS, 60)
    assert len(set(sums)) == 1, sums
    sandbox.ask("create extension if not exists amcheck", 60)
    sandbox.ask("select bt_index_check(oid, true) from pg_class where relkind = 'i' and relam = 403", 60)
    wrong = "select c.relname, v.* from pg_class c, verify_heapam(c.oid) v where c.relkind = 'r'"
    assert sandbox.ask(wrong, 60) == []
    ((count,),) = sandbox.ask("select count(*) from pgbench_history", 60)
    return int(count)


def test_it_comes_back_wherever_the_log_is_cut(server: Postgres, tmp_path: Path) -> None:
    """Between records, and in the midst of one, under load; later cuts have no less in them."""
    dice = random.Random(1)
    with followed(server, tmp_path / "state") as found:
        load = server.spawn("pgbench", "-h", server.folder, "-U", "postgres", "-c", "4", "-t", "400", "-n", "postgres")
        while load.poll() is None:
            found.tick()
            if dice.random() < 0.02:
                found.checkpoint()
        assert load.returncode == 0, load.communicate()[0]
        load.communicate()
        with closing(link_to(server)) as link:
            until_durable(found, link)
        whole = list(found.records)
        writes = [at for at, each in enumerate(whole) if each.operation == Operation.WRITE]
        counts = []
        for at in sorted(dice.sample(writes, 6)):
            half = whole[at].data[: dice.randrange(1, len(whole[at].data) + 1)]
            found.records = [*whole[:at], replace(whole[at], data=half, length=len(half))]
            with found.sandbox(found.at(at + 1)) as sandbox:
                counts.append(is_whole(sandbox))
        found.records = whole
        with found.sandbox(found.at(len(whole))) as sandbox:
            assert is_whole(sandbox) == 1600
    assert counts == sorted(counts)


def test_what_was_durable_is_there_after_everything_was_killed(server: Postgres, tmp_path: Path) -> None:
    """The server says how far we are: every commit up to there is recovered from what landed."""
    with followed(server, tmp_path / "state") as found, closing(link_to(server)) as link:
        for number in range(200):
            link.ask(f"insert into numbers values ({number})")
        until_durable(found, link)
        server.kill()
        landed = len(found.records)
        link.close()
        with found.sandbox(found.at(landed)) as sandbox:
            assert sandbox.ask("select count(*) from numbers", 30) == [("200",)]
        _revive(server)
        server.sql("insert into numbers values (200)")
        found.tick()
        found.until_records()
        assert found.gaps == 1
        with found.sandbox(found.at(len(found.records))) as sandbox:
            assert sandbox.ask("select count(*) from numbers", 30) == [("201",)]


def _revive(server: Postgres) -> None:
    """Start it once all that it had started is gone."""
    end = time.monotonic() + _DEADLINE
    while True:
        try:
            server.start()
        except AssertionError:
            assert time.monotonic() < end
        else:
            return


def test_commits_go_on_when_the_holder_is_killed(server: Postgres, tmp_path: Path) -> None:
    """Within a second, and long before the lease has ended: the watchdog sees the end of its pipe."""
    child = fork()
    if not child:
        try:
            with followed(server, tmp_path / "state") as found:
                holder = found.follower.standing.holder
                assert holder is not None
                holder.hold(300)
                (tmp_path / "held").touch()
                signal.pause()
        finally:
            os._exit(1)
    end = time.monotonic() + _DEADLINE
    while not (tmp_path / "held").exists():
        assert time.monotonic() < end
    with closing(link_to(server)) as link:
        link.send("insert into numbers values (-1)")
        assert not link.readable(0.3)
        os.kill(child, signal.SIGKILL)
        began = time.monotonic()
        assert link.result(5) is not None
        assert time.monotonic() - began <= 1
        assert link.result() is None
        assert link.value("show synchronous_standby_names") == ""
    os.waitpid(child, 0)
    server.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")


def test_who_stays_away_does_not_fill_the_disk(server: Postgres, tmp_path: Path) -> None:
    """The slot is dropped at its limit, which is said; what was streamed goes on, and a restart takes a new base."""
    from knowngood.kinds.postgres import slot

    spec = ComponentSpec(name="db", kind="postgres", options={"dsn": server.dsn, "slot-limit": "3MiB"})
    with (
        following(postgres_kind(FilesKind()), spec, tmp_path / "state") as found,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(slot.Guard.__init__, "__defaults__", (0.05,))
        found.checkpoint()
        names = "select count(*) from pg_replication_slots"
        assert server.sql(names) == "1"
        for _ in range(6):
            server.sql("create table big as select repeat('x', 1000) from generate_series(1, 2000); drop table big")
        found.until(lambda: server.sql(names) == "0")
        found.until(lambda: found.follower.standing.reason != "")
        assert "slot-limit" in found.follower.standing.reason
        server.sql("insert into numbers values (1000)")
        found.until_records()
        assert found.gaps == 1
        found.checkpoint()
        assert server.sql(names) == "1"
        found.tick()
        assert found.follower.standing.reason == ""
    server.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")


def test_two_holds_at_once_do_not_release_each_other(server: Postgres, tmp_path: Path) -> None:
    """The second one is refused, or waits its turn; the first is whole."""
    with followed(server, tmp_path / "one") as one, followed(server, tmp_path / "two") as two:
        first, second = one.follower.standing.holder, two.follower.standing.holder
        assert first is not None
        assert second is not None
        first.hold(30)
        failed = threading.Event()

        def try_it() -> None:
            try:
                second.hold(0.2)
            except Exception:  # noqa: BLE001 - whatever it says
                failed.set()

        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join(_DEADLINE)
        assert failed.is_set()
        assert first.mark()
        assert first.release()


def test_a_folder_starts_by_itself(server: Postgres, tmp_path: Path) -> None:
    """As what it says of itself tells, with nothing but pg_ctl."""
    with followed(server, tmp_path / "state") as found, open_folder() as folder:
        server.sql("insert into numbers values (77)")
        found.until_records()
        out = found.recover(found.at(len(found.records)), folder / "out")
        text = (out / "knowngood.txt").read_text()
        assert "pg_ctl -D FOLDER" in text
        for where, _, files in os.walk(out):
            for each in (where, *(os.path.join(where, name) for name in files)):
                os.chown(each, *server.ids)
        server.run(
            "pg_ctl", "-D", out, "-w", "-l", server.folder / "log2", "-o", f"-p 5433 -k {server.folder}", "start"
        )
        try:
            got = server.run(
                "psql", "-h", server.folder, "-p", "5433", "-U", "postgres", "-Atc", "table numbers", "postgres"
            )
            assert "77" in got.split()
            server.run("pg_ctl", "-D", out, "-w", "stop")
            server.run(
                "pg_ctl", "-D", out, "-w", "-l", server.folder / "log2", "-o", f"-p 5433 -k {server.folder}", "start"
            )
        finally:
            server.run("pg_ctl", "-D", out, "-w", "-m", "immediate", "stop")


def test_who_has_few_rights_is_told_which_are_missing(server: Postgres, tmp_path: Path) -> None:
    """REPLICATION is enough to follow; two grants are enough to hold. Nobody needs a superuser."""
    server.sql("create role backup login replication")
    dsn = server.dsn.replace("user=postgres", "user=backup")
    spec = ComponentSpec(name="db", kind="postgres", options={"dsn": dsn})
    kind = postgres_kind(FilesKind())
    kind.probe(spec)
    with following(kind, spec, tmp_path / "poor") as found:
        found.checkpoint()
        server.sql("insert into numbers values (4001)")
        found.until_records()
        assert found.follower.standing.holder is None
        grants = found.follower.standing.reason.partition("to allow it: ")[2]
        with found.sandbox(found.at(len(found.records))) as sandbox:
            assert sandbox.ask("copy (select 1 from numbers where number = 4001) to stdout", 30) == [("1",)]
    for each in grants.split("; "):
        server.sql(each)
    with following(kind, spec, tmp_path / "better") as found:
        found.checkpoint()
        holder = found.follower.standing.holder
        assert holder is not None
        holder.hold(20)
        assert holder.mark()
        assert holder.release()
        found.checkpoint()
        assert found.follower.standing.reason == ""
    server.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")


def test_tablespaces_become_folders(server: Postgres, tmp_path: Path) -> None:
    """A throw-away server has them, and the server's own are never touched."""
    with open_folder() as fast:
        os.chown(fast, *server.ids)
        server.sql(f"create tablespace fast location '{fast}'")
        server.sql("create table there tablespace fast as select generate_series(1, 1000) as number")
        with followed(server, tmp_path / "state") as found:
            server.sql("insert into there values (1001)")
            found.until_records()
            before = {each: each.stat().st_mtime_ns for each in fast.rglob("*")}
            with found.sandbox(found.at(len(found.records))) as sandbox:
                assert sandbox.ask("select count(*) from there", 30) == [("1001",)]
                sandbox.ask("insert into there select generate_series(1, 10000)", 30)
                sandbox.ask("checkpoint", 30)
            assert {each: each.stat().st_mtime_ns for each in fast.rglob("*")} == before
        server.sql("drop table there")
        server.sql("drop tablespace fast")


def test_a_promotion_is_another_timeline(tmp_path: Path) -> None:
    """The log goes on from where the two part, without a gap; nothing of the two histories is mixed."""
    with running_postgres() as server:
        server.sql("create table numbers (number int)")
        with followed(server, tmp_path / "state") as found:
            server.sql("insert into numbers values (1)")
            found.until_records()
            server.stop()
            (server.data / "recovery.signal").touch()
            with open(server.data / "postgresql.auto.conf", "a", encoding="utf-8") as file:
                file.write("restore_command = 'false'\n")
            server.start()
            server.sql("insert into numbers values (2)")
            found.until_records()
            server.sql("insert into numbers values (3)")
            place = server.sql("select pg_current_wal_flush_lsn()")
            told = f"select coalesce(bool_or(flush_lsn >= '{place}'), false) from pg_stat_replication"
            found.until(lambda: server.sql(told) == "t")
            assert found.gaps == 1
            with found.sandbox(found.at(len(found.records))) as sandbox:
                assert sandbox.ask("select number from numbers", 30) == [("1",), ("2",), ("3",)]


# ---------------------------------------------------------------------------------------------- synchronous commits


@contextmanager
def waited_for(server: Postgres, state: Path) -> Iterator[Following]:
    """While the block runs, commits wait for the vault."""
    spec = ComponentSpec(name="db", kind="postgres", options={"dsn": server.dsn, "synchronous": "yes"})
    with following(postgres_kind(FilesKind()), spec, state) as found:
        found.checkpoint()
        found.until(lambda: server.sql("show synchronous_standby_names") != "")
        yield found


def test_a_synchronous_commit_is_in_the_vault(server: Postgres, tmp_path: Path) -> None:
    """It waits until then, and holds are exact in this way, too."""
    with waited_for(server, tmp_path / "state") as found, closing(link_to(server)) as link:
        link.send("insert into numbers values (5001)")
        assert not link.readable(0.2)
        found.until(lambda: not link.is_busy())
        assert link.result() is not None
        landed = len(found.records)
        with found.sandbox(found.at(landed)) as sandbox:
            assert sandbox.ask("select 1 from numbers where number = 5001", 30) == [("1",)]
        found.until(lambda: found.follower.standing.reason == "")
        holder = found.follower.standing.holder
        assert holder is not None
        held = threading.Event()

        def hold() -> None:
            holder.hold(1.5)
            held.set()

        thread = threading.Thread(target=hold)
        thread.start()
        found.until(held.is_set)
        thread.join()
        assert holder.mark()
        assert holder.release()
        found.checkpoint()
    assert server.sql("show synchronous_standby_names") == ""
    server.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")


def test_a_vault_that_is_late_is_waited_for_no_longer(server: Postgres, tmp_path: Path) -> None:
    """Commits go on, it is said since when; and it is waited for again when it keeps up."""
    with waited_for(server, tmp_path / "state") as found, closing(link_to(server)) as link:
        link.ask("insert into numbers values (5002)", seconds=20)
        found.until(lambda: "late" in found.follower.standing.reason)
        found.until(lambda: server.sql("show synchronous_standby_names") != "")
        found.until(lambda: found.follower.standing.reason == "")
    server.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")


def test_commits_go_on_when_who_is_waited_for_is_killed(server: Postgres, tmp_path: Path) -> None:
    """Nothing waits for the dead."""
    child = fork()
    if not child:
        try:
            with waited_for(server, tmp_path / "state"):
                (tmp_path / "waits").touch()
                signal.pause()
        finally:
            os._exit(1)
    end = time.monotonic() + _DEADLINE
    while not (tmp_path / "waits").exists():
        assert time.monotonic() < end
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with closing(link_to(server)) as link:
        began = time.monotonic()
        link.ask("insert into numbers values (5003)", seconds=20)
        assert time.monotonic() - began <= 1
        assert link.value("show synchronous_standby_names") == ""
    server.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")
