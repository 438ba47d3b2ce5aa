"""A database with SQLite's own locks, in the process that holds them: what is committed, pages of it, holds."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote

from knowngood.kinds.sqlite.files import Files, page_size_of
from knowngood.kinds.sqlite.words import BROKEN, GONE, UNFIT, Answer, Place, Refusal, Transaction
from knowngood.wire.wal import WalIndex

HAND_OVER_BYTES = 4 << 20
"""A log that is longer is handed over: about what SQLite itself lets gather before a checkpoint."""

GUARD_BYTES = 4 << 30
"""A log that is longer while nobody takes it is let go: the application's disk matters more than an unbroken chain."""

_TAKE_BYTES = 16 << 20
_RESUME_BYTES = 256 << 20
_LOCK_SECONDS = 0.25
_LOCK_STEP = 0.0003
_AGAIN_SECONDS = 0.25
_WAIT_SECONDS = 5.0
_COPY_PAGES = 256


class Database:
    """The database, its locks, how far it was taken. Used by one thread; the end of a lease comes from another one."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._files: Files | None = None
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._copier: sqlite3.Connection | None = None
        self._mark: WalIndex | None = None
        self._held = False
        self._holding = threading.Lock()
        self._timer: threading.Timer | None = None
        self._most = _TAKE_BYTES
        self._next_try = 0.0

    # ------------------------------------------------------------------------------------------------------ beginning

    def begin(self, place: Place | None) -> Answer:
        """Keep the log from now on: from a place, when it is still in it (`done`), else from what is committed now."""
        main = _opened(self._path)
        if not _is_wal(main):
            raise Refusal(UNFIT, f"{self._path} does not use a write-ahead log")
        self._reader, self._writer, self._copier = (_connect(self._path) for _ in range(3))
        self._writer.execute("PRAGMA busy_timeout=0")
        for each in (self._reader, self._writer, self._copier):
            if each.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                raise Refusal(UNFIT, f"{self._path} does not use a write-ahead log")
        _read(self._reader)  # also makes log and index
        files = Files(self._path, main)
        files.begin()
        with contextlib.suppress(Refusal):  # most of it, while others write
            _skip(files, files.index())
        with self._writing(_WAIT_SECONDS):
            now = files.index()
            if files.place.salts != now.salts:
                files.begin()
            taken = _skip(files, now)
            self._reader.execute("ROLLBACK")
            _read(self._reader)
            files.same()
        self._files, self._mark = files, None
        if place is None:
            return Answer(place=taken, done=True)
        return self._resumed(files, place)

    def _resumed(self, files: Files, place: Place) -> Answer:
        """Go back to a place: the log from its beginning has to come to the same sums there."""
        now = files.place
        if (place.inode, place.salts, place.page_size) != (now.inode, now.salts, now.page_size):
            return Answer(done=False)
        if not 0 <= now.frame - place.frame <= _RESUME_BYTES // now.page_size:
            return Answer(done=False)
        files.begin()
        there = WalIndex(place.page_size, place.frame, place.pages, place.sums, place.salts, 0)
        try:
            _skip(files, there)
        except Refusal:
            return Answer(done=False)
        self._most = sys.maxsize  # the reader is behind the place: what is between may be in the database file already
        return Answer(place=files.place, done=True)

    @contextlib.contextmanager
    def _writing(self, seconds: float) -> Iterator[None]:
        """Nobody commits while the block runs. Raises Refusal when somebody else writes for too long."""
        self._lock(seconds)
        assert self._writer
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")

    def _lock(self, seconds: float) -> None:
        """Take the write lock. SQLite itself would sleep longer and longer, and never meet the gap between two writers'
        commits. Raises sqlite3.OperationalError."""
        assert self._writer
        end = time.monotonic() + seconds
        while True:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as wrong:
                if wrong.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
            time.sleep(_LOCK_STEP)

    # --------------------------------------------------------------------------------------------------------- taking

    def take(self) -> Answer:
        """What was committed since. After a mark, exactly up to it; `done` when all was taken."""
        files = self._kept()
        files.same()
        marked, to = self._mark is not None, self._mark or files.index()
        taken, self._most = self._advance(files, to, self._most), _TAKE_BYTES
        done = not to.frames or files.place.frame == to.frames
        if done:
            self._mark = None
            with self._holding:
                if not marked and not self._held and files.place.frame * files.place.page_size > HAND_OVER_BYTES:
                    self._hand_over(files, taken)
        return Answer(place=files.place, transactions=taken, done=done)

    def _kept(self) -> Files:
        if self._files is None:
            raise Refusal(BROKEN, "the log was let go: it had become too long")
        return self._files

    @staticmethod
    def _advance(files: Files, to: WalIndex, most: int) -> list[Transaction]:
        if to.salts != files.place.salts and files.complete and not files.anew(to):
            raise Refusal(BROKEN, "the log began anew more than once")
        taken = files.take(to, most)
        if taken:
            files.complete = False
        if files.place.frame == to.frames and to.copied == to.frames and to.salts == files.place.salts:
            files.complete = True
        return taken

    def _hand_over(self, files: Files, taken: list[Transaction]) -> None:
        """See above. The reader is moved forward first, so that most of the copying is done without the write lock."""
        assert self._reader
        assert self._copier
        if time.monotonic() < self._next_try:
            return
        try:
            with self._writing(_LOCK_SECONDS):
                taken += self._advance(files, files.index(), sys.maxsize)
                self._reader.execute("ROLLBACK")
                _read(self._reader)
            self._copier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            with self._writing(_LOCK_SECONDS):
                taken += self._advance(files, files.index(), sys.maxsize)
                self._reader.execute("ROLLBACK")
                _, frames, _ = self._copier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                _read(self._reader)
                now = files.index()
                if frames not in (-1, files.place.frame) or now.frames != files.place.frame:
                    raise Refusal(BROKEN, "a checkpoint saw frames that were not taken")
                self._advance(files, now, 0)
        except sqlite3.OperationalError as wrong:  # somebody writes for long
            if not self._reader.in_transaction:
                self._files = None
                raise Refusal(BROKEN, f"the log was let go: {wrong}") from None
            self._next_try = time.monotonic() + _AGAIN_SECONDS
        if not files.complete:  # somebody reads an old state
            self._next_try = time.monotonic() + _AGAIN_SECONDS

    def read(self, offset: int, length: int) -> Answer:
        """Bytes of the database as far as it was taken."""
        return Answer(data=self._kept().read(offset, length))

    # --------------------------------------------------------------------------------------------------------- holding

    def hold(self, lease: float) -> Answer:
        """Nobody commits until `release`, or until the lease is over."""
        self.release()
        self._lock(lease)
        self._held = True
        self._timer = threading.Timer(lease, self._let_go)
        self._timer.daemon = True
        self._timer.start()
        return Answer(done=True)

    def mark(self) -> Answer:
        """The next take ends where the log is now. `done` when it is held."""
        with self._holding:
            if not self._held:
                return Answer()
            now = self._mark = self._kept().index()
        return Answer(done=True, text=f"frame {now.frames} of log {now.salts.hex()}")

    def release(self) -> Answer:
        """Let others write. `done` when it was held until now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return Answer(done=self._let_go())

    def _let_go(self) -> bool:
        with self._holding:
            held, self._held = self._held, False
            if held and self._writer is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
            return held

    # -------------------------------------------------------------------------------------------------- while it waits

    @property
    def wal_path(self) -> str:
        """The log file; empty before it is kept."""
        return self._files.wal_path if self._files else ""

    def changed(self) -> bool:
        """Whether something was committed that was not taken."""
        files = self._files
        if files is None:
            return False
        with contextlib.suppress(Refusal):
            now = files.index()
            return (now.salts, now.frames) != (files.place.salts, files.place.frame) and now.frames > 0
        return True

    def guard(self) -> None:
        """Let the log go when it has become too long."""
        if self._files is not None and self._files.wal_bytes > GUARD_BYTES:
            self._files = None
            for each in (self._reader, self._writer):
                with contextlib.suppress(sqlite3.Error):
                    if each is not None:
                        each.execute("ROLLBACK")


def _skip(files: Files, to: WalIndex) -> Place:
    """Take, and throw away: only which page is where is of use."""
    while files.place.frame < to.frames:
        files.take(to, 1)
    if files.place.sums != to.sums and to.frames:
        raise Refusal(BROKEN, "the log is not what its index says")
    files.complete = to.copied == to.frames
    return files.place


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Refusal(GONE, f"there is no database {path}") from None
    except OSError as wrong:
        raise Refusal(UNFIT, f"{path} cannot be read: {os.strerror(wrong.errno or 0).lower()}") from None


def _is_wal(main: int) -> bool:
    """By its header (File Format, "The Database Header"). Raises Refusal when it is no database."""
    head = os.pread(main, 100, 0)
    if not head:
        return False
    page_size_of(head)
    return head[18:20] == b"\x02\x02"


def _connect(path: str) -> sqlite3.Connection:
    where = f"file:{quote(path)}?mode=rw"
    found = sqlite3.connect(where, uri=True, isolation_level=None, timeout=_WAIT_SECONDS, check_same_thread=False)
    found.execute("PRAGMA wal_autocheckpoint=0")
    return found


def _read(reader: sqlite3.Connection) -> None:
    """Begin a read transaction."""
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM sqlite_master").fetchone()


def copy_into(path: str, into: sqlite3.Connection) -> Answer:
    """A copy by SQLite's own means, for databases without a log. Readers and writers go on between its steps."""
    times = [0]

    def patient(_: int, left: int, total: int) -> None:
        times[0] += 1
        if left and times[0] * _COPY_PAGES > 3 * total + 1000:
            raise TimeoutError  # it begins anew whenever somebody writes

    source = _connect(path)
    _read(source)
    source.execute("ROLLBACK")
    try:
        source.backup(into, pages=_COPY_PAGES, progress=patient, sleep=0.01)
    except TimeoutError:
        source.backup(into)  # at once: who writes waits
    into.close()
    return Answer(done=True)
