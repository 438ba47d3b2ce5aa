"""Checks of a web server, and where it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from knowngood.core.model import Check, ComponentSpec
from knowngood.flow.checks import Came, run_checks
from knowngood.flow.rig import Piece, Rig


class _Server:
    """Stands for a sandbox that has a port."""

    def __init__(self, port: int) -> None:
        self.address = {"port": str(port)}

    def ask(self, question: str, timeout: float) -> list[tuple[str, ...]]:
        """No rows."""
        return []

    def stop(self) -> None:
        """Nothing to do."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health?a=1" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """Where a web server answers."""
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_web_servers(port: int, tmp_path: Path) -> None:
    """The status it answers with; places of addresses are filled."""
    pieces = [
        Piece(ComponentSpec(name="app", kind="x"), "/app", sandbox=_Server(port)),
        Piece(ComponentSpec(name="files", kind="files"), "/files"),
    ]

    def came(http: str, component: str = "") -> tuple[str, str]:
        check = Check(http=http, component=component, expect="200", timeout=60)
        (answer,) = run_checks(Rig(pieces), (check,), "/", str(tmp_path))
        return answer.came, answer.got

    assert came("http://127.0.0.1:{port}/health?a=1") == (Came.PASSED, "200")
    assert came("http://127.0.0.1:{app.port}/health?a=1") == (Came.PASSED, "200")
    assert came("http://127.0.0.1:{port}/", "app") == (Came.FAILED, "503")
    assert came("http://127.0.0.1:{path}/")[0] == Came.FAILED
    assert "there is: path" in came("http://127.0.0.1:{files.port}/")[1]
    assert came("http://127.0.0.1:1/")[0] == Came.FAILED


def test_a_question_without_an_answer(tmp_path: Path) -> None:
    """Is empty, and can be expected."""
    rig = Rig([Piece(ComponentSpec(name="app", kind="x"), "/app", sandbox=_Server(1))])
    check = Check(component="app", ask="x", expect="!= 1")
    assert [each.came for each in run_checks(rig, (check,), "/", str(tmp_path))] == [Came.PASSED]
