"""A throw-away server: one program on recovered files, by an unprivileged user, with a folder for its sockets."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from knowngood.core.errors import KnowngoodError, NotFound

_STOP_SECONDS = 10.0
_LOG_BYTES = 4096


class Server:
    """A process and its private folder. Used by one thread."""

    def __init__(self, folder: str, user: str | None = None) -> None:
        """`folder` holds the recovered files. As root, all of it is given to `user`, who also runs the program."""
        self.folder = folder
        self._account = _account(user) if os.geteuid() == 0 else None
        self.sockets = tempfile.mkdtemp(prefix="knowngood-")  # short: the path of a socket has 107 bytes at most
        self._log = os.path.join(self.sockets, "log")
        self._process: subprocess.Popen[bytes] | None = None
        if self._account is not None:
            os.chown(self.sockets, *self._account)
            _give(folder, self._account)

    def write(self, name: str, text: str) -> None:
        """A file of the program's configuration, in the private folder. Raises OSError."""
        path = os.path.join(self.sockets, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        if self._account is not None:
            os.chown(path, *self._account)

    def start(self, command: Sequence[str], ready: Callable[[], bool], seconds: float) -> None:
        """Start it, wait until it is ready. Raises NotFound without the program, KnowngoodError with what it said."""
        process = self._process = self._spawn(command)
        end = time.monotonic() + seconds
        while not ready():
            if process.poll() is not None or time.monotonic() > end:
                said = self.said()
                self.stop()
                raise KnowngoodError(f"the recovered server does not start: {said or 'it says nothing'}")
            time.sleep(0.02)

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        user, group = self._account or (None, None)
        try:
            with open(self._log, "wb") as log:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    cwd=self.folder,
                    env=_environment(self.sockets),
                    user=user,
                    group=group,
                    extra_groups=None if user is None else [],
                )
        except OSError:
            self.stop()
            # a directory of PATH that this user may not enter looks like a program that may not be run
            raise NotFound(f"the program '{command[0]}' is not installed, or cannot be run") from None

    def run(self, command: Sequence[str], seconds: float) -> None:
        """Run another program as the same user. Raises NotFound without it, KnowngoodError with what it said."""
        process = self._spawn(command)
        self._process = process
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise KnowngoodError(f"{command[0]} does not end") from None
        if status:
            raise KnowngoodError(f"{command[0]} fails: {self.said()}")
        self._process = None

    def pipe(self, reading: Sequence[str], writing: Sequence[str], seconds: float) -> None:
        """Run two more programs, the first into the second. Raises as `run`."""
        with open(os.path.join(self.sockets, "pipe"), "w+b") as log:
            spawn = partial(subprocess.Popen, stderr=log, cwd=self.folder, env=_environment(self.sockets), **self._as())
            first = spawn(reading, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            second = spawn(writing, stdin=first.stdout, stdout=subprocess.DEVNULL)
            assert first.stdout is not None
            first.stdout.close()
            try:
                statuses = second.wait(seconds), first.wait(seconds)
            finally:
                for each in (first, second):
                    each.kill()
                    each.wait()
            if any(statuses):
                log.seek(0)
                said = log.read(_LOG_BYTES).decode(errors="replace").strip()
                raise KnowngoodError(f"{writing[0]} fails: {said}")

    def secret(self, name: str, text: str) -> str:
        """A file in the private folder that only the server's user reads. Its path."""
        path = os.path.join(self.sockets, name)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            if self._account is not None:
                os.fchown(fd, *self._account)
        return path

    def _as(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account[0], "group": self._account[1], "extra_groups": []}

    def end(self, seconds: float) -> None:
        """End it as it likes to be ended, with all that it has written down. Raises KnowngoodError when it does not."""
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise KnowngoodError("the recovered server does not end") from None
        finally:
            said = self.said()
            self.stop()
        if status:
            raise KnowngoodError(f"the recovered server does not end well: {said}")

    def said(self) -> str:
        """The end of what it printed."""
        with contextlib.suppress(OSError), open(self._log, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
            return " / ".join(lines[-5:])
        return ""

    def stop(self) -> None:
        """End it and all that it started; remove the private folder. The recovered files stay."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.sockets, ignore_errors=True)


def _account(user: str | None) -> tuple[int, int]:
    for name in (user, "nobody"):
        if name is not None:
            with contextlib.suppress(KeyError):
                found = pwd.getpwnam(name)
                return found.pw_uid, found.pw_gid
    return 65534, 65534


def _give(folder: str, account: tuple[int, int]) -> None:
    for where, folders, files in os.walk(folder):
        os.chown(where, *account)
        for name in (*folders, *files):
            os.chown(os.path.join(where, name), *account, follow_symlinks=False)


def _environment(home: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
        "HOME": home,
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
