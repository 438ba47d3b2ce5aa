"""The control socket: who may ask, what may be said, and what is answered."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, strategies as st

from knowngood.control.home import Home
from knowngood.control.up import doorkeeper
from knowngood.control.up.client import ask, nudge, running
from knowngood.control.up.doorkeeper import MOST_GUESTS, Doorkeeper
from knowngood.control.up.listening import address, listening, peer_uid
from knowngood.control.up.notify import Notifier
from knowngood.control.up.protocol import (
    MAX_ANSWER,
    MAX_REQUEST,
    Answer,
    Lines,
    Request,
    TooLong,
    plain,
    read_answer,
    read_request,
    write_answer,
)
from knowngood.core.errors import Busy, UsageError
from tests.keepers import IDLE
from tests.leaks import nothing_left_behind

__all__ = ["nothing_left_behind"]


@pytest.fixture(params=["short", "long"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """At a path of either length: an address of a socket has 107 bytes."""
    home = Home.at(str(tmp_path / ("h" if request.param == "short" else "h" * 150)))
    home.create()
    return home


class Kept:
    """A home whose doorkeeper is there."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.asked: list[Request] = []
        self.answers: Callable[[Request], Answer] = lambda _: Answer(running=IDLE)

    def handle(self, request: Request) -> Answer:
        """Notes what is asked."""
        self.asked.append(request)
        return self.answers(request)

    @contextmanager
    def talk(self) -> Iterator[socket.socket]:
        """A connection, to say anything on."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as to, address(self.home.socket) as where:
            to.settimeout(20)
            to.connect(where)
            yield to

    def says(self, data: bytes, *, end: bool = True) -> bytes:
        """All that is answered to these bytes until the other side hangs up."""
        with self.talk() as to:
            answers = b""
            try:
                to.sendall(data)
                if end:
                    to.shutdown(socket.SHUT_WR)
                while piece := to.recv(1 << 16):
                    answers += piece
            except (ConnectionResetError, BrokenPipeError):
                pass
            return answers


@pytest.fixture
def kept(home: Home) -> Iterator[Kept]:
    """With a doorkeeper."""
    kept = Kept(home)
    with listening(home.socket, {}) as listener, Doorkeeper(listener, kept.handle, Notifier(), lambda _: True):
        yield kept


def test_asking(kept: Kept) -> None:
    """A request and its answer; the file is for its owner only, and gone afterwards."""
    assert stat.S_IMODE(os.stat(kept.home.socket).st_mode) == 0o600
    assert running(kept.home) == IDLE
    kept.answers = lambda _: Answer(done=True)
    assert ask(kept.home, Request("protect", "shop")) == Answer(done=True)
    nudge(kept.home)
    assert kept.asked == [Request("status"), Request("protect", "shop"), Request("reload")]
    with pytest.raises(Busy):
        running(kept.home)


def test_nobody_runs(home: Home) -> None:
    """Neither before, nor after one was killed and has left its socket, nor where there is no home."""
    assert running(home) is None
    with listening(home.socket, {}):
        os.link(home.socket, home.socket + ".left")
    os.rename(home.socket + ".left", home.socket)
    assert running(home) is None
    nudge(home)
    with listening(home.socket, {}):
        pass
    assert not os.path.exists(home.socket)
    assert running(Home.at("/nowhere/at/all")) is None


def test_several_in_one_connection(kept: Kept) -> None:
    """One answer each, in order; what is wrong is said, and the next one is answered all the same."""
    answers = [json.loads(line) for line in kept.says(b'{"ask":"status"}\nnonsense\n{"ask":"status"}\n').splitlines()]
    assert [set(each) for each in answers] == [{"running"}, {"error"}, {"running"}]
    assert answers[1]["error"]["code"] == "usage"


@pytest.mark.parametrize(
    "said", [b"x" * (MAX_REQUEST + 1), b"x" * 10 * MAX_REQUEST + b"\n", b'{"ask":"status"}\n' * 1000]
)
def test_too_much(said: bytes, kept: Kept) -> None:
    """The one who said it is sent away, the next one is served."""
    assert b'"running"' not in kept.says(said, end=False)
    assert running(kept.home) == IDLE


def test_what_breaks_inside(kept: Kept) -> None:
    """Is answered too."""
    kept.answers = lambda _: next(iter(()))
    answer = ask(kept.home, Request("status"))
    assert answer
    assert answer.error
    assert (answer.error.code, answer.error.message) == ("unexpected", "unexpected StopIteration: ")
    kept.answers = lambda _: Answer(running=IDLE)
    assert running(kept.home) == IDLE


def test_a_guest_who_does_not_listen(kept: Kept) -> None:
    """Holds up nobody else."""
    kept.answers = lambda _: Answer(running=msgspec.structs.replace(IDLE, waiting_for="x" * (MAX_ANSWER // 2)))
    with kept.talk() as deaf:
        deaf.sendall(b'{"ask":"status"}\n' * 8)
        kept.answers = lambda _: Answer(done=True)
        assert ask(kept.home, Request("reload")) == Answer(done=True)


def test_too_many_guests(kept: Kept) -> None:
    """Whoever has been silent for longest makes room."""
    with ExitStack() as stack:
        guests = [stack.enter_context(kept.talk()) for _ in range(MOST_GUESTS)]
        for each in guests:
            each.sendall(b'{"ask":"status"}\n')
            assert each.recv(1 << 16)
        assert running(kept.home) == IDLE
        assert guests[0].recv(1) == b""
        guests[1].sendall(b'{"ask":"status"}\n')
        assert guests[1].recv(1 << 16)


def test_a_silent_guest(home: Home) -> None:
    """Is shown the door."""
    kept = Kept(home)
    with (
        patch.object(doorkeeper, "_PATIENCE", 0.05),
        listening(home.socket, {}) as listener,
        Doorkeeper(listener, kept.handle, Notifier(), lambda _: True),
    ):
        assert kept.says(b'{"ask":', end=False) == b""


def test_strangers(home: Home) -> None:
    """Another user is not answered, whatever the rights of the file."""
    kept = Kept(home)
    with (
        patch.object(doorkeeper, "peer_uid", lambda _: 4711),
        listening(home.socket, {}) as listener,
        Doorkeeper(listener, kept.handle, Notifier(), lambda _: True),
    ):
        assert kept.says(b'{"ask":"status"}\n') == b""
    assert kept.asked == []


def test_the_kernel_says_who() -> None:
    """The user at the other end."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with one, other:
        assert peer_uid(one) == os.getuid()


def test_no_answer(home: Home) -> None:
    """A keeper that hangs is not one that does not run."""
    with (
        patch("knowngood.control.up.client._PATIENCE", 0.05),
        listening(home.socket, {}),
        pytest.raises(Busy) as caught,
    ):
        running(home)
    assert "does not answer" in caught.value.message


def test_the_watchdog(home: Home, tmp_path: Path) -> None:
    """It is told for as long as the loop moves, and not a moment longer."""
    moves = [True, True, False, True]
    asked = threading.Event()

    def moving(_: float) -> bool:
        if len(moves) == 1:
            asked.set()
        return moves.pop(0) if moves else False

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        with listening(home.socket, {}) as listener:
            notifier = Notifier(str(tmp_path / "n"), watchdog=0.03)
            with Doorkeeper(listener, Kept(home).handle, notifier, moving):
                assert asked.wait(20)
        manager.setblocking(False)
        said = []
        with pytest.raises(BlockingIOError):
            while True:
                said.append(manager.recv(100))
    assert said == [b"WATCHDOG=1"] * 3


def test_a_socket_that_was_passed(home: Home) -> None:
    """By a service manager: it is used, and its file is left to whoever made it. In a process of its own: file 3."""
    program = (
        "import os, socket, sys\n"
        "from knowngood.control.up.listening import listening\n"
        "made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)\n"
        "os.chdir(sys.argv[1]); made.bind('s'); made.listen()\n"
        "os.dup2(made.fileno(), 3)\n"
        "environment = {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': sys.argv[2], 'LISTEN_FDNAMES': 'x'}\n"
        "with listening('up.sock', environment) as found: print(found.fileno(), found.getsockname(), environment)\n"
        "print(os.path.exists('s'))\n"
    )

    def run(count: str) -> subprocess.CompletedProcess[str]:
        Path(home.path, "s").unlink(missing_ok=True)
        return subprocess.run(
            [sys.executable, "-c", program, home.path, count], check=False, capture_output=True, text=True
        )

    assert run("1").stdout.splitlines() == ["3 s {}", "True"]
    assert "sockets were passed" in run("2").stderr
    assert run("0").stdout.splitlines()[0] != "3 s {}"


# ------------------------------------------------------------------------------------------------------ pure protocol


@given(st.binary(max_size=200))
def test_any_line_is_a_request_or_a_usage_error(line: bytes) -> None:
    """And nothing worse."""
    try:
        assert read_request(line).ask in ("status", "protect", "reload")
    except UsageError as wrong:
        assert wrong.hint


@given(st.lists(st.binary(max_size=30)), st.integers(1, 40))
def test_lines(pieces: list[bytes], limit: int) -> None:
    """However a stream is cut up, the same lines come out; none is longer than allowed."""
    lines, found = Lines(limit, 1000), []
    whole = b"".join(pieces)
    try:
        for piece in pieces:
            found += lines.feed(piece)
    except TooLong:
        assert max(map(len, whole.split(b"\n"))) > limit
    else:
        assert found == whole.split(b"\n")[:-1]


@given(st.text(), st.binary(max_size=20))
def test_answers_come_through(text: str, raw: bytes) -> None:
    """With any name in them, also one that is not UTF-8."""
    name = plain(text.encode("utf-8", "replace").decode() + raw.decode("utf-8", "surrogateescape"))
    answer = Answer(running=msgspec.structs.replace(IDLE, waiting_for=name))
    assert read_answer(write_answer(answer)) == answer


def test_an_answer_that_is_too_long() -> None:
    """Becomes an error of its own."""
    answer = Answer(running=msgspec.structs.replace(IDLE, waiting_for="x" * MAX_ANSWER))
    error = read_answer(write_answer(answer)).error
    assert error
    assert "too long" in error.message
