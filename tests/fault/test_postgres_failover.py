"""A standby is promoted while its primary is followed: the log goes on with its timeline, or a gap shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from knowngood.core.errors import Damaged
from knowngood.core.model import ComponentSpec
from knowngood.kinds.files import FilesKind
from knowngood.kinds.postgres import postgres_kind
from knowngood.wire.pglog import branches
from tests.servers.following import Following, following, open_folder
from tests.servers.postgres import POSTGRES, Postgres, running_postgres
from tests.servers.waiting import until

pytestmark = pytest.mark.needs(POSTGRES)

QUESTION = "select string_agg(number::text, ',' order by number) from numbers"


class Pair:
    """A primary and its standby, and the component that is whichever of them takes writes."""

    def __init__(self, primary: Postgres, standby: Postgres) -> None:
        self.primary = primary
        self.standby = standby
        hosts = f"host={primary.folder},{standby.folder}"
        dsn = f"{hosts} user=postgres dbname=postgres target_session_attrs=read-write"
        self.component = ComponentSpec(name="db", kind="postgres", options={"dsn": dsn})

    def caught_up(self) -> bool:
        """Whether the standby has all that the primary has written."""
        place = self.primary.sql("select pg_current_wal_lsn()")
        return self.standby.sql(f"select pg_last_wal_replay_lsn() >= '{place}'") == "t"

    def fails_over(self) -> None:
        """The primary dies; the standby takes its place."""
        self.primary.kill()
        self.standby.run("pg_ctl", "-D", self.standby.data, "-w", "promote")


@contextmanager
def pair() -> Iterator[Pair]:
    """Both run."""
    with running_postgres() as primary, open_folder() as folder:
        primary.sql("create table numbers (number int)")
        standby = Postgres(folder, primary=primary)
        try:
            standby.start()
            yield Pair(primary, standby)
        finally:
            standby.end()


def writes(server: Postgres, followed: Following, number: int) -> int:
    """Write a number, and wait until it is in the log; where the log is then."""
    server.sql(f"insert into numbers values ({number})")
    place = server.sql("select pg_current_wal_flush_lsn()")
    flushed = f"select coalesce(bool_or(flush_lsn >= '{place}'), false) from pg_stat_replication"
    flushed += " where application_name like 'knowngood%'"
    followed.until(lambda: server.sql(flushed) == "t")
    return len(followed.records)


def answers(followed: Following, at: int) -> str:
    """What a server on the state before a record has."""
    with followed.sandbox(followed.at(at)) as sandbox:
        return sandbox.ask(QUESTION, 30)[0][0]


@pytest.mark.slow
def test_the_log_goes_on(tmp_path: Path) -> None:
    """No gap, no new base; each moment before and after the switch comes back, twice over."""
    with pair() as found, following(postgres_kind(FilesKind()), found.component, tmp_path / "state") as followed:
        followed.checkpoint()
        first = writes(found.primary, followed, 1)
        found.primary.sql("select pg_switch_wal()")
        second = writes(found.primary, followed, 2)
        until(found.caught_up)
        found.fails_over()
        third = writes(found.standby, followed, 3)
        base = followed.checkpoints[0]
        followed.checkpoint()
        followed.restart()
        followed.checkpoint()  # goes on with the new timeline
        fourth = writes(found.standby, followed, 4)
        for at, wanted in ((first, "1"), (second, "1,2"), (third, "1,2,3"), (fourth, "1,2,3,4")):
            assert answers(followed, at) == wanted
        followed.checkpoints[:] = [base]
        assert answers(followed, third) == "1,2,3"
        assert followed.gaps == 2  # the restart is the other one


@pytest.mark.slow
def test_a_standby_that_was_behind(tmp_path: Path) -> None:
    """What it never had is in no log of its own: a gap, a new base; what was followed before still comes back."""
    with pair() as found, following(postgres_kind(FilesKind()), found.component, tmp_path / "state") as followed:
        followed.checkpoint()
        writes(found.primary, followed, 1)
        until(found.caught_up)
        found.standby.stop()
        lost = writes(found.primary, followed, 2)
        found.primary.kill()
        found.standby.start()
        found.standby.run("pg_ctl", "-D", found.standby.data, "-w", "promote")
        found.standby.sql("insert into numbers values (3)")
        followed.until(lambda: not followed.follower.standing.based)
        assert "does not go on" in followed.follower.standing.reason
        followed.checkpoint()
        after = writes(found.standby, followed, 4)
        assert answers(followed, lost) == "1,2"
        assert answers(followed, after) == "1,3,4"
        assert followed.gaps == 2


def test_where_timelines_end() -> None:
    """As a history file has it; what says nothing of that is refused."""
    text = b"1\t0/3000028\tno recovery target specified\n\n# a comment\n2\tA/0\tafter x\ty\n"
    assert branches(text) == {1: 0x3000028, 2: 0xA00000000}
    assert branches(b"") == {}
    for wrong in (b"1\n", b"x\t0/0\twhy\n", b"1\tnowhere\twhy\n", b"9" * 5000 + b"\t0/0\twhy\n"):
        with pytest.raises(Damaged):
            branches(wrong)
