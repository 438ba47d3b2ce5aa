"""A process that writes new files for a recovery, batch after batch: what `helpers.py` starts.

It is run as a program, by path, with the numbers of two open descriptors: a socket on which batches come, and the
memory that holds their content. It imports the standard library only: so it starts at once, and knows of no vault and
no key. It ends when the other end of the socket is closed.

A batch is one message: a `FILE` and a name for each file, and with it the descriptors of the folders. The answer is one
message: a byte for each file, zero where it could not be written. Of such a file nothing is left.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import struct
import sys
from contextlib import suppress

FILE = struct.Struct("<HIIIqIH")
"""Which of the folders, mode, owner, group, time of change in ns, bytes of content, bytes of the name that follows."""
BATCH_FOLDERS = 64
MESSAGE_BYTES = 1 << 17  # below what the kernel takes as one message by default

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_PRIVATE = 0o600
_CANNOT = (OSError, ValueError, IndexError, OverflowError)  # also what no file system has, and folders not received


def write_batch(message: bytes, folders: list[int], content: memoryview) -> bytes:
    """Write the files of a batch, whose contents lie one behind the other; return the answer."""
    answer = bytearray()
    gives: list[tuple[int, int] | None] = [None] * len(folders)  # the owner of what is made in each, once known
    at = start = 0
    while at < len(message):
        number, mode, uid, gid, mtime_ns, size, length = FILE.unpack_from(message, at)
        at += FILE.size
        name = message[at : at + length]
        at += length
        data = content[start : start + size]
        start += size
        try:
            folder, owner = folders[number], (uid, gid)
            fd = os.open(name, _NEW, mode if gives[number] == owner else _PRIVATE, dir_fd=folder)
        except _CANNOT:
            answer.append(0)
            continue
        try:
            try:
                while len(data):
                    data = data[os.write(fd, data) :]
                if gives[number] != owner:
                    gives[number] = _own(fd, owner)
                    os.chmod(fd, mode)
                os.utime(fd, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(fd)
            answer.append(1)
        except _CANNOT:
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)
            answer.append(0)
    return bytes(answer)


def _own(fd: int, owner: tuple[int, int]) -> tuple[int, int]:
    """Give a new file its owner and group. Returns those it was made with."""
    have = os.fstat(fd)
    if (have.st_uid, have.st_gid) != owner:
        os.chown(fd, *owner)
    return have.st_uid, have.st_gid


def serve(channel: socket.socket, memory: int) -> None:
    """Write batches until there are no more."""
    content = memoryview(mmap.mmap(memory, 0, prot=mmap.PROT_READ))
    channel.send(b"ready")
    while True:
        message, folders, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, BATCH_FOLDERS)
        if not message:
            return
        try:
            answer = write_batch(message, folders, content)
        finally:
            for folder in folders:
                os.close(folder)
        channel.send(answer)


def main() -> None:
    """Serve until the end. Ctrl-C goes to the whole group: it is the recovery that decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0)  # modes are given whole
    with suppress(OSError), socket.socket(fileno=int(sys.argv[1])) as channel:
        serve(channel, int(sys.argv[2]))


if __name__ == "__main__":
    main()
