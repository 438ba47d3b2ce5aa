"""`knowngood up`, a real process over a real home and vault. What happens is read from its event lines."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from knowngood.control.home import Home
from knowngood.control.up.client import ask
from knowngood.control.up.protocol import Answer, Request
from tests.story.shop import MIB, some_bytes
from tests.user import PROGRAM, User

ROOT = Path(__file__).resolve().parents[2]
_DEADLINE = 90.0  # machines can be busy; a test that waits for this long has failed


class Up:
    """The process, and the events that it reports."""

    def __init__(self, user: User, command: Sequence[str | Path] = (PROGRAM,), **more: str) -> None:
        self.process = subprocess.Popen(
            [*command, "up", "--events"],
            cwd=ROOT,
            env={**user.environment(), **more},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._rest = b""
        self._lines: list[bytes] = []

    def until(self, what: str, **fields: Any) -> dict[str, Any]:
        """Read on until there is such an event."""
        deadline = time.monotonic() + _DEADLINE
        passed = []
        while (event := self._next(deadline)) is not None:
            passed.append(event)
            if event["event"] == what and fields.items() <= event.items():
                return event
        raise AssertionError(f"no {what} {fields}, but {len(passed)} others, at last {passed[-2:]}")

    def until_each(self, what: str, *services: str) -> dict[str, dict[str, Any]]:
        """Read on until there is such an event of each of these services, in whatever order."""
        found: dict[str, dict[str, Any]] = {}
        while not found.keys() >= set(services):
            event = self.until(what)
            found.setdefault(event["service"], event)
        return found

    def _next(self, deadline: float) -> dict[str, Any] | None:
        assert self.process.stderr
        while not self._lines:
            if not select.select([self.process.stderr], [], [], max(0, deadline - time.monotonic()))[0]:
                return None
            data = os.read(self.process.stderr.fileno(), 1 << 16)
            if not data:
                return None
            *self._lines, self._rest = (self._rest + data).split(b"\n")
        return json.loads(self._lines.pop(0))

    def ends(self, number: int = signal.SIGTERM, status: int = 0) -> None:
        """Send a signal; it ends with this status."""
        self.process.send_signal(number)
        if number != signal.SIGKILL:
            self.until("stopped")
        assert self.process.wait(_DEADLINE) == status


@contextlib.contextmanager
def up(user: User, command: Sequence[str | Path] = (PROGRAM,), **more: str) -> Iterator[Up]:
    """It runs, and has begun."""
    running = Up(user, command, **more)
    with running.process:
        try:
            running.until("services")
            yield running
        finally:
            running.process.kill()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder to protect."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "file").write_text("content")
    return folder


@pytest.fixture
def user(tmp_path: Path, data: Path) -> User:
    """With a service of which at most a minute may be lost, and a point is made every second."""
    user = User(tmp_path)
    user.begins("shop", data)
    user.does("policy", "set", "shop", "rpo=1m", "points=1s")
    return user


def _state(user: User, status: int = 0, service: str = "shop") -> dict[str, Any]:
    (found,) = user.asks("status", "--service", service, status=status)["services"]
    return found


def test_points_on_schedule(user: User, data: Path) -> None:
    """One after the other, each with what was there; it says how it stands, and ends well."""
    before = _state(user, status=1)
    assert (before["state"], before["point"]) == ("broken", None)
    assert "not running: knowngood up" in user.does("status", status=1).out
    assert any("nobody keeps" in each["what"] for each in user.asks("doctor", status=1)["findings"])
    with up(user) as running:
        first = running.until("point")
        (data / "file").write_text("changed")
        second, third = running.until("point"), running.until("point")
        assert {first["point"], second["point"], third["point"]} <= set(user.points())
        status = user.asks("status")
        assert (status["kept"], status["keeper"]["process"]) == (True, running.process.pid)
        (service,) = status["services"]
        assert (service["state"], service["rpo"], service["every"]) == ("kept", 60, 1)
        assert service["at_risk"] < 60
        assert "all is as promised" in user.does("status").out
        assert not any("nobody keeps" in each["what"] for each in user.asks("doctor")["findings"])
        running.ends()
        assert running.process.stdout
        assert running.process.stdout.read() == b""
    (watched,) = user.asks("promises")["services"]
    assert sum(day["kept"] for day in watched["days"]) >= 0.5
    assert "kept" in user.does("promises").out
    assert user.asks("vault", "status")["sessions"] == []
    assert not (user.home / "up.sock").exists()
    user.does("recover", "shop", "--at", third["point"], "--to", user.folder / "out")
    assert (user.folder / "out" / "data" / "file").read_text() == "changed"
    after = user.asks("status")
    assert (after["kept"], after["keeper"], after["services"][0]["reason"]) == (
        True,
        None,
        "knowngood up is not running",
    )


def test_two_of_them(user: User) -> None:
    """The second one gives way, and says to whom; Ctrl-C ends the first as well as SIGTERM does."""
    with up(user) as running:
        answer = user.types("up", status=7)
        assert f"'knowngood up' (process {running.process.pid}, since " in answer.err
        assert ", started by " in answer.err
        assert answer.next.startswith("look with: knowngood status")
        running.until("point")
        running.ends(signal.SIGINT)


def test_commands_beside_it(user: User) -> None:
    """Points by hand, tidying and recovering work meanwhile; what was made by hand counts."""
    with up(user) as running:
        running.until("point")
        made = [user.protects()["id"] for _ in range(3)]
        user.does("tidy")
        user.does("recover", "shop", "--to", user.folder / "out")
        user.does("policy", "set", "shop", "points=1h", "rpo=3h")
        running.until("services")
        by_hand = user.protects()["id"]
        user.does("service", "add", "shop", "--files", user.folder / "out")  # due now, and finds that one
        running.until("services")
        assert ask(Home.at(str(user.home)), Request("protect", "shop")) == Answer(done=True)
        asked = running.until("point")
        assert {*made, by_hand, asked["point"]} <= set(user.points())
        answer = ask(Home.at(str(user.home)), Request("protect", "mail"))
        assert answer
        assert answer.error
        assert answer.error.code == "not-found"
        running.ends()


def test_killed_and_started_again(user: User, data: Path) -> None:
    """Nothing is in its way, and nothing is lost."""
    with up(user) as running:
        first = running.until("point")["point"]
        running.ends(signal.SIGKILL, status=-signal.SIGKILL)
    assert user.asks("status")["keeper"] is None
    (data / "file").write_text("changed")
    with up(user) as running:
        second = running.until("point")["point"]
        running.ends()
    assert {first, second} <= set(user.points())
    user.does("tidy")
    user.does("vault", "check", "--read-data")


def test_services_come_while_it_runs(user: User, tmp_path: Path) -> None:
    """By command, by hand, and by halves."""
    (tmp_path / "mail").mkdir()
    with up(user) as running:
        user.does("service", "add", "mail", "--files", tmp_path / "mail")
        told = running.until("services")
        assert "no rpo is promised for: mail" in told["message"]
        assert _state(user, service="mail")["state"] == "unknown"
        user.does("policy", "set", "mail", "rpo=10s")
        running.until("point", service="mail")
        file = user.home / "services" / "mail.yaml"
        good = file.read_text()
        file.write_text(good.replace("rpo", "rop"))
        running.process.send_signal(signal.SIGHUP)
        trouble = running.until("trouble", service="mail")
        assert "did you mean 'rpo'?" in trouble["hint"]
        assert _state(user, status=1, service="mail")["state"] == "broken"
        file.write_text(good)
        running.process.send_signal(signal.SIGHUP)
        running.until("well", service="mail")
        user.does("service", "remove", "mail")
        running.until("services", message="points are made of: shop")
        running.until("point", service="shop")
        running.ends()


def test_a_path_that_is_missing(user: User, tmp_path: Path) -> None:
    """It fails for itself: what else there is in the service is protected, and another service does not notice."""
    gone = tmp_path / "gone"
    user.does("service", "add", "shop", "--files", gone)
    user.does("service", "add", "lost", "--files", gone)
    user.does("policy", "set", "lost", "rpo=1m", "points=1s")
    with up(user) as running:
        troubles = running.until_each("trouble", "shop", "lost")
        assert {each["code"] for each in troubles.values()} == {"usage"}
        point = running.until("point", service="shop")
        assert (point["status"], point["files"]) == ("incomplete", 1)
        found = {each["name"]: each for each in user.asks("status", status=1)["services"]}
        assert {each["state"] for each in found.values()} == {"broken"}
        assert f"there is nothing at {gone}" in found["shop"]["reason"]
        assert found["lost"]["failure"]["attempts"] >= 1
        gone.mkdir()
        running.until_each("well", "shop", "lost")
        assert {each["state"] for each in user.asks("status")["services"]} == {"kept"}
        running.ends()


def test_the_vault_is_away(user: User) -> None:
    """That is said plainly, and when it is back, points go on; nothing was put anywhere else."""
    away = user.folder / "away"
    with up(user) as running:
        running.until("point")
        before = user.points()
        user.vault.rename(away)
        trouble = running.until("trouble", service="shop")
        assert str(user.vault) in trouble["message"]
        found = _state(user, status=1)
        assert (found["state"], str(user.vault) in found["reason"]) == ("broken", True)
        assert not user.vault.exists()
        away.rename(user.vault)
        running.until("well", service="shop")
        assert _state(user)["state"] == "kept"
        running.ends()
    assert set(before) < set(user.points())
    user.does("vault", "check", "--read-data")


def _driven(prefix: str, number: int) -> list[str]:
    return [sys.executable, "-m", "tests.story.driver", "wait", prefix, str(number)]


@pytest.mark.parametrize("prefix", ["sessions/", "packs/", "index/"])
def test_stopped_in_the_middle_of_a_point(prefix: str, user: User, data: Path) -> None:
    """It says what it is doing, ends soon and well, and leaves nothing; the next one goes on."""
    for number in range(4):
        (data / f"{number}").write_bytes(some_bytes(8 * MIB, seed=number))
    with up(user, _driven(prefix, 1)) as running:
        assert running.process.stdin
        assert running.process.stdout
        assert running.process.stdout.readline() == b"here\n"
        doing = user.asks("status", status=1)["doing"]
        assert (doing["verb"], doing["service"]) == ("protect", "shop")
        running.process.send_signal(signal.SIGTERM)
        running.process.stdin.close()
        running.until("stopped")
        assert running.process.wait(_DEADLINE) == 0
    assert user.points() == []
    assert user.asks("vault", "status")["sessions"] == []
    with up(user) as running:
        running.until("point")
        running.ends()
    user.does("vault", "check", "--read-data")


def test_a_command_at_work(user: User) -> None:
    """It is waited for, and that is no trouble."""
    with up(user) as running:
        running.until("point")
        command = [*_driven("sessions/", 1), "vault", "collect"]
        with subprocess.Popen(
            command, cwd=ROOT, env=user.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout
            assert process.stdin
            assert process.stdout.readline() == b"here\n"
            while not (waiting := user.asks("status")["keeper"]["waiting_for"]):
                continue
            assert f"process {process.pid}" in waiting
            process.stdin.close()
            assert process.wait(_DEADLINE) == 0
        running.until("point")
        running.ends()


def test_tidying(user: User) -> None:
    """Once a day, also when it has not run for long; and the day is remembered."""
    user.does("policy", "set", "shop", "any-moment=0", "hourly=0", "daily=0", "weekly=0", "monthly=0")
    (user.home / "tidied").write_text("0")
    for _ in range(3):
        user.protects()
    with up(user) as running:
        told = running.until("tidied")
        assert "points hidden" in told["message"]
        running.ends()
    assert int((user.home / "tidied").read_text()) > 0
    assert user.points("shop", "--expired")


def test_what_a_service_manager_hears(user: User, tmp_path: Path) -> None:
    """Ready, then what is going on, that it is alive, and the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(_DEADLINE)
        with up(user, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="300000") as running:
            said: set[bytes] = set()
            while not said >= {b"READY=1", b"STATUS=protect shop", b"STATUS=all is well", b"WATCHDOG=1"}:
                said.add(manager.recv(1000))
            running.process.terminate()
            while manager.recv(1000) != b"STOPPING=1":
                continue
            running.until("stopped")
            assert running.process.wait(_DEADLINE) == 0


def test_lines_for_people(user: User) -> None:
    """One per point, in the form key=value."""
    with subprocess.Popen([PROGRAM, "up"], env=user.environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines = [process.stderr.readline() for _ in range(3)]
        process.terminate()
        rest = process.stderr.read()
        assert process.wait(_DEADLINE) == 0
    assert ' started message="process ' in lines[0]
    assert ' services message="points are made of: shop"' in lines[1]
    assert " point service=shop id=" in lines[2]
    assert ' status=recoverable files=1 size="7 B" new=' in lines[2]
    assert rest.splitlines()[-1].endswith(" stopped")


def test_a_home_that_is_not_set_up(tmp_path: Path) -> None:
    """A mistake is said at once."""
    user = User(tmp_path)
    assert "knowngood init" in user.does("up", status=4).next
    assert "knowngood init" in user.does("status", status=4).next
    user.does("up", "--json", status=2)
