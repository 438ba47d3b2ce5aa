"""A service of several databases and a folder: one moment for all, and drills that prove it. The servers are real."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from knowngood.control import schedule
from knowngood.control.home import Home
from knowngood.control.up.events import Event
from knowngood.control.up.keeper import Keeper
from knowngood.core.model import ComponentSpec
from knowngood.kinds.redis.address import Address
from knowngood.kinds.redis.link import Link
from knowngood.linux.processes import working_in
from knowngood.plugins import PLUGINS
from tests.servers.following import open_folder
from tests.servers.redis import RedisServer, redis_server
from tests.story.test_up import up
from tests.user import PROGRAM, User

pytestmark = pytest.mark.needs("redis-server")

_DEADLINE = 90.0


@dataclass
class Shop:
    """Two databases and a folder. Writers put a number into `a`, then into `b`, then into a file: in every state that a
    power cut could have left, none is ahead of the one before it."""

    user: User
    a: RedisServer
    b: RedisServer
    uploads: Path
    stop: threading.Event = field(default_factory=threading.Event)
    acknowledged: dict[int, int] = field(default_factory=dict[int, int])

    def apply(self, more: str = "") -> None:
        """Define the service; held as long as a loaded machine may take."""
        text = (
            "service: shop\ncomponents:\n"
            f"  a: {{kind: redis, url: '{self.a.url}'}}\n  b: {{kind: redis, url: '{self.b.url}'}}\n"
            f"  uploads: {{kind: files, path: {self.uploads}}}\norder: [b, a]\n"
        )
        (self.user.folder / "shop.yaml").write_text(text + (more or "policy: {hold: 1s}\n"))
        self.user.does("service", "apply", self.user.folder / "shop.yaml")

    def point(self, *words: str) -> dict[str, Any]:
        """A held point, made by a process of its own."""
        return json.loads(self.user.types("point", "shop", *words, "--json").raw)["point"]

    def write(self, worker: int) -> None:
        """One writer, until it is told to stop."""
        with contextlib.closing(self.a.link()) as a, contextlib.closing(self.b.link()) as b:
            number = 0
            while not self.stop.is_set():
                number += 1
                a.ask("SET", f"w{worker}", number)
                b.ask("SET", f"w{worker}", number)
                (self.uploads / f"w{worker}").write_text(f"{number:010}")
                self.acknowledged[worker] = number
                self.stop.wait(0.005)

    @contextlib.contextmanager
    def busy(self, workers: int = 3) -> Iterator[None]:
        """While the block runs, they write."""
        threads = [threading.Thread(target=self.write, args=(each,)) for each in range(workers)]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            self.stop.set()
            for each in threads:
                each.join()

    def recovered(self, point: str, workers: int = 3) -> list[tuple[int, int, int]]:
        """What each writer had put where, as a point has it: the databases are started from what was recovered."""
        out = Path(tempfile.mkdtemp(prefix="kg-out-"))
        out.chmod(0o711)  # the servers run as a user of their own
        try:
            return self._states(point, out, workers)
        finally:
            shutil.rmtree(out)

    def _states(self, point: str, out: Path, workers: int) -> list[tuple[int, int, int]]:
        self.user.does("recover", "shop", "--at", point, "--to", out)
        rows: list[list[int]] = []
        for name in ("a", "b"):
            server = PLUGINS.kinds()["redis"].sandbox(ComponentSpec(name=name, kind="redis"), str(out / name))
            try:
                answers = [server.ask(f"GET w{each}", 60) for each in range(workers)]
            finally:
                server.stop()
            rows.append([int(each[0][0] or 0) for each in answers])
        files = [out / "uploads" / f"w{each}" for each in range(workers)]
        rows.append([int(each.read_text() or 0) if each.exists() else 0 for each in files])
        return list(zip(*rows, strict=True))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Ready."""
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    (uploads / "first").write_text("1")
    with open_folder() as folder, redis_server(folder / "a") as a, redis_server(folder / "b") as b:
        user = User(tmp_path)
        user.begins()
        shop = Shop(user, a, b, uploads)
        shop.apply()
        yield shop


def test_held_points_are_one_moment(shop: Shop) -> None:
    """Every point that says that it was held, recovered: nothing is ahead of what was written before it."""
    shop.apply("policy: {hold: 1s, points: {held: 1s}}\n")
    held: list[dict[str, Any]] = []
    with up(shop.user) as running:
        running.until("point", service="shop")
        with shop.busy():
            deadline = time.monotonic() + _DEADLINE
            while len(held) < 5:
                assert time.monotonic() < deadline, shop.user.asks("points", "shop")["points"]
                running.until("point", service="shop")
                held = [each for each in shop.user.asks("points", "shop")["points"] if each["level"] == "L1"]
        running.ends()
    for point in held:
        assert 0 < point["evidence"]["held"] < 3
        assert len(point["evidence"]["times"]) == 3
        for a, b, file in shop.recovered(point["id"]):
            assert file <= b <= a <= b + 1, point
    assert max(a for a, _, _ in shop.recovered(held[0]["id"])) > 0


def test_what_was_acknowledged_before_is_in(shop: Shop) -> None:
    """And a point by hand, without anybody who follows, is held as well."""
    shop.a.ask("SET", "w0", 7)
    shop.b.ask("SET", "w0", 7)
    (shop.uploads / "w0").write_text("7")
    point = shop.point("--name", "release")
    assert (point["level"], point["name"], point["evidence"]["lowered"]) == ("L1", "release", None)
    shop.a.ask("SET", "w0", 8)
    assert shop.recovered("release", 1) == [(7, 7, 7)]


def test_a_database_that_is_away(shop: Shop) -> None:
    """Then there is no point: nothing is held on, the other goes on at once."""
    shop.point()
    shop.b.stop()
    answer = shop.user.types("point", "shop", status=1)
    assert "cannot be reached" in answer.err
    assert shop.a.ask("SET", "k", "v") == b"OK"


def test_a_drill(shop: Shop) -> None:
    """The newest point is proven, with a report that anybody can read and this home can verify."""
    shop.a.ask("SET", "orders", 3)
    script = shop.user.home / "checks" / "orders.py"
    script.parent.mkdir()
    script.write_text(
        "import json, os\n"
        "found = json.load(open(os.environ['KNOWNGOOD_SANDBOX']))\n"
        "print(sorted(found), open(found['uploads']['path'] + '/first').read())\n"
    )
    shop.apply(
        "checks:\n- {component: a, ask: GET orders, expect: '>= 3'}\n"
        "- {python: checks/orders.py, expect: \"['a', 'b', 'uploads'] 1\"}\n"
        "policy: {hold: 1s, rto: 10m}\n"
    )
    shop.point()
    done = shop.user.asks("drill", "shop")
    report = done["report"]
    assert [each["came"] for each in report["checks"]] == ["passed", "passed"], report["checks"]
    assert (report["outcome"], report["rto_kept"], done["marked"]) == ("proven", True, True)
    assert report["isolated"] == report["sockets_hidden"] == (os.geteuid() == 0)
    assert [each["name"] for each in report["components"]] == ["b", "a", "uploads"]
    assert shop.user.asks("points", "shop")["points"][0]["status"] == "proven"
    assert "Drill of shop" in Path(done["page"]).read_text()
    (kept,) = shop.user.asks("drills")["drills"]
    assert (kept["signed"], kept["judged"]) == (True, True)
    forged = json.loads(Path(done["path"]).read_text())
    forged["report"]["seconds"] = 0.001
    Path(done["path"]).write_text(json.dumps(forged))
    (kept,) = shop.user.asks("drills", status=1)["drills"]
    assert (kept["signed"], kept["judged"]) == (False, False)
    shop.user.does("vault", "rebuild")
    assert shop.user.asks("points", "shop")["points"][0]["status"] == "proven"
    assert not list((shop.user.home / "sandboxes").iterdir())


def test_checks_that_fail_or_hang(shop: Shop) -> None:
    """They are results: the point is suspect, all is taken down."""
    script = shop.user.home / "sleep.py"
    script.write_text("import subprocess, time\nsubprocess.Popen(['sleep', '1000'])\ntime.sleep(1000)\n")
    shop.apply(
        "checks:\n- {component: a, command: GET orders, expect: '> 0'}\n"
        "- {component: b, command: DEBUG SLEEP 30, timeout: 1s}\n- {python: sleep.py, timeout: 1s}\n"
        "- {http: 'http://127.0.0.1:9/health', expect: 200, timeout: 2s}\n- {component: uploads, ask: x}\n"
        "policy: {hold: 1s}\n"
    )
    shop.user.does("protect", "shop")
    report = shop.user.asks("drill", "shop", status=1)["report"]
    assert [each["came"] for each in report["checks"]] == ["failed", "hung", "hung", "failed", "failed"], report[
        "checks"
    ]
    assert report["outcome"] == "suspect"
    assert shop.user.asks("points", "shop")["points"][0]["status"] == "suspect"


def test_hooks_around_a_quiesced_point(shop: Shop) -> None:
    """The one before brings to rest, the one after is always run; what fails or hangs lowers the level, and is said."""
    log, tools = shop.user.folder / "log", shop.user.folder
    for name, code in (("drain", f"echo before >> {log}"), ("fill", f"echo after >> {log}"), ("hang", "sleep 1000")):
        (tools / name).write_text(f"#!/bin/sh\n{code}\n")
        (tools / name).chmod(0o755)
    shop.apply(f"hooks: {{before-point: {tools}/drain, after-point: {tools}/fill}}\npolicy: {{hold: 1s}}\n")
    assert shop.point("--quiesced")["level"] == "L2"
    assert log.read_text().split() == ["before", "after"]
    shop.apply(f"hooks: {{before-point: {tools}/hang, after-point: {tools}/fill, timeout: 1s}}\npolicy: {{hold: 1s}}\n")
    point = shop.point("--quiesced")
    assert (point["level"], point["evidence"]["asked"]) == ("L1", "L2")
    assert "took longer than 1 s" in point["evidence"]["lowered"]
    assert log.read_text().split() == ["before", "after", "after"]


def test_killed_in_the_middle_of_a_hold(shop: Shop) -> None:
    """At any instant: the databases take writes again by themselves, within the lease."""
    shop.point()
    for delay in (0.0, 0.01, 0.05):
        with subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(shop.a.socket), str(shop.b.socket)], stdout=subprocess.PIPE
        ) as coordinator:
            assert coordinator.stdout
            assert coordinator.stdout.readline() == b"held\n"
            shop.stop.wait(delay)
            coordinator.kill()
        began = time.monotonic()
        for each in (shop.a, shop.b):
            assert each.ask("SET", "k", "v") == b"OK"
        assert time.monotonic() - began < 5


_HOLD = """
import sys, time
from knowngood.core.ports import Holder
from knowngood.flow.mark import Held, mark
from knowngood.kinds.redis.address import Address
from knowngood.kinds.redis.holder import RedisHolder
class Never:
    def prepare(self, lease): pass
    def hold(self, lease): pass
    def mark(self):
        print("held", flush=True)
        time.sleep(1000)
    def release(self): return True
parts = [Held(each, RedisHolder(Address(socket=each), lambda _: None)) for each in sys.argv[1:]]
mark([*parts, Held("files", Never(), True)], 1.0)
"""


def test_beside_in_a_sandbox(shop: Shop) -> None:
    """Throw-away servers say where they are; killed, what they leave is found and goes with the next one."""
    shop.a.ask("SET", "k", "then")
    shop.apply("checks:\n- {component: a, ask: GET k, expect: then}\npolicy: {hold: 1s}\n")
    shop.point()
    shop.a.ask("SET", "k", "now")
    with _sandbox(shop.user) as (process, found):
        assert [each["came"] for each in found["checks"]] == ["passed"]
        (words,) = (each["address"] for each in found["components"] if each["name"] == "a")
        address = dict(each.split("=", 1) for each in words)
        with contextlib.closing(Link(Address(socket=address["url"].removeprefix("unix://")))) as link:
            assert link.ask("GET", "k") == b"then"
        (left,) = leftovers_of(shop.user)
        process.send_signal(signal.SIGINT)
        assert process.wait(_DEADLINE) == 0
    assert not Path(left).exists()
    with _sandbox(shop.user) as (process, found):
        process.kill()
        process.wait()
    (left,) = leftovers_of(shop.user)
    assert list(working_in(left))
    assert "left behind" in shop.user.does("doctor").out
    with _sandbox(shop.user, "--for", "1s") as (process, _):
        assert process.wait(_DEADLINE) == 0
    assert not Path(left).exists()
    assert leftovers_of(shop.user) == []


def leftovers_of(user: User) -> list[str]:
    """The folders that the home knows of."""
    registry = user.home / "sandboxes"
    return [each.read_text() for each in registry.iterdir()]


@contextlib.contextmanager
def _sandbox(user: User, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """It runs; what it told."""
    command = [PROGRAM, "recover", "shop", "--sandbox", "--json", *words]
    with subprocess.Popen(command, env=user.environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout
        text = b""
        try:
            while not text.endswith(b"\n}\n"):
                line = process.stdout.readline()
                assert line, text
                text += line
            yield process, json.loads(text)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(_DEADLINE)


def test_drills_on_schedule(shop: Shop) -> None:
    """`up` rehearses by itself, in a process of its own; status tells what it came to, and so does its exit status."""
    shop.apply("checks:\n- {component: a, ask: GET k, expect: v}\npolicy: {rpo: 1h, rto: 1h, drill: 1d, points: 1s}\n")
    (before,) = shop.user.asks("status", status=1)["services"]
    assert before["proven"] is None
    shop.a.ask("SET", "k", "v")
    with patch.object(schedule, "_FIRST_DRILL", 0.0):
        drilled = _keeps(shop.user, "drilled")
    assert "proven" in drilled["message"]
    (after,) = shop.user.asks("status")["services"]
    assert after["proven"] in shop.user.points()
    assert after["expected_recovery"] < 3600
    shop.apply("checks:\n- {component: a, ask: GET k, expect: w}\npolicy: {rpo: 1h, drill: 1d, points: 1s}\n")
    shop.point()
    shop.user.does("drill", "shop", status=1)
    status = shop.user.asks("status", status=1)
    assert "is suspect: a: GET k: failed: v" in status["services"][0]["reason"]
    good = shop.user.asks("recover", "shop", "--at", "last-known-good", "--to", shop.user.folder / "good")
    assert good["point"]["id"] == after["proven"]
    assert good["lost"] > 0
    assert "is not in it" in good["warnings"][0]
    proven = [each["status"] for each in shop.user.asks("points", "shop", "--proven")["points"]]
    assert proven[0] == "proven"


def _keeps(user: User, what: str) -> dict[str, Any]:
    """Run the keeper here until it tells of such an event."""
    found: list[Event] = []

    def tell(event: Event) -> None:
        if event.what == what:
            found.append(event)
            keeper.stop()

    keeper = Keeper(Home.at(str(user.home)), PLUGINS, tell)
    keeper.run()
    return {"message": found[0].message}
