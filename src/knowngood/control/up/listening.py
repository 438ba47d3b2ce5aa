"""The control socket as a file of the home: made, taken over from a service manager, connected to."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator, MutableMapping

from knowngood.control.files import mapped
from knowngood.core.errors import UsageError

_FIRST_PASSED = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)
_LONGEST = 107  # bytes of a path in sockaddr_un, unix(7)
_BACKLOG = 16


@contextlib.contextmanager
def address(path: str) -> Iterator[str]:
    """The address of a socket at this path, also where the path is longer than an address may be."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield path
        return
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)


@contextlib.contextmanager
def listening(path: str, environment: MutableMapping[str, str] = os.environ) -> Iterator[socket.socket]:
    """A socket that listens: the one that was passed by a service manager, or our own at this path.

    Only whoever holds the home as `knowngood up` may call this: what lies at the path is then a dead one's.
    """
    passed = _passed(environment)
    if passed is not None:
        with passed:
            yield passed
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as own:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            mask = os.umask(0o177)
            try:
                with address(path) as where:
                    own.bind(where)
            finally:
                os.umask(mask)
            own.listen(_BACKLOG)
            own.setblocking(False)
        except OSError as wrong:
            raise mapped(wrong, path, "listen at") from wrong
        try:
            yield own
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _passed(environment: MutableMapping[str, str]) -> socket.socket | None:
    """The listening socket that the service manager passed to this process, if it did. Raises UsageError."""
    process, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", "")
    if process != str(os.getpid()) or not count.isdecimal() or count == "0":
        return None
    if count != "1":
        raise UsageError(f"{count} sockets were passed, and one is used", hint="keep one ListenStream= in the .socket")
    passed = socket.socket(fileno=_FIRST_PASSED)
    kind = passed.family, passed.type, passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if kind != (socket.AF_UNIX, socket.SOCK_STREAM, 1):
        passed.close()
        raise UsageError(
            "the socket that was passed is no listening unix stream", hint="see packaging/knowngood.socket"
        )
    os.set_inheritable(_FIRST_PASSED, False)
    passed.setblocking(False)
    return passed


def peer_uid(connection: socket.socket) -> int:
    """Who is at the other end, as the kernel knows it (unix(7), SO_PEERCRED)."""
    form = struct.Struct("3i")
    return form.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, form.size))[1]
