"""A network of its own for one thread and all that it starts: loopback, and nothing else."""

from __future__ import annotations

import fcntl
import socket
import struct

from knowngood.linux.calls import checked, libc

_CLONE_NEWNET = 0x40000000
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
