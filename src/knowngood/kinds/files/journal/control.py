"""The server's side of the line to the keeper: small questions and answers on a socket that only root reaches.

One message is one JSON object: `{"do": …}`, answered by another one. Who has asked for a hold and goes away ends it.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import knowngood
from knowngood.kinds.files.journal.acting import Acting
from knowngood.linux.calls import checked, libc
from knowngood.linux.mounts import Mount, MountTable

SOCKET = "control"
READY = "ready"
"""What a server says when it can be reached."""

MESSAGE = 64 * 1024
LONGEST_HOLD = 30.0
"""Seconds after which a hold ends by itself."""
_LAST_SECONDS = 5.0
_CREDENTIALS = 12  # bytes of struct ucred
_TYPE = b"fuse.knowngood"


@dataclass(frozen=True, slots=True)
class Site:
    """What is mounted where, and a descriptor of the folder below."""

    path: str
    root: int


def address(state: str) -> tuple[str, int]:
    """How to name the socket of a state folder, whatever its path is; and a descriptor to be closed afterwards."""
    fd = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{fd}/{SOCKET}", fd


def _mounts() -> list[Mount]:
    table = MountTable()
    try:
        return table.read()
    finally:
        table.close()


class _Hold:
    """All writers wait, until it is released or its time is over."""

    def __init__(self, order: threading.Lock, seconds: float) -> None:
        self._order = order
        self._lock = threading.Lock()
        self.held = True
        self._timer = threading.Timer(seconds, self.release)
        self._timer.daemon = True
        self._timer.start()

    def release(self) -> bool:
        """Let them go on; whether they had waited until now."""
        with self._lock:
            held, self.held = self.held, False
        self._timer.cancel()
        if held:
            self._order.release()
        return held


class Control:
    """Answers the keeper."""

    def __init__(
        self,
        state: str,
        acting: Acting,
        site: Site,
        ended: threading.Event,
        renew: Callable[[str], None],
        listener: int = -1,
    ) -> None:
        """`renew` goes on as another program, or returns when that cannot be; `listener` is a descriptor of the
        socket, where another program had it before."""
        self._acting = acting
        self._site = site
        self._ended = ended
        self.mount = 0
        self.renewals = 0  # how often this process has become another program
        self._renew = renew
        self._answering = threading.Lock()
        if listener >= 0:
            self._listener = socket.socket(fileno=listener)
            return
        name, folder = address(state)
        try:
            with suppress(FileNotFoundError):
                os.unlink(name)
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._listener.bind(name)
            os.chmod(name, 0o600)
            self._listener.listen(4)
        finally:
            os.close(folder)

    @property
    def listener(self) -> int:
        """The socket's descriptor."""
        return self._listener.fileno()

    def start(self, mount: int = 0) -> None:
        """Begin to answer; `mount` is the number of the mount, if it is known."""
        self.mount = mount or self._top()
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def stop(self) -> None:
        """Answer no more, once who has asked has an answer."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # it wakes who waits, too
        self._listener.close()
        self._answering.acquire(timeout=_LAST_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(line,), name="control-line", daemon=True).start()

    def _talk(self, line: socket.socket) -> None:
        hold: _Hold | None = None
        with line, suppress(OSError, ValueError):
            asked = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS)
            if int.from_bytes(asked[4:8], "little") not in (0, os.geteuid()):
                return
            try:
                while message := line.recv(MESSAGE):
                    with self._answering:
                        hold = self._answer(line, json.loads(message), hold)
            finally:
                if hold is not None:
                    hold.release()

    def _answer(self, line: socket.socket, asked: Any, hold: _Hold | None) -> _Hold | None:
        what = asked.get("do")
        answer: dict[str, Any] = {}
        if what == "root":
            socket.send_fds(line, [b"{}"], [self._site.root])
            return hold
        if what == "hold" and (hold is None or not hold.held):
            seconds = min(LONGEST_HOLD, float(asked["seconds"]))
            if self._acting.order.acquire(timeout=seconds):
                hold = _Hold(self._acting.order, seconds)
                answer["held"] = True
        elif what == "release":
            answer["kept"], hold = hold is not None and hold.release(), None
        elif what == "landed":
            self._acting.journal.recount()
        elif what == "resume":
            with self._acting.order:
                self._acting.journal.resume()
        elif what == "renew":
            self._renew(str(asked["program"]))
            answer["refused"] = True
        elif what == "stop":
            answer["stopped"] = self.unmount()
        journal = self._acting.journal
        if what == "state":
            answer["mounted"] = any(each.id == self.mount for each in _mounts())
        answer["holding"] = hold is not None and hold.held
        answer |= {"version": knowngood.__version__, "renewals": self.renewals}
        answer |= {"process": os.getpid(), "next": journal.next, "lost": journal.lost, "waiting": journal.waiting}
        line.send(json.dumps(answer).encode())
        return hold

    # ------------------------------------------------------------------------------------------------------ the mount

    def unmount(self) -> bool:
        """Take the file system away if nobody uses it; whether it went."""
        if self._top() != self.mount:  # it is not there any more, or something else covers it
            return False
        try:
            checked(libc.umount2(os.fsencode(self._site.path), ctypes.c_int(0)))
        except OSError:
            return False
        return self._ended.wait(10)

    def _top(self) -> int:
        """The number of our mount, if nothing covers it; else 0."""
        path = os.path.realpath(os.path.dirname(self._site.path))
        wanted = os.fsencode(os.path.join(path, os.path.basename(self._site.path)))
        found = [each for each in _mounts() if each.path == wanted]
        return found[-1].id if found and found[-1].kind == _TYPE else 0
