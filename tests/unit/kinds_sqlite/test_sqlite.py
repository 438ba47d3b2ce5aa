"""What is SQLite's own: logs that begin anew, other files in the place of the database, databases without a log."""

from __future__ import annotations

import os
import select
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from knowngood.core.errors import Busy, KnowngoodError, NotFound, Unsupported, UsageError
from knowngood.kinds.sqlite import files
from knowngood.kinds.sqlite.words import BROKEN, Refusal
from knowngood.testing.memory import MemoryPages
from tests.servers.following import Following, contents, following, open_folder
from tests.unit.kinds_sqlite.playing import KIND, drain, found_in, insert, now, opened, spec

# ---------------------------------------------------------------------------------------------------------- the log


def test_a_commit_wakes_and_spilled_pages_do_not(followed: Following, program: sqlite3.Connection) -> None:
    """There is something to read only when there is something to take."""
    file = followed.follower.standing.file
    assert followed.follower.standing.prompt
    drain(followed)
    assert not select.select([file], [], [], 0.05)[0]
    program.execute("PRAGMA cache_size=5")
    program.execute("BEGIN")
    insert(program, *range(1000), size=300)
    assert not select.select([file], [], [], 0.3)[0]
    assert followed.tick() == 0
    program.execute("COMMIT")
    assert select.select([file], [], [], 30)[0]
    assert followed.tick() > 0
    assert len(found_in(followed, now(followed))) == 1000


def test_long_logs_are_handed_over(followed: Following, program: sqlite3.Connection, path: Path) -> None:
    """A log does not grow without end, though somebody reads it; the checkpoints are ours and leave no gap."""
    program.execute("PRAGMA wal_autocheckpoint=0")
    for number in range(60):
        insert(program, number, size=200_000)
        drain(followed)
    assert path.with_name("stats.db-wal").stat().st_size < 20 << 20
    assert followed.gaps == 1
    followed.checkpoint()
    assert len(found_in(followed)) == 60
    assert contents(now(followed)) == contents(followed.newest())


def test_a_checkpoint_that_truncates_the_log(followed: Following, program: sqlite3.Connection) -> None:
    """Of the program's own, over and over."""
    for number in range(6):
        insert(program, number)
        drain(followed)
        program.execute("PRAGMA busy_timeout=50")
        program.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    drain(followed)
    insert(program, 7)
    drain(followed)
    followed.checkpoint()
    assert found_in(followed) == ["0", "1", "2", "3", "4", "5", "7"]


def test_vacuum_and_a_smaller_file(followed: Following, program: sqlite3.Connection) -> None:
    """The file becomes shorter, in the log and in the checkpoint."""
    insert(program, *range(500), size=400)
    drain(followed)
    program.execute("DELETE FROM t WHERE n > 5")
    program.execute("VACUUM")
    drain(followed)
    followed.checkpoint()
    assert contents(now(followed)) == contents(followed.newest())
    assert len(contents(followed.newest())[b"stats.db"][3]) < 20_000
    assert found_in(followed, sql="PRAGMA integrity_check") == ["ok"]


def test_a_transaction_that_is_too_large(
    path: Path, program: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It breaks the chain: never half of it."""
    monkeypatch.setattr(files, "TRANSACTION_BYTES", 50_000)
    insert(program, 1, 2, size=100)
    log = files.Files(str(path), os.open(path, os.O_RDONLY))
    log.begin()
    assert len(log.take(log.index(), 1 << 20)) >= 2
    insert(program, 3, size=100_000)
    with pytest.raises(Refusal, match="one transaction") as wrong:
        log.take(log.index(), 1 << 20)
    assert wrong.value.kind == BROKEN
    for each in (log._main, log._wal, log._shm):
        os.close(each)


@pytest.mark.parametrize("harm", ["page", "head", "shorter"])
def test_a_log_that_is_damaged(path: Path, program: sqlite3.Connection, harm: str) -> None:
    """Its sums say so."""
    insert(program, 1, 2, 3, size=500)
    wal = path.with_name("stats.db-wal")
    if harm == "shorter":
        os.truncate(wal, wal.stat().st_size - 1)
    else:
        with wal.open("r+b") as file:
            file.seek(32 + (24 + 4096) * 1 + (2000 if harm == "page" else 8))
            file.write(b"damage")
    log = files.Files(str(path), os.open(path, os.O_RDONLY))
    log.begin()
    with pytest.raises(Refusal) as wrong:
        log.take(log.index(), 1 << 20)
    assert wrong.value.kind == BROKEN
    for each in (log._main, log._wal, log._shm):
        os.close(each)


@pytest.mark.parametrize("page_size", [512, 1024, 8192, 65536])
def test_pages_of_all_sizes(tmp_path: Path, page_size: int) -> None:
    """Also those that are larger than pieces are."""
    path = tmp_path / "db"
    with closing(opened(path)) as program:
        program.execute(f"PRAGMA page_size={page_size}")
        program.execute("PRAGMA journal_mode=WAL")
        program.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)")
        insert(program, *range(100))
        with following(KIND, spec(path), tmp_path / "state") as followed:
            followed.checkpoint()
            insert(program, *range(100, 200))
            drain(followed)
            followed.checkpoint()
            assert contents(now(followed)) == contents(followed.newest())
            assert len(found_in(followed)) == 200


def test_little_is_read_and_kept_for_a_small_change(followed: Following, program: sqlite3.Connection) -> None:
    """A commit costs its pages; a checkpoint the pieces they are in."""
    insert(program, *range(3000), size=1000)
    drain(followed)
    followed.checkpoint()
    before = len(followed.vault.chunks)
    program.execute("UPDATE t SET data = 'small' WHERE n = 1500")
    records = followed.tick()
    assert records <= 4
    followed.checkpoint()
    assert len(followed.vault.chunks) - before <= 6


# ------------------------------------------------------------------------------------------------- other databases


def test_a_database_that_is_deleted(followed: Following, path: Path) -> None:
    """It is said that it is gone."""
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink()
    with pytest.raises(NotFound, match="no database"):
        followed.tick()


def test_without_a_log_of_its_own_it_is_copied(tmp_path: Path) -> None:
    """It cannot be followed, which is said with the fix; bases are made while others write."""
    path = tmp_path / "old.db"
    with closing(opened(path)) as program:
        program.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)")
        insert(program, 1, 2, 3)
        with pytest.raises(Unsupported, match="write-ahead log") as wrong:
            KIND.follow(spec(path), str(tmp_path / "state"))
        assert "journal_mode=WAL" in wrong.value.hint
        program.execute("BEGIN IMMEDIATE")
        insert(program, 4)
        followed = Following(KIND, spec(path), tmp_path / "state")
        captured = followed.base(tmp_path / "state")
        program.execute("COMMIT")
    assert captured.capture == "scan"
    assert found_in(followed, (captured.root, MemoryPages(followed.vault))) == ["1", "2", "3"]
    assert sorted(os.listdir(tmp_path / "state")) == ["base", "in-use"]


@pytest.mark.parametrize("content", [b"not a database" * 100, os.urandom(4096), b"SQLite format 3\0" + bytes(84)])
def test_what_is_no_database(tmp_path: Path, content: bytes) -> None:
    """Text, an encrypted one, a damaged one: an error of ours, with a hint or the reason."""
    path = tmp_path / "db"
    path.write_bytes(content)
    with pytest.raises(KnowngoodError):
        KIND.follow(spec(path), str(tmp_path / "state"))
    followed = Following(KIND, spec(path), tmp_path / "state")
    with pytest.raises(KnowngoodError):
        followed.base(tmp_path / "state")


def test_paths_that_are_none(tmp_path: Path) -> None:
    """What is wrong with them."""
    with pytest.raises(UsageError, match="not absolute"):
        KIND.probe(spec(Path("relative.db")))
    with pytest.raises(UsageError, match="is no file"):
        KIND.probe(spec(tmp_path))
    with pytest.raises(NotFound, match="no database"):
        KIND.probe(spec(tmp_path / "none"))


def test_a_name_that_is_hard_to_write(tmp_path: Path) -> None:
    """Characters that mean something in addresses of SQLite."""
    path = tmp_path / "a ?b#c%41&d.db"
    with closing(opened(path)) as program:
        program.execute("PRAGMA journal_mode=WAL")
        program.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)")
        with following(KIND, spec(path), tmp_path / "state") as followed:
            followed.checkpoint()
            insert(program, 1)
            drain(followed)
            assert found_in(followed, now(followed)) == ["1"]


@pytest.mark.root
def test_a_database_of_somebody_else(tmp_path: Path) -> None:
    """Root reads it by the rights of its owner, who can go on to use it; it comes back as theirs."""
    with open_folder() as folder:
        path = folder / "db"
        with closing(opened(path)) as program:
            program.execute("PRAGMA journal_mode=WAL")
            program.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)")
        os.chown(folder, 65534, 65534)
        os.chown(path, 65534, 65534)
        with following(KIND, spec(path), tmp_path / "state") as followed:
            followed.checkpoint()
            assert {each.stat().st_uid for each in folder.iterdir()} == {65534}
            warden = followed.follower._feed._warden  # type: ignore[attr-defined]
            assert os.stat(f"/proc/{warden._process.pid}").st_uid == 65534
            with closing(opened(path)) as program:
                insert(program, 1)
            drain(followed)
            assert found_in(followed, now(followed)) == ["1"]
            assert contents(now(followed))[b"db"][1:3] == (65534, 65534)
        program = opened(path)
        program.execute("PRAGMA journal_mode=DELETE")
        program.close()
        captured = followed.base(tmp_path / "state")
        assert found_in(followed, (captured.root, MemoryPages(followed.vault))) == ["1"]


# ------------------------------------------------------------------------------------------------------------ holds


def test_a_warden_that_is_killed_lets_go(followed: Following, program: sqlite3.Connection) -> None:
    """Of the write lock, at once, by the kernel; following goes on without a gap."""
    insert(program, 1)
    drain(followed)
    holder = followed.follower.standing.holder
    assert holder
    holder.hold(60)
    warden = followed.follower._feed._warden  # type: ignore[attr-defined]
    os.kill(warden._process.pid, signal.SIGKILL)
    began = time.monotonic()
    insert(program, 2)
    assert time.monotonic() - began < 10
    assert not holder.release()
    drain(followed)
    with pytest.raises(Busy, match="over before"):
        holder.mark()
    insert(program, 3)
    drain(followed)
    assert found_in(followed, now(followed)) == ["1", "2", "3"]
    assert followed.gaps == 1


def test_a_writer_that_does_not_end_cannot_be_held(followed: Following, program: sqlite3.Connection) -> None:
    """It is said within the lease, and nothing is held then."""
    holder = followed.follower.standing.holder
    assert holder
    program.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy):
        holder.hold(0.2)
    insert(program, 1)
    program.execute("COMMIT")
    insert(program, 2)
