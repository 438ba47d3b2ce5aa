"""Databases that come back: in place, and as something that answers questions."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from knowngood.core.errors import Busy, KnowngoodError
from knowngood.core.ports import RecoveryRequest
from knowngood.core.progress import Progress
from tests.servers.following import Following, checkpoint_of, following
from tests.unit.kinds_sqlite.playing import KIND, State, drain, found_in, insert, now, opened, spec


def recover(followed: Following, state: State, path: Path) -> None:
    """In place."""
    root, pages = state
    request = RecoveryRequest(checkpoint_of(root, spec(path)), str(path))
    plan = KIND.plan(request, pages, Progress())
    assert (plan.create, plan.rewrite) == ((0, 1) if path.exists() else (1, 0))
    done = KIND.materialize(plan, pages, Progress())
    assert not done.problems


def test_recovery_in_place(followed: Following, path: Path) -> None:
    """With its mode; the log of what is replaced is never played onto it; that stays beside."""
    with closing(opened(path)) as program:
        insert(program, 1, 2)
        drain(followed)
        then = now(followed)
        insert(program, 3)
        program.execute("DELETE FROM t WHERE n = 1")
        drain(followed)
    recover(followed, then, path)
    with closing(opened(path)) as database:
        assert database.execute("SELECT n FROM t").fetchall() == [(1,), (2,)]
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert path.stat().st_mode & 0o777 == 0o640
    with closing(opened(path.with_name("stats.db.former"))) as former:
        assert former.execute("SELECT n FROM t").fetchall() == [(2,), (3,)]
    assert not [each for each in os.listdir(path.parent) if each.startswith(".")]


def test_recovery_through_a_symlink(path: Path, tmp_path: Path) -> None:
    """It stays a symlink; the file that it leads to is replaced."""
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with closing(opened(path)) as program, following(KIND, spec(link), tmp_path / "state") as followed:
        insert(program, 1)
        followed.checkpoint()
        then = followed.newest()
        assert found_in(followed, then) == ["1"]
        insert(program, 2)
        program.close()
        recover(followed, then, link)
    assert link.is_symlink()
    with closing(opened(path)) as database:
        assert database.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_recovery_in_place_of_what_is_gone_or_damaged(followed: Following, path: Path) -> None:
    """A log that was left alone is put aside."""
    with closing(opened(path)) as program:
        insert(program, 1)
        drain(followed)
        then = now(followed)
        insert(program, 2)
        path.unlink()
    recover(followed, then, path)
    with closing(opened(path)) as database:
        assert database.execute("SELECT n FROM t").fetchall() == [(1,)]
    path.write_bytes(b"damaged" * 1000)
    recover(followed, then, path)
    with closing(opened(path)) as database:
        assert database.execute("SELECT n FROM t").fetchall() == [(1,)]
    assert path.with_name("stats.db.former").read_bytes() == b"damaged" * 1000


def test_nothing_is_replaced_that_somebody_has_open(followed: Following, path: Path) -> None:
    """Who it is is said; nothing has changed."""
    state = now(followed)
    code = "import sqlite3,sys;d=sqlite3.connect(sys.argv[1]);d.execute('SELECT 1 FROM t');print(flush=True);input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout
        program.stdout.readline()
        before = path.read_bytes()
        with pytest.raises(Busy, match=f"process {program.pid} ") as wrong:
            recover(followed, state, path)
        assert "--to" in wrong.value.hint
        assert path.read_bytes() == before
        assert not path.with_name("stats.db.former").exists()
    recover(followed, state, path)


def test_questions(followed: Following, program: sqlite3.Connection) -> None:
    """Rows of text; nothing is written; what takes too long, or is no SQL, is an error of ours."""
    insert(program, 1)
    program.execute("UPDATE t SET data = NULL")
    drain(followed)
    with followed.sandbox(now(followed)) as sandbox:
        assert sandbox.ask("SELECT n, data, 'x' FROM t", 5) == [("1", "", "x")]
        assert Path(sandbox.address["path"]).name == "stats.db"
        with pytest.raises(KnowngoodError, match="refuses"):
            sandbox.ask("DELETE FROM t", 5)
        with pytest.raises(KnowngoodError, match="refuses"):
            sandbox.ask("SELECT", 5)
        endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT "
        with pytest.raises(Busy, match="longer"):
            sandbox.ask(endless + "count(*) FROM c", 0.1)
        with pytest.raises(KnowngoodError, match="more than"):
            sandbox.ask(endless + "x FROM c", 30)
