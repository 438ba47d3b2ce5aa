"""A base that takes long keeps nothing else waiting, in a real process with a real server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.servers.following import open_folder
from tests.servers.redis import redis_server
from tests.servers.waiting import until
from tests.story.test_up import up
from tests.user import User, in_process

pytestmark = pytest.mark.needs("redis-server")


def applies(user: User, name: str, *components: str) -> None:
    """A service of these components."""
    path = user.folder / f"{name}.yaml"
    path.write_text("\n".join([f"service: {name}", "components:", *components, "policy: {rpo: 1d, points: 12h}", ""]))
    user.does("service", "apply", path)


def follower(user: User, service: str, component: str) -> dict[str, Any]:
    """What status says of it."""
    answer = in_process(["--home", str(user.home), "status", "--service", service, "--json"], user.plugins)
    (found,) = answer.json["services"]
    return next((each for each in found["followers"] if each["component"] == component), {})


def records(user: User, service: str) -> int:
    """How many the logs of a service have."""
    return sum(each["records"] for each in user.asks("timeline", service)["components"])


def test_everything_else_goes_on(tmp_path: Path) -> None:
    """Points of others are made, logs grow, and what is waited for is said; then it comes, and is whole."""
    user = User(tmp_path)
    user.begins()
    site = tmp_path / "site"
    site.mkdir()
    with open_folder() as folder, redis_server(folder / "server", repl_diskless_sync_delay="3600") as server:
        server.ask("SET", "a", 1)
        applies(user, "shop", f'  cache: {{kind: redis, url: "{server.url}"}}')
        applies(user, "web", f"  site: {{kind: files, path: {site}}}")
        with up(user) as running:
            running.until("point", service="web")
            until(lambda: follower(user, "shop", "cache").get("base") is not None)
            assert follower(user, "shop", "cache")["base"]["first"] is True
            until(lambda: follower(user, "web", "site").get("behind") is not None)
            before = records(user, "web")
            for number in range(3):
                (site / f"page-{number}").write_text("content")
                until(lambda least=before + number: records(user, "web") > least)
            assert user.asks("points", "shop")["points"] == []
            server.ask("CONFIG", "SET", "repl-diskless-sync-delay", 0)
            assert running.until("point", service="shop")["status"] == "recoverable"
            until(lambda: follower(user, "shop", "cache").get("behind") is not None)
            assert follower(user, "shop", "cache")["base"] is None
            running.ends()
    user.does("vault", "check", "--read-data")


def test_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    """A server that sends nothing is not waited for; no session is left behind that would hinder a collection."""
    user = User(tmp_path)
    user.begins()
    with open_folder() as folder, redis_server(folder / "server", repl_diskless_sync_delay="3600") as server:
        applies(user, "shop", f'  cache: {{kind: redis, url: "{server.url}"}}')
        with up(user) as running:
            until(lambda: follower(user, "shop", "cache").get("base") is not None)
            began = time.monotonic()
            running.ends()
            assert time.monotonic() - began < 60
    user.does("tidy")
