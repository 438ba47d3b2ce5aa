"""A whole service comes back to where it was, servers and files, in its order, between its hooks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.following import open_folder
from tests.servers.redis import RedisServer, redis_server
from tests.user import User


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """It has an order."""
    with open_folder() as folder, redis_server(folder / "r", appendonly="yes") as found:
        found.ask("SET", "order", "then")
        yield found


@pytest.fixture
def user(server: RedisServer, tmp_path: Path) -> User:
    """A service of two kinds, protected once; everything has changed since."""
    user, uploads = User(tmp_path), tmp_path / "uploads"
    uploads.mkdir()
    user.begins()
    (uploads / "order").write_text("then")
    described(user, server, "")
    user.protects()
    server.ask("SET", "order", "now")
    (uploads / "order").write_text("now")
    return user


def described(user: User, server: RedisServer, hooks: str) -> None:
    """The service, with these hooks."""
    file = user.folder / "shop.yaml"
    file.write_text(
        f"service: shop\ncomponents:\n  uploads: {{kind: files, path: {user.folder}/uploads}}\n"
        f"  cache: {{kind: redis, url: '{server.url}'}}\norder: [cache, uploads]\nhooks: {{{hooks}}}\n"
    )
    user.does("service", "apply", file)


def test_what_runs_is_not_touched(user: User, server: RedisServer) -> None:
    """Nothing at all is written, and it is said what is to be stopped; then it all comes back."""
    plans = user.asks("recover", "shop", "--dry-run")["plans"]
    assert [each["component"] for each in plans] == ["cache", "uploads"]
    assert "stop it first" in plans[0]["hindrance"]
    assert "stop it first" in user.does("recover", "shop", status=7).err
    assert (user.folder / "uploads" / "order").read_text() == "now"
    assert server.ask("GET", "order") == b"now"
    server.stop()
    plan = user.does("recover", "shop", "--dry-run").out
    done = user.asks("recover", "shop")
    server.start()
    assert server.ask("GET", "order") == b"then"
    assert (user.folder / "uploads" / "order").read_text() == "then"
    (kept,) = done["kept"]
    assert f"mv {kept}" in plan
    (listed,) = user.asks("former")["former"]
    assert (listed["service"], listed["component"], listed["path"]) == ("shop", "cache", kept)
    assert listed["bytes"] > 0
    assert "--yes" in user.does("former", "--drop", kept, status=2).err
    assert not user.asks("former", "--drop", kept, "--dry-run")["dropped"]
    assert Path(kept).exists()
    assert user.asks("former", "--drop", kept, "--yes")["dropped"]
    assert not Path(kept).exists()
    assert user.asks("former")["former"] == []
    assert server.ask("GET", "order") == b"then"


def test_hooks_stop_and_start_it(user: User, server: RedisServer) -> None:
    """They are told to: nothing else stops a server. One that does not is a hindrance all the same."""
    process = server.ask("INFO", "server")
    assert isinstance(process, bytes)
    pid = next(line.split(b":")[1] for line in process.splitlines() if line.startswith(b"process_id")).decode()
    stop, seen = user.folder / "stop", user.folder / "seen"
    described(user, server, "before-recover: /bin/true")
    assert "runs on" in user.does("recover", "shop", status=7).err
    stop.write_text(f"#!/bin/sh\nkill {pid}\nwhile [ -e /proc/{pid}/cwd ]; do sleep 0.01; done\n")
    seen.write_text(f"#!/bin/sh\ncat {user.folder}/uploads/order > {user.folder}/after\n")
    for each in (stop, seen):
        each.chmod(0o755)
    described(user, server, f"before-recover: {stop}, after-recover: {seen}")
    user.does("recover", "shop")
    server.stop()
    server.start()
    assert server.ask("GET", "order") == b"then"
    assert (user.folder / "after").read_text() == "then"


def test_a_home_that_cannot_remember_what_was_kept(user: User, server: RedisServer) -> None:
    """The recovery has come about all the same, and it is said."""
    server.stop()
    (user.home / "replaced.json").mkdir()
    done = user.asks("recover", "shop")
    server.start()
    assert server.ask("GET", "order") == b"then"
    (kept,) = done["kept"]
    assert any(kept in each for each in done["warnings"])
