"""The warden of one database: a process of its own that holds SQLite's locks, and reads what is committed.

    python -m knowngood.kinds.sqlite.warden PATH PLACE-OF-COPIES

POSIX locks belong to a process and go when any descriptor of the file is closed there: nobody else may open the
database in this one. Requests come on standard input, a socket; when that ends, the process ends, and the kernel takes
its locks. On standard output, a pipe, a byte says that something was committed.

A reader keeps the log from beginning anew. When it has become long, the log is handed over: with the write lock taken,
the rest is read, the reader let go, what is in the log copied into the database by SQLite's own passive checkpoint, and
a new reader begun before the write lock is let go. Nothing else of ours writes to the database.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sqlite3
import sys
import time
from collections.abc import Callable

import msgspec

from knowngood.kinds.sqlite.database import Database, copy_into
from knowngood.kinds.sqlite.words import BUSY, FAILED, Answer, Refusal, Request, receive, send
from knowngood.linux.inotify import add_file_watch, open_instance
from knowngood.wire.inotify import MODIFY

_PUBLISH_SECONDS = 2.0  # frames are written, synced, and only then told of
_PUBLISH_STEP = 0.004


def serve(path: str, requests: socket.socket, tell: int, copy: str) -> None:
    """Answer requests until nobody asks any more."""
    into = sqlite3.connect(copy, isolation_level=None) if copy else None
    if into is not None:
        into.execute("PRAGMA journal_mode=OFF")
    _become_owner(path)
    database, watch, told, since = Database(path), open_instance(), False, -1.0
    verbs: dict[str, Callable[[Request], Answer]] = {
        "begin": lambda request: database.begin(request.place),
        "take": lambda _: database.take(),
        "read": lambda request: database.read(request.offset, request.length),
        "hold": lambda request: database.hold(request.lease),
        "mark": lambda _: database.mark(),
        "release": lambda _: database.release(),
    }
    if into is not None:
        verbs["copy"] = lambda _: copy_into(path, into)
    while True:
        ready, _, _ = select.select([requests, watch], [], [], _PUBLISH_STEP if since >= 0 else None)
        if watch in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(watch, 1 << 16)
            since = time.monotonic()
            database.guard()
        if requests in ready:
            request = msgspec.msgpack.decode(receive(requests), type=Request)
            send(requests, _answer(verbs[request.verb], request))
            if request.verb == "begin" and database.wal_path:
                add_file_watch(watch, database.wal_path, MODIFY)
            told = told and request.verb != "take"
        if not told and (since >= 0 or requests in ready) and database.changed():
            os.write(tell, b"!")
            told = True
        if told or time.monotonic() - since > _PUBLISH_SECONDS:
            since = -1.0


def _answer(verb: Callable[[Request], Answer], request: Request) -> Answer:
    try:
        return verb(request)
    except Refusal as wrong:
        return Answer(refused=wrong.kind, text=str(wrong))
    except sqlite3.Error as wrong:
        busy = getattr(wrong, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
        return Answer(refused=BUSY if busy else FAILED, text=str(wrong))
    except OSError as wrong:
        return Answer(refused=FAILED, text=os.strerror(wrong.errno or 0).lower())


def _become_owner(path: str) -> None:
    """What belongs to others is read by their rights, not by root's."""
    with contextlib.suppress(FileNotFoundError):
        owner = os.stat(path)
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.setgroups([])
            os.setgid(owner.st_gid)
            os.setuid(owner.st_uid)


def main() -> None:
    """Until standard input ends. Nothing is closed in order: the last one who closes a database takes its log away."""
    requests = socket.socket(fileno=0)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        serve(sys.argv[1], requests, 1, sys.argv[2] if len(sys.argv) > 2 else "")
    os._exit(0)


if __name__ == "__main__":
    main()
