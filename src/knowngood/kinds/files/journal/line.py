"""The keeper's side of the line to a journal's server: finds the one that runs, or starts one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any

import knowngood
from knowngood.core.errors import Busy, KnowngoodError, Unsupported
from knowngood.core.model import ComponentSpec
from knowngood.core.sizes import GIB
from knowngood.kinds.files.journal.control import LONGEST_HOLD, MESSAGE, READY, address
from knowngood.linux.fuse.mount import DEVICE

TOTAL = GIB
"""Bytes of a journal: beyond it nothing is journalled (see `Bounds`)."""

_SECONDS = 10.0
_START_SECONDS = 60.0


class ServerGone(Exception):
    """The server does not answer any more."""


class Line:
    """A server that answers. For one thread."""

    def __init__(self, state: str) -> None:
        """Raises ServerGone when there is none."""
        try:
            name, folder = address(state)
        except OSError:
            raise ServerGone from None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(_SECONDS)
        try:
            self._socket.connect(name)
        except OSError:
            self._socket.close()
            raise ServerGone from None
        finally:
            os.close(folder)

    def ask(self, what: str, **more: Any) -> dict[str, Any]:
        """One question. Raises ServerGone."""
        try:
            self._socket.send(json.dumps({"do": what, **more}).encode())
            answer = self._socket.recv(MESSAGE)
        except OSError:
            answer = b""
        if not answer:
            raise ServerGone
        return json.loads(answer)

    def root(self) -> int:
        """A descriptor of the folder below the mount. Raises ServerGone."""
        try:
            self._socket.send(json.dumps({"do": "root"}).encode())
            _, fds, _, _ = socket.recv_fds(self._socket, MESSAGE, 1)
        except OSError:
            fds = []
        if not fds:
            raise ServerGone
        os.set_inheritable(fds[0], False)
        return fds[0]

    def hold(self, seconds: float) -> int:
        """Let all writers wait for so long at most; the number after the last entry. Raises ServerGone, Busy."""
        self._socket.settimeout(LONGEST_HOLD + _SECONDS)
        try:
            answer = self.ask("hold", seconds=seconds)
        finally:
            self._socket.settimeout(_SECONDS)
        if not answer.get("held"):
            raise Busy("the writers could not be held", hint="it is tried again")
        return answer["next"]

    def release(self) -> bool:
        """Let them go on; whether they waited until now. Raises ServerGone."""
        return bool(self.ask("release").get("kept"))

    def renew(self) -> bool:
        """Let the server go on as the program that this one is; whether it does. This line has ended then."""
        self._socket.settimeout(_START_SECONDS)
        try:
            self.ask("renew", program=sys.executable)
        except ServerGone:
            return True
        finally:
            self._socket.settimeout(_SECONDS)
        return False

    def close(self) -> None:
        """Hang up; the server goes on."""
        self._socket.close()


def end_server(component: ComponentSpec, state_dir: str) -> None:
    """A component is not to be journalled any more: unmount it. Raises Busy when somebody uses the mount."""
    with suppress(ServerGone):
        line = Line(os.path.join(state_dir, "journal"))
        try:
            stopped = line.ask("stop").get("stopped")
        finally:
            line.close()
        if not stopped:
            hint = f"end the programs that use it: fuser -vm {component.path}"
            raise Busy(f"{component.path} is still mounted for its journal", hint=hint)


def find_server(component: ComponentSpec, path: bytes, state_dir: str) -> Line:
    """The server of a component, which is started if none runs. Raises Unsupported, Busy, KnowngoodError."""
    state = os.path.join(state_dir, "journal")
    with suppress(ServerGone):
        line = _up_to_date(Line(state), state)
        if line.ask("state").get("mounted", True):
            return line
        line.close()
        hint = "end them: then it can be mounted anew. Until then, what others write is not journalled"
        raise Busy(f"{component.path} was unmounted, and programs have files of that mount open", hint=hint)
    _check(component, path, state_dir)
    words = [sys.executable, "-m", "knowngood.kinds.files.journal.serve", os.fsdecode(path), state_dir]
    words += [f"--total={TOTAL}"]
    words += ["--caches"] * component.exclude_caches + ["--one-file-system"] * component.one_file_system
    try:
        done = subprocess.run(
            words,
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            timeout=_START_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise Busy(
            f"the journal of {component.path} does not begin", hint=f"look at: mount; {component.path}"
        ) from None
    if done.stdout != READY:
        said = done.stdout.strip() or (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise KnowngoodError(f"{component.path} cannot be journalled: {said}", hint="or use: capture: watch")
    try:
        return Line(state)
    except ServerGone:
        raise Busy(f"the journal of {component.path} ended at once", hint="it is tried again") from None


def _up_to_date(line: Line, state: str) -> Line:
    """A server that was there before an upgrade goes on as the new program; one that cannot stays as it is until it is
    unmounted. Raises ServerGone."""
    if line.ask("state").get("version", knowngood.__version__) != knowngood.__version__ and line.renew():
        line.close()
        return Line(state)
    return line


def _check(component: ComponentSpec, path: bytes, state_dir: str) -> None:
    hint = "use 'capture: watch', or 'auto'"
    if os.geteuid():
        raise Unsupported("the journal mounts over the component's folder, which takes root", hint=hint)
    if not os.path.exists(DEVICE):
        raise Unsupported(f"the journal needs {DEVICE}", hint="modprobe fuse")
    ours = os.fsencode(os.path.realpath(state_dir))
    if (ours + b"/").startswith(path.rstrip(b"/") + b"/"):
        raise Unsupported(f"{component.path} holds the home itself, where its journal is kept", hint=hint)
    if os.path.isfile(path):
        raise Unsupported(f"{component.path} is a file, and only folders can be journalled", hint="name its folder")
