"""A network of its own for one thread and all that it starts, and no way to the sockets in the host's file system."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Iterator, Sequence

from knowngood.linux.calls import checked, libc

_CLONE_NEWNS, _CLONE_NEWNET = 0x20000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_SLAVE = 2, 4, 8, 1 << 12, 1 << 14, 1 << 19
_RUNNING = ("/run", "/var/run")  # where servers make their sockets, those of tomorrow too (FHS 3.0, 3.15)
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 1
_REQUEST = struct.Struct("16sh22x")  # struct ifreq, as far as flags go


def leave_network() -> None:
    """Take the calling thread out of the host's network, for as long as it lives. Raises OSError where that is not
    allowed. Sockets that are open stay where they are."""
    checked(libc.unshare(_CLONE_NEWNET))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _, flags = _REQUEST.unpack(fcntl.ioctl(control, _SIOCGIFFLAGS, _REQUEST.pack(b"lo", 0)))
        fcntl.ioctl(control, _SIOCSIFFLAGS, _REQUEST.pack(b"lo", flags | _IFF_UP))


def hide_sockets(keep: Sequence[str] = ()) -> None:
    """Take the sockets of the host's file system from the calling thread, for as long as it lives: what programs listen
    at now, and the folders for running programs whole, unless something that is to be kept lies there.

    Raises OSError where that is not allowed. Whoever is a socket later, and elsewhere, is not hidden.
    """
    listening = [*_listening()]
    checked(libc.unshare(_CLONE_NEWNS))
    _mount(b"none", "/", None, _MS_REC | _MS_SLAVE)  # what is unmounted at the host goes here, too
    kept = [os.path.realpath(each) for each in keep]
    for folder in dict.fromkeys(map(os.path.realpath, _RUNNING)):
        if os.path.isdir(folder) and not any(each.startswith(folder + "/") for each in kept):
            _mount(b"tmpfs", folder, b"tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, b"size=1m,mode=755")
    for path in listening:
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.stat(path).st_mode):
                _mount(b"/dev/null", path, None, _MS_BIND)


def _listening() -> Iterator[str]:
    """The paths of all sockets that are bound to one, as the kernel tells them (proc_net_unix(5))."""
    with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            path = line.rstrip("\n").split(maxsplit=7)[7:]
            if path and path[0].startswith("/"):
                yield path[0]


def _mount(source: bytes, path: str, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    checked(libc.mount(source, os.fsencode(path), kind, flags, data))
