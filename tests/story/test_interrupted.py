"""Ctrl-C, and two commands at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from knowngood.testing.trees import picture
from tests.story.shop import MIB, assert_same, some_bytes
from tests.user import Answer, User

ROOT = Path(__file__).resolve().parents[2]


def drive(user: User, event: str, prefix: str, number: int, *words: str | Path) -> Answer:
    """Run words in a process in which an event happens."""
    done = subprocess.run(
        _command(event, prefix, number, *words),
        check=False,
        capture_output=True,
        cwd=ROOT,
        env=user.environment(),
        stdin=subprocess.DEVNULL,
    )
    return Answer(done.returncode, done.stdout, done.stderr.decode())


def _command(event: str, prefix: str, number: int, *words: str | Path) -> list[str]:
    return [sys.executable, "-m", "tests.story.driver", event, prefix, str(number), *map(str, words)]


@contextmanager
def at_work(user: User, prefix: str, number: int, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is in the middle of something while the block runs, and then ends well."""
    command = _command("wait", prefix, number, *words)
    with subprocess.Popen(
        command, cwd=ROOT, env=user.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"here\n"
        yield process
        _, err = process.communicate()
        assert (process.returncode, err) == (0, b"")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Enough for several packs."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}").write_bytes(some_bytes(10 * MIB, seed=number))
    return folder


@pytest.fixture
def user(tmp_path: Path, data: Path) -> User:
    """With a service and no point yet."""
    user = User(tmp_path)
    user.begins("shop", data)
    return user


def test_ctrl_c_while_protecting(user: User, data: Path) -> None:
    """Status 130, nothing visible, and the next run does not read again what has landed."""
    # Where chunks end follows from the vault's secret: a pack of this driver holds 1 to 5 MiB, so there are 20 or more.
    stopped = drive(user, "interrupt", "packs/", 20, "protect", "shop")
    assert stopped.status == 130
    assert stopped.next == "run the same command again to go on"
    assert user.points() == []
    assert user.asks("vault", "status")["sessions"] == []

    again = drive(user, "nothing", "", 0, "protect", "shop", "--json")
    assert again.status == 0
    point = again.json["point"]
    assert point["bytes"] == 100 * MIB
    assert point["components"][0]["read_bytes"] < 85 * MIB
    assert point["new_bytes"] < 85 * MIB
    user.does("recover", "shop", "--to", user.folder / "out")
    assert_same(user.folder / "out" / "data", picture(data))
    user.does("vault", "check", "--read-data")


def test_ctrl_c_as_json(user: User) -> None:
    """Programs learn of it in their way."""
    stopped = drive(user, "interrupt", "packs/", 1, "protect", "shop", "--json")
    assert (stopped.status, stopped.raw) == (130, b"")
    assert stopped.error == {
        "code": "interrupted",
        "message": "interrupted",
        "hint": "run the same command again to go on",
        "retry": "now",
        "exit_status": 130,
    }


@pytest.mark.parametrize(("prefix", "number"), [("sessions/", 1), ("index/", 1), ("commits/", 1)])
def test_ctrl_c_at_other_moments(prefix: str, number: int, user: User) -> None:
    """After the announcement; before the commit; right after it, when the point has begun to exist."""
    stopped = drive(user, "interrupt", prefix, number, "protect", "shop")
    assert stopped.status == 130
    assert len(user.points()) == (prefix == "commits/")
    user.does("protect", "shop")
    user.does("tidy")
    user.does("vault", "check")


def test_ctrl_c_while_tidying(user: User, data: Path) -> None:
    """The next run goes on from there."""
    user.does("policy", "set", "shop", "undo=0")
    first = user.protects()["id"]
    for each in data.iterdir():
        each.write_bytes(b"now it is short")
    user.protects()
    user.does("expire", "shop", first)
    assert drive(user, "interrupt", "epochs/", 1, "vault", "collect").status == 130
    user.does("vault", "collect")
    assert user.asks("vault", "status")["pack_bytes"] < MIB
    user.does("vault", "check", "--read-data")


def test_two_commands_in_one_home(user: User) -> None:
    """The second one gives way at once and says to whom. Looking and recovering are always possible."""
    (user.folder / "small").mkdir()
    (user.folder / "small" / "file").write_text("content")
    user.does("service", "add", "small", "--files", user.folder / "small")
    user.protects("small")
    with at_work(user, "packs/", 1, "protect", "shop") as process:
        error = user.does("protect", "shop", "--json", status=7).error
        assert f"'knowngood protect shop' (process {process.pid}, since " in error["message"]
        assert error["retry"] == "later"
        assert str(process.pid) in error["hint"]
        user.does("tidy", status=7)
        user.does("tidy", "--dry-run")
        user.does("recover", "small", "--to", user.folder / "out")
        assert (user.folder / "out" / "small" / "file").read_text() == "content"
        assert user.points() == []
        (session,) = user.asks("vault", "status")["sessions"]
        assert session["purpose"] == "protect"
    assert len(user.points()) == 1
    user.does("protect", "shop")


def test_cleaning_beside_a_writer(user: User, tmp_path: Path) -> None:
    """From another home: nothing is taken away from under the one at work, and it is named."""
    other = User(tmp_path, home=tmp_path / "other", vault=user.vault)
    key = tmp_path / "kit"
    key.write_text(user.asks("vault", "keys", "kit")["recovery_key"])
    other.does("init", "--vault", user.vault, "--join", "--no-passphrase", "--recovery-key-file", key)
    with at_work(user, "packs/", 2, "protect", "shop"):
        collected = other.asks("vault", "collect")["collected"]
        assert [each["purpose"] for each in collected["waiting_for"]] == ["protect"]
        assert collected["deleted_packs"] == 0
        told = other.does("tidy").out
        assert "nothing is deleted yet: protect on" in told
    user.does("vault", "collect")
    user.does("recover", "shop", "--to", tmp_path / "out")
    user.does("vault", "check", "--read-data")


def test_a_killed_command_leaves_a_session(user: User) -> None:
    """The doctor sees it, collection ends it."""
    command = _command("wait", "packs/", 1, "protect", "shop")
    with subprocess.Popen(
        command, cwd=ROOT, env=user.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"here\n"
        process.kill()
    findings = user.asks("doctor", status=1)["findings"]
    assert any("'protect' was interrupted" in each["what"] for each in findings)
    user.does("protect", "shop")
    user.does("vault", "collect")
    assert user.asks("vault", "status")["sessions"] == []
    user.does("vault", "check")
