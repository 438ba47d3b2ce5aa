"""A service file is proposed from what really runs here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from knowngood.control import discover
from knowngood.control.services import parse_service
from knowngood.linux.running import Process, processes, writes_to
from tests.servers.following import open_folder
from tests.servers.redis import redis_server
from tests.user import User


@pytest.mark.needs("redis-server")
def test_a_server_that_listens(tmp_path: Path) -> None:
    """Its socket is in the proposal, which can be applied as it is; nothing was written."""
    user = User(tmp_path)
    user.begins()
    with open_folder() as folder, redis_server(folder / "server") as server:
        found = user.asks("service", "discover", "--name", "My Shop")
        sockets = [each["where"].removeprefix("url=unix://") for each in found["components"]]
        assert any(os.path.samefile(each, server.socket) for each in sockets)
        (tmp_path / "shop.yaml").write_text(user.does("service", "discover", "--name", "My Shop").out)
        assert user.asks("service", "list")["services"] == []
        user.does("service", "apply", tmp_path / "shop.yaml")
    assert user.asks("service", "list")["services"][0]["name"] == "my-shop"


def test_where_a_unit_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of the files that its processes have open to write; what is below another one is in that already."""
    data = tmp_path / "data"
    (data / "deeper").mkdir(parents=True)
    code = "import sys; files = [open(each, 'a') for each in sys.argv[1:]]; print('open', flush=True); input()"
    command = [sys.executable, "-c", code, str(data / "a"), str(data / "deeper" / "b")]
    monkeypatch.setattr(discover, "_ELSEWHERE", ("/proc", "/dev"))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"open\n"
        assert writes_to(process.pid) == {str(data / "a"), str(data / "deeper" / "b")}
        (mine,) = (each for each in processes() if each.pid == process.pid)
        shop = Process(mine.pid, mine.program, "shop", mine.folder)
        monkeypatch.setattr(discover, "processes", lambda: iter([shop]))
        proposal = discover.discover("", "shop.service", {"files"}, str(tmp_path / "home"))
        process.communicate(b"\n")
    service = parse_service(proposal.text, "")
    assert [(each.kind, each.path) for each in service.components] == [("files", str(data))]


def test_a_unit_that_is_not_there(tmp_path: Path) -> None:
    """Is not found."""
    answer = User(tmp_path).does("service", "discover", "--unit", "no-such-unit", status=4)
    assert "no process of the unit" in answer.err
