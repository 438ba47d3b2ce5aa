"""Bringing a database back in place: written beside, then put in the place of a file that nobody has open.

A log that stays behind would be replayed onto the recovered database, and damage it: it goes first. What is replaced
stays beside, as NAME.former.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sqlite3
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

from knowngood.core.errors import Busy, KnowngoodError
from knowngood.core.ports import PageSource, Recovered, RecoveryPlan, RecoveryRequest
from knowngood.core.progress import Progress
from knowngood.databases.kind import Folders

_FLOCK = struct.Struct("hhqqi4x")  # l_type, l_whence, l_start, l_len, l_pid
_PENDING, _LENGTH = 0x40000000, 512  # the bytes that SQLite locks (File Format, "The Lock-Byte Page")
_WARDEN = b"knowngood.kinds.sqlite.warden"
_WARDEN_SECONDS = 5.0


class InPlace:
    """Recovery into folders as ever; to where the database was, by replacing it."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def plan(self, request: RecoveryRequest, pages: PageSource, progress: Progress) -> RecoveryPlan:
        """What it would do. Raises Busy when a program has the database open."""
        if not _in_place(request):
            return self._folders.plan(request, pages, progress)
        path = os.path.realpath(request.target)
        there = os.path.exists(path)
        with _mapped(path):
            if there:
                with _locked(path, ending=False):
                    pass
        plan = self._folders.plan(_beside(request, path), pages, progress)
        plan.request = request
        if there:
            plan.notes = (f"what is there now is kept as {path}.former",)
        plan.create, plan.rewrite = (0, 1) if there else (1, 0)
        plan.samples = [("rewrite" if there else "create", os.fsencode(os.path.basename(path)))]
        return plan

    def materialize(self, plan: RecoveryPlan, pages: PageSource, progress: Progress) -> Recovered:
        """Write it beside, then replace. Raises Busy when a program has the database open; it is as it was then."""
        request = plan.request
        if not _in_place(request):
            return self._folders.materialize(plan, pages, progress)
        path = os.path.realpath(request.target)
        beside = _beside(request, path)
        shutil.rmtree(beside.target, ignore_errors=True)
        try:
            done = self._folders.materialize(replace(plan, request=beside), pages, progress)
            if not done.problem_count:
                there = os.path.lexists(path)
                with _mapped(path):
                    _put(os.path.join(beside.target, os.path.basename(request.checkpoint.source)), path)
                done.kept = path + ".former" if there else ""
            return done
        finally:
            shutil.rmtree(beside.target, ignore_errors=True)


@contextlib.contextmanager
def _mapped(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        raise KnowngoodError(f"{path} cannot be replaced: {os.strerror(wrong.errno or 0).lower()}") from None


def _in_place(request: RecoveryRequest) -> bool:
    return request.target == request.checkpoint.source


def _beside(request: RecoveryRequest, path: str) -> RecoveryRequest:
    folder, name = os.path.split(path)
    return replace(request, target=os.path.join(folder, f".{name}.knowngood"), delete_extra=False)


def _put(fresh: str, path: str) -> None:
    if os.path.lexists(path):
        with _locked(path, ending=True):
            pass
        _settle(path)
        with _locked(path, ending=True):
            for end in ("-wal", "-journal", "-shm"):
                _move(path + end, path + ".former" + end)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + ".former")
            os.link(path, path + ".former", follow_symlinks=False)
            os.replace(fresh, path)
    else:
        for end in ("-wal", "-journal", "-shm"):
            _move(path + end, path + ".former" + end)
        os.replace(fresh, path)
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _settle(path: str) -> None:
    """Let SQLite put its log into the database: who closes it as the last one removes it. A damaged one keeps it."""
    with contextlib.suppress(sqlite3.Error):
        database = sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=1)
        with contextlib.closing(database):
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _move(old: str, new: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    with contextlib.suppress(FileNotFoundError):
        os.rename(old, new)


@contextlib.contextmanager
def _locked(path: str, *, ending: bool) -> Iterator[None]:
    """Nobody has the database open, or can open it, while the block runs. Raises Busy, with who has it.

    A warden of ours is no program that uses it. With `ending` it is ended: its feed begins anew with what is there.
    """
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _WARDEN_SECONDS
        while (holder := _lock(fd)) is not None:
            ours = _is_warden(holder)
            if ours and not ending:
                break
            if not ours or time.monotonic() > deadline:
                hint = "stop it, then run this again; or recover beside: --to FOLDER"
                raise Busy(f"{path} is open in {_name(holder)}", hint=hint)
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder, signal.SIGTERM)
            time.sleep(0.01)
        yield
    finally:
        os.close(fd)


def _lock(fd: int) -> int | None:
    """Lock it for ourselves; or the process that is in the way."""
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _PENDING, _LENGTH, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
        return None
    except BlockingIOError:
        found = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, wanted))
        return found[4] if found[0] != fcntl.F_UNLCK else 0


def _is_warden(process: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{process}/cmdline", "rb") as file:
        return _WARDEN in file.read(4096).split(b"\0")
    return False


def _name(process: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
        return f"process {process} ({file.read(64).strip()})"
    return "another program"
