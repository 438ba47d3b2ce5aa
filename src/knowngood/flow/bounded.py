"""Programs of other people, bounded: in time, in what is kept of their output, and with all that they start."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_KEPT_BYTES = 4096
_KEPT_LINES = 10
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended. `said` is the end of what it printed; `failure` says in words why it did not go well."""

    said: str
    failure: str
    seconds: float


def run_bounded(command: Sequence[str], timeout: float, more: Mapping[str, str], folder: str = "/") -> Ran:
    """Run a program in a process group of its own; when the time is over, or somebody interrupts us, all of it is
    killed. It finds few words of our environment, and `more`. Nothing is raised for what it does."""
    began = time.monotonic()
    environment = {"PATH": _PATH} | {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(more)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as wrong:
        reason = os.strerror(wrong.errno or 0).lower() if isinstance(wrong, OSError) else str(wrong)
        return Ran("", f"{command[0]} cannot be run: {reason}", 0)
    try:
        output = _read(process, began + timeout)
        status = process.wait(max(0.0, began + timeout - time.monotonic()))
    except subprocess.TimeoutExpired as late:
        failure, output = f"it took longer than {timeout:g} s, and was ended", late.output or b""
    else:
        failure = "" if status == 0 else f"it ended with {_status(status)}"
    finally:
        _end(process)
    return Ran(_short(output), failure, time.monotonic() - began)


def _read(process: subprocess.Popen[bytes], end: float) -> bytes:
    """The end of what it prints until it ends. What others that it started go on printing is not waited for."""
    assert process.stdout is not None
    kept, source = b"", process.stdout.fileno()
    os.set_blocking(source, False)
    with selectors.DefaultSelector() as ready:
        ready.register(source, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0:
            ended = process.poll() is not None
            if ready.select(0 if ended else min(left, 0.05)):
                data = os.read(source, 1 << 16)
                if not data:
                    return kept
                kept = (kept + data)[-_KEPT_BYTES:]
            elif ended:
                return kept
    raise subprocess.TimeoutExpired(process.args, 0, kept)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _status(status: int) -> str:
    return f"status {status}" if status > 0 else f"signal {-status}"


def _short(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-_KEPT_LINES:])
