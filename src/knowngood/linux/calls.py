"""The C library's calls by name, and their failures as OSError."""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys
import termios

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> int:
    """What a call returned. Raises OSError when that is -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def waiting_bytes(fd: int) -> int:
    """How many bytes can be read from a descriptor, as the kernel counts them (FIONREAD). Raises OSError."""
    answer = bytearray(4)
    fcntl.ioctl(fd, termios.FIONREAD, answer)
    return int.from_bytes(answer, sys.byteorder)


def read_waiting(fd: int, size: int) -> bytes:
    """The next bytes of a descriptor that does not block; b"" when there are none. Raises OSError."""
    try:
        return os.read(fd, size)
    except BlockingIOError:
        return b""
