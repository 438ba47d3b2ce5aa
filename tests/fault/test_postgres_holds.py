"""Holds of PostgreSQL step by step: prepared, held, ended by others, and what a killed process may have left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fault.test_postgres import followed, link_to
from tests.servers.postgres import Postgres, running_postgres

pytestmark = [pytest.mark.slow, pytest.mark.needs("/usr/lib/postgresql/15/bin/postgres")]


@pytest.fixture
def server() -> Iterator[Postgres]:
    """With a table."""
    with running_postgres() as found:
        found.sql("create table numbers (number int)")
        yield found


def test_what_is_prepared_holds_nobody(server: Postgres, tmp_path: Path) -> None:
    """Commits go on until it is held; when it is let go without, nothing is left of it."""
    with followed(server, tmp_path / "state") as found, closing(link_to(server)) as link:
        holder = found.follower.standing.holder
        assert holder is not None
        holder.prepare(30)
        link.ask("insert into numbers values (6001)")
        assert not holder.release()
        assert link.value("show synchronous_standby_names") == ""
        holder.prepare(30)
        holder.hold(30)
        link.send("insert into numbers values (6002)")
        assert not link.readable(0.2)
        assert holder.mark()
        assert not link.readable(0.2)
        assert holder.release()
        assert link.result(10) is not None
        assert link.result() is None


def test_a_hold_that_somebody_else_ends_is_none(server: Postgres, tmp_path: Path) -> None:
    """Once it is marked, what is written down is as before: whoever has the server read that lets commits go on."""
    with followed(server, tmp_path / "state") as found, closing(link_to(server)) as link:
        holder = found.follower.standing.holder
        assert holder is not None
        holder.hold(30)
        assert holder.mark()
        server.sql("select pg_reload_conf()")
        link.ask("insert into numbers values (6003)")
        assert not holder.release()
        holder.hold(30)
        assert holder.mark()
        assert holder.release()


def test_what_was_written_down_and_left_behind_is_taken_back(server: Postgres, tmp_path: Path) -> None:
    """By whoever was killed with his watchdog: before the server reads it for somebody else."""
    server.sql("alter system set synchronous_standby_names = 'knowngood_hold_gone'")
    with followed(server, tmp_path / "state"):
        server.sql("select pg_reload_conf()")
        server.sql("insert into numbers values (6004)")
        assert server.sql("show synchronous_standby_names") == ""
