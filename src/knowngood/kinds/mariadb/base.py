"""A base: what mariabackup streams, file by file, into an image."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from knowngood.core.errors import KnowngoodError, NotFound, UsageError
from knowngood.core.instants import now_ns
from knowngood.core.ports import ChunkSink
from knowngood.core.progress import Progress
from knowngood.databases.image import Filling, Image
from knowngood.kinds.mariadb.access import GRANT_HINT, Access
from knowngood.wire.binlog import Place
from knowngood.wire.xbstream import chunks

FOLDER = b"base/"
PLACE = "xtrabackup_binlog_info"
PROGRAM = "mariabackup"
_SMALL = 4096


def take_base(access: Access, datadir: str, image: Image, sink: ChunkSink, progress: Progress) -> Place:
    """All files of the server, and where its binary log is at them. Raises KnowngoodError with what it says."""
    filling: dict[bytes, Filling] = {}
    place = b""
    with _running(access, datadir) as read:
        for chunk in chunks(read):
            if chunk.data is not None:
                filling.setdefault(chunk.path, Filling(sink)).feed(chunk.data)
                if chunk.path == PLACE.encode():
                    place = (place + chunk.data)[:_SMALL]
                progress.bytes += len(chunk.data)
                progress.current = chunk.path.decode(errors="replace")
                continue
            image.fill(FOLDER + chunk.path, filling.pop(chunk.path, None) or Filling(sink), now_ns())
            progress.files += 1
    return place_of(place)


def place_of(text: bytes) -> Place:
    """What mariabackup notes: file, position, and maybe a GTID. Raises KnowngoodError when there is nothing."""
    words = text.decode(errors="replace").split()
    if len(words) < 2 or not words[1].isdigit():
        raise KnowngoodError("mariabackup does not say where the binary log is: is it on?")
    return Place(words[0], int(words[1]))


@contextmanager
def _running(access: Access, datadir: str) -> Iterator[Callable[[int], bytes]]:
    """mariabackup, as a function that reads its output. When the block ends without an error, so must it."""
    with tempfile.TemporaryDirectory(prefix="knowngood-") as folder, open(f"{folder}/said", "w+b") as said:
        command = [PROGRAM, *access.arguments(), "--backup", "--stream=xbstream"]
        command += [f"--datadir={datadir}", f"--target-dir={folder}/target"]
        os.mkdir(f"{folder}/target")
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
        except FileNotFoundError:
            hint = "on Debian: apt-get install mariadb-backup"
            raise NotFound(f"the program '{PROGRAM}' is not installed", hint=hint) from None
        assert process.stdout is not None
        try:
            yield process.stdout.read
            status = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            if error := _said(said.fileno()):
                raise _failed(error) from None
            raise
        finally:
            process.stdout.close()
        if status:
            raise _failed(_said(said.fileno()))


def _failed(error: str) -> KnowngoodError:
    if "privilege" in error:
        return UsageError(f"mariabackup may not do what it has to: {error}", hint=GRANT_HINT)
    return KnowngoodError(f"mariabackup failed: {error}", hint="run it by hand to see all that it says")


def _said(fd: int) -> str:
    """The last lines that tell of an error."""
    size = os.fstat(fd).st_size
    lines = os.pread(fd, _SMALL, max(0, size - _SMALL)).decode(errors="replace").splitlines()
    errors = [line.strip() for line in lines if "rror" in line]
    return " / ".join(errors[-3:])
