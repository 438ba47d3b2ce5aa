"""Kinds of all sorts at one moment, as drills find it. The servers are real."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.servers.following import open_folder
from tests.servers.mariadb import mariadb_server
from tests.servers.redis import redis_server
from tests.story.test_up import up
from tests.user import User

_DEADLINE = 90.0


@pytest.mark.slow
def test_kinds_together(tmp_path: Path) -> None:
    """A MariaDB, a Redis and a folder: drills of held points find the three at one moment."""
    user, uploads, stop = User(tmp_path), tmp_path / "uploads", threading.Event()
    uploads.mkdir()
    user.begins()
    script = user.home / "last.py"
    script.write_text(
        "import json, os\nfound = json.load(open(os.environ['KNOWNGOOD_SANDBOX']))\n"
        "print(open(found['uploads']['path'] + '/n').read())\n"
    )
    with open_folder() as folder, redis_server(folder / "r") as cache, mariadb_server(folder / "m" / "data") as db:
        db.ask("CREATE TABLE shop.t (n INT)", "INSERT INTO shop.t VALUES (0)", "COMMIT")
        (tmp_path / "shop.yaml").write_text(
            "service: shop\ncomponents:\n"
            f"  db: {{kind: mariadb, socket: {db.socket}, user: root}}\n  cache: {{kind: redis, url: '{cache.url}'}}\n"
            f"  uploads: {{kind: files, path: {uploads}}}\n"
            "checks:\n- {component: db, sql: SELECT n FROM shop.t}\n- {component: cache, ask: GET n}\n"
            "- {python: last.py}\npolicy: {hold: 1s, points: {held: 1s}}\n"
        )
        user.does("service", "apply", tmp_path / "shop.yaml")

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                db.ask(f"UPDATE shop.t SET n = {number}", "COMMIT")
                cache.ask("SET", "n", number)
                (uploads / "n").write_text(f"{number:09}")
                stop.wait(0.01)

        held: list[str] = []
        with up(user) as running:
            running.until("point", service="shop")
            writer = threading.Thread(target=write)
            writer.start()
            try:
                deadline = time.monotonic() + _DEADLINE
                while len(held) < 3:
                    assert time.monotonic() < deadline, user.asks("points", "shop")["points"][:2]
                    running.until("point", service="shop")
                    held = [each["id"] for each in user.asks("points", "shop")["points"] if each["level"] == "L1"]
            finally:
                stop.set()
                writer.join()
            running.ends()
        for each in held:
            report = user.asks("drill", "shop", "--at", each)["report"]
            first, second, third = (int(check["got"] or 0) for check in report["checks"])
            assert third <= second <= first <= second + 1, report
        assert first > 0
