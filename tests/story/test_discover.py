"""A service file is proposed from what really runs here."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from knowngood.control import discover
from knowngood.control.proposal import options_of
from knowngood.control.services import parse_service
from knowngood.core.model import ServiceSpec
from knowngood.linux.running import Process, processes, writes_to
from knowngood.plugins import PLUGINS
from tests.servers.following import open_folder
from tests.servers.mariadb import mariadb_server
from tests.servers.postgres import POSTGRES, running_postgres
from tests.servers.redis import redis_server
from tests.user import User


@pytest.fixture
def user(tmp_path: Path) -> User:
    """With a vault."""
    user = User(tmp_path)
    user.begins()
    return user


def proposed(user: User) -> tuple[dict[str, Any], ServiceSpec]:
    """The proposal; it can be applied as it is, and until then nothing was written."""
    found = user.asks("service", "discover", "--name", "My Shop")
    assert user.asks("service", "list")["services"] == []
    (user.folder / "shop.yaml").write_text(found["yaml"])
    user.does("service", "apply", user.folder / "shop.yaml")
    assert user.asks("service", "list")["services"][0]["name"] == "my-shop"
    return found, parse_service(found["yaml"], "")


def has_socket(service: ServiceSpec, kind: str, option: str, socket: Path, before: str = "") -> bool:
    """Whether a component of the kind is at this socket. Others may run here as well."""
    values = [each.options.get(option, "").removeprefix(before) for each in service.components if each.kind == kind]
    return any(os.path.exists(each) and os.path.samefile(each, socket) for each in values)


@pytest.mark.needs("redis-server")
def test_redis(user: User) -> None:
    """Its socket."""
    with open_folder() as folder, redis_server(folder / "server") as server:
        _, service = proposed(user)
        assert has_socket(service, "redis", "url", server.socket, "unix://")


@pytest.mark.needs(POSTGRES)
def test_postgres(user: User) -> None:
    """Where it listens, and what to do for an account; it is probed as it is proposed, under its own account."""
    with running_postgres() as server:
        found, service = proposed(user)
        (mine,) = (each for each in service.components if str(server.folder) in each.options.get("dsn", ""))
        assert "CREATE ROLE root LOGIN REPLICATION" in found["yaml"]
        assert f"its folder is {server.data}" in found["yaml"]
        dsn = f"{mine.options['dsn']} user=postgres"
        component = type(mine)(name="db", kind="postgres", options={"dsn": dsn})
        PLUGINS.kinds()["postgres"].probe(component)


@pytest.mark.needs("mariadbd")
def test_mariadb(user: User) -> None:
    """Its socket."""
    with open_folder() as folder, mariadb_server(folder / "server") as server:
        found, service = proposed(user)
        assert has_socket(service, "mariadb", "socket", Path(server.component.options["socket"]))
        assert "IDENTIFIED VIA unix_socket" in found["yaml"]


@pytest.mark.parametrize(
    ("kind", "paths", "ports", "options"),
    [
        ("redis", [], [("::", 6379)], {"url": "redis://[::1]:6379"}),
        ("redis", [], [("0.0.0.0", 6379)], {"url": "redis://127.0.0.1:6379"}),
        ("mariadb", ["/run/mysqlx.sock", "/run/mysqld.sock"], [], {"socket": "/run/mysqld.sock"}),
        ("mariadb", ["/run/mysqlx.sock"], [("10.0.0.1", 3307)], {"host": "10.0.0.1", "port": "3307"}),
        ("postgres", [], [("::1", 5433)], {"dsn": "host=::1 port=5433"}),
        ("postgres", ["/a b/.s.PGSQL.5433"], [("::1", 1)], {"dsn": "host='/a b' port=5433"}),
    ],
)
def test_where_servers_listen(
    kind: str, paths: list[str], ports: list[tuple[str, int]], options: dict[str, str]
) -> None:
    """As a component of their kind says it."""
    assert options_of(kind, paths, ports) == options


def test_where_a_unit_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its databases of SQLite; folders of the other files that it has open to write, and those for its state."""
    data, state = tmp_path / "data", tmp_path / "state\n# evil"
    (data / "deeper").mkdir(parents=True)
    state.mkdir()
    for name, mode in (("logged.db", "wal"), ("deeper/other.db", "delete")):
        with closing(sqlite3.connect(data / name)) as database:
            database.execute(f"PRAGMA journal_mode={mode}")
            database.execute("CREATE TABLE t (n)")
            database.commit()
    names = [str(data / each) for each in ("a", "deeper/b", "logged.db", "deeper/other.db")]
    code = "import sys; files = [open(each, 'a') for each in sys.argv[1:]]; print('open', flush=True); input()"
    monkeypatch.setattr(discover, "_ELSEWHERE", ("/proc", "/dev"))
    environment = {**os.environ, "STATE_DIRECTORY": str(state)}
    with subprocess.Popen(
        [sys.executable, "-c", code, *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"open\n"
        assert writes_to(process.pid) == set(names)
        (mine,) = (each for each in processes() if each.pid == process.pid)
        shop = Process(mine.pid, mine.program, "shop", mine.folder)
        monkeypatch.setattr(discover, "processes", lambda: iter([shop]))
        proposal = discover.discover("", "shop.service", {"files", "sqlite"}, str(tmp_path / "home"))
        whole = discover.discover("", "", {"files", "sqlite"}, str(tmp_path / "home"))
        process.communicate(b"\n")
    service = parse_service(proposal.text, "")
    found = {(each.kind, each.path): each.exclude for each in service.components}
    assert found.keys() == {("sqlite", names[2]), ("sqlite", names[3]), ("files", str(data)), ("files", str(state))}
    assert found["files", str(state)] == ()
    assert {"/logged.db", "/logged.db-wal", "/deeper/other.db-journal"} <= set(found["files", str(data)])
    assert "followed commit by commit; open in" in proposal.text
    assert "its program sets PRAGMA journal_mode=WAL" in proposal.text
    assert {each.kind for each in parse_service(whole.text, "").components} == {"sqlite"}
    assert "service discover --unit shop" in whole.text


def test_a_unit_that_is_not_there(tmp_path: Path) -> None:
    """Is not found."""
    answer = User(tmp_path).does("service", "discover", "--unit", "no-such-unit", status=4)
    assert "no process of the unit" in answer.err
