"""`knowngood up` follows databases: what was written a moment ago is had back, as a server that answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from knowngood.core.instants import iso_text
from knowngood.plugins import PLUGINS
from tests.servers.following import open_folder
from tests.servers.redis import RedisServer, redis_server
from tests.servers.waiting import a_moment, until
from tests.story.test_up import Up, up
from tests.user import User


@pytest.fixture
def user(tmp_path: Path) -> User:
    """With a vault."""
    user = User(tmp_path)
    user.begins()
    return user


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis server."""
    with open_folder() as folder, redis_server(folder / "server") as found:
        yield found


def serves(user: User, **components: str) -> None:
    """A service of these components."""
    lines = [f"  {name}: {what}" for name, what in components.items()]
    path = user.folder / "shop.yaml"
    path.write_text("\n".join(["service: shop", "components:", *lines, "policy: {rpo: 1d, points: 12h}", ""]))
    user.does("service", "apply", path)


def followed(user: User, running: Up) -> None:
    """A base is there, and the log goes on from it."""
    running.until("point", service="shop")

    def all_followed() -> bool:
        (service,) = user.asks("status")["services"]
        return all(each["capture"] == "journal" and each["behind"] is not None for each in service["followers"])

    until(all_followed)


def records(user: User) -> int:
    """How many the logs have."""
    return sum(each["records"] for each in user.asks("timeline", "shop")["components"])


def recorded(user: User, more_than: int) -> int:
    """Wait until there are more than that."""
    until(lambda: records(user) > more_than)
    return records(user)


def test_redis(user: User, server: RedisServer) -> None:
    """`WAIT 1` means the vault; the digest of a moment is what the server's was; a restart of the keeper is a gap."""
    server.ask("SET", "a", 1)
    serves(user, cache=f'{{kind: redis, url: "{server.url}"}}')
    with up(user) as running:
        followed(user, running)
        with closing(server.link()) as link:
            link.ask("EVAL", "for i = 1, 500 do redis.call('RPUSH', 'l' .. i % 7, i) end", 0)
            assert link.ask("WAIT", 1, 60_000) == 1
        wanted, then = server.digest(), iso_text(a_moment())
        server.ask("FLUSHALL")
        with closing(server.link()) as link:
            link.ask("SET", "b", 1)
            assert link.ask("WAIT", 1, 60_000) == 1
        running.ends()
    with open_folder() as folder:
        user.does("recover", "shop", "--at", then, "--to", folder / "out")
        kind = PLUGINS.kinds()["redis"]
        sandbox = kind.sandbox(server.component, str(folder / "out" / "cache"))
        try:
            assert sandbox.ask("DEBUG DIGEST", 30)[0][0].encode() == wanted
        finally:
            sandbox.stop()
    with up(user) as running:
        followed(user, running)
        running.ends()
    user.does("vault", "check", "--read-data")


def test_sqlite(user: User, tmp_path: Path) -> None:
    """A table that was dropped comes back in place, once its program has let go of the file; the keeper goes on."""
    path = tmp_path / "srv" / "stats.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as program:
        program.execute("PRAGMA journal_mode=WAL")
        program.execute("CREATE TABLE visits (n INTEGER)")
        serves(user, stats=f"{{kind: sqlite, path: {path}}}")
        with up(user) as running:
            followed(user, running)
            count = records(user)
            program.executemany("INSERT INTO visits VALUES (?)", [(number,) for number in range(50)])
            until(lambda: records(user) >= count + 50)
            count, then = records(user), iso_text(a_moment())
            program.execute("DROP TABLE visits")
            recorded(user, count)
            user.does("recover", "shop", "--at", then, "--to", tmp_path / "out")
            with closing(sqlite3.connect(tmp_path / "out" / "stats" / "stats.db")) as found:
                assert found.execute("SELECT count(*) FROM visits").fetchone() == (50,)
            error = user.does("recover", "shop", "--at", then, "--yes", "--json", status=7).error
            assert "is open in" in error["message"]
            program.close()
            user.does("recover", "shop", "--at", then, "--yes")
            with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as again:
                assert again.execute("SELECT count(*) FROM visits").fetchone() == (50,)
            running.ends()
    user.does("vault", "check", "--read-data")


def test_both_in_one_service(user: User, server: RedisServer, tmp_path: Path) -> None:
    """One point has both, each at its own level; a component that goes away leaves the other one in peace."""
    path = tmp_path / "stats.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as program:
        program.execute("CREATE TABLE t (n)")
        serves(user, cache=f'{{kind: redis, url: "{server.url}"}}', stats=f"{{kind: sqlite, path: {path}}}")
        with up(user) as running:
            running.until("point", service="shop")
            components = user.asks("protect", "shop")["point"]["components"]
            captures = {each["name"]: each["capture"] for each in components}
            assert captures == {"cache": "journal", "stats": "scan"}
            (service,) = user.asks("status")["services"]
            said = {each["component"]: each["failure"] for each in service["followers"]}
            assert "write-ahead log" in str(said["stats"])
            running.ends()
