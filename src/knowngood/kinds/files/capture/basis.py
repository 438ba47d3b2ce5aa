"""What is remembered between checkpoints: the pages of the last tree, and how far an interrupted capture came.

One SQLite file in the state folder. It only ever saves work: when it is damaged or lost, everything is read again. A
capture writes its pages as it makes them; they count for nothing until `record` or `finish` commits them.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from knowngood.core.errors import Busy
from knowngood.core.ids import Name
from knowngood.kinds.files.capture.remembered import SCHEMA, BasisDamaged, RememberedPages, mapped
from knowngood.tree.page import Child
from knowngood.tree.read import TreeReader

FILE = "basis.sqlite"
_LOCK = "basis.lock"  # beside it: between two transactions SQLite would let others in
_VERSION = 1
_RUNS = """
CREATE TABLE run (id INTEGER PRIMARY KEY AUTOINCREMENT, checkpoint BLOB, started INTEGER, path BLOB, root BLOB,
                  upto BLOB, partial BLOB);
CREATE TABLE leaf (run INTEGER, seq INTEGER, page BLOB, PRIMARY KEY (run, seq)) WITHOUT ROWID;
"""

Place = tuple[bytes, bytes]
"""Directory and name of an entry: tuples compare in tree order. (b"", b"") is before all."""


class Partial(msgspec.Struct, array_like=True, frozen=True):
    """A huge file in the middle of being read: what was read so far."""

    directory: bytes
    name: bytes
    row: bytes
    began_ns: int
    extents: bytes
    pages: list[bytes]  # list pages that are full
    page_lengths: list[int]
    names: list[bytes]  # the chunks after them
    lengths: list[int]

    @property
    def place(self) -> Place:
        """Where the file is."""
        return self.directory, self.name


_partials = msgspec.msgpack.Decoder(Partial)
_places = msgspec.msgpack.Decoder(tuple[bytes, bytes])


@dataclass(frozen=True, slots=True)
class Version:
    """An earlier capture of the component: finished (then it has a root), or interrupted after the entry `upto`."""

    run: int
    started_ns: int
    trusted: bool  # its checkpoint is still kept: what it refers to is in the vault
    root: Name | None
    upto: Place
    partial: Partial | None

    @property
    def reach(self) -> Place:
        """The last entry about which it knows something."""
        return max(self.upto, self.partial.place) if self.partial else self.upto


class Basis:
    """What is remembered of one component, open for one capture."""

    def __init__(self, folder: str) -> None:
        """Open the file, or begin a new one when there is none or it is of no use. Raises Busy, NoSpace."""
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._lock = _lock(os.path.join(folder, _LOCK))
        self._file = os.path.join(folder, FILE)
        self._run = 0
        self._leaves = 0
        self._older: list[Version] = []
        try:
            self._db = _open_or_replace(self._file)
        except BaseException:
            os.close(self._lock)
            raise
        self.pages = RememberedPages(self._db)

    def close(self) -> None:
        """Let go of the file; what was not committed is forgotten."""
        self._db.close()
        os.close(self._lock)

    def discard(self) -> None:
        """Forget everything. Only `close` may follow."""
        self._db.close()
        _unlink(self._file)

    def begin(self, checkpoint: bytes, started_ns: int, path: bytes, trusted: frozenset[bytes]) -> list[Version]:
        """Begin a capture; return the earlier ones to go by, newest first: each takes over where the one before ends.

        Captures of another path are forgotten. Exclusions need no such care: they only decide which names are asked
        for. Raises BasisDamaged, Busy.
        """
        versions: list[Version] = []
        with mapped():
            self._db.execute("BEGIN IMMEDIATE")
            for (run,) in self._db.execute("SELECT id FROM run WHERE path != ?", (path,)).fetchall():
                self._drop(run)
            query = "SELECT id, checkpoint, started, root, upto, partial FROM run ORDER BY id DESC"
            for run, of, started, root, upto, partial in self._db.execute(query).fetchall():
                place = _places.decode(upto) if upto else (b"", b"")
                half = _partials.decode(partial) if partial else None
                name = Name(root) if root else None
                versions.append(Version(run, started, of in trusted, name, place, half))
                if root:
                    break
            row = (checkpoint, started_ns, path)
            done = self._db.execute("INSERT INTO run (checkpoint, started, path) VALUES (?, ?, ?)", row)
            self._run = done.lastrowid or 0
        self._older = [version for version in versions if version.root is None]
        return versions

    def leaves(self, version: Version) -> Iterator[Child]:
        """The leaves of an earlier capture in order; `entries` is 0 where it is not known. Raises BasisDamaged.

        The last one of an interrupted capture may have no page in any vault: its `level` is -1.
        """
        with mapped():
            if version.root is not None:
                yield from TreeReader(version.root, self.pages.get).leaves()
                return
            query = "SELECT page FROM leaf WHERE run = ? ORDER BY seq"
            for (page,) in self._db.execute(query, (version.run,)).fetchall():
                yield Child(Name(page), 0, b"", b"", 0, 0)
        tail = _tail_name(version.run)
        if self.pages.has(tail):
            yield Child(tail, -1, b"", b"", 0, 0)

    def record(
        self, leaves: Sequence[bytes], upto: Place, tail: tuple[bytes, bytes] | None, partial: Partial | None
    ) -> None:
        """Commit how far the capture came.

        `leaves` are the leaf pages finished since the last call, `tail` a page of the entries after them, which have
        not made a whole leaf yet; `upto` is the last of these. Earlier captures that did not come farther are dropped.
        """
        with mapped():
            rows = [(self._run, self._leaves + index, page) for index, page in enumerate(leaves)]
            self._db.executemany("INSERT INTO leaf VALUES (?, ?, ?)", rows)
            self._leaves += len(rows)
            self.pages.drop(_tail_name(self._run))
            if tail:
                self.pages.keep(_tail_name(self._run), *tail)
            row = (msgspec.msgpack.encode(upto), partial and msgspec.msgpack.encode(partial), self._run)
            self._db.execute("UPDATE run SET upto = ?, partial = ? WHERE id = ?", row)
            for version in [version for version in self._older if version.reach <= upto]:
                self._drop(version.run)
                self._older.remove(version)
            self._db.execute("COMMIT")
            self._db.execute("BEGIN IMMEDIATE")

    def finish(self, root: Name) -> None:
        """Commit the whole tree. It is trusted once its checkpoint is."""
        with mapped():
            self._drop_progress(self._run)
            row = (root, self._run)
            self._db.execute("UPDATE run SET root = ?, upto = NULL, partial = NULL WHERE id = ?", row)
            self._db.execute("COMMIT")

    def abandon(self) -> None:
        """The capture that was begun came to nothing: forget its pages that were not committed."""
        with mapped():
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def promote(self, checkpoint: bytes, root: Name) -> None:
        """The checkpoint was committed: forget all captures but this one, and all pages that it does not need."""
        with mapped():
            self._db.execute("BEGIN IMMEDIATE")
            found = self._db.execute("SELECT id FROM run WHERE checkpoint = ? AND root = ?", (checkpoint, root))
            run = found.fetchone()
            if run:
                for (other,) in self._db.execute("SELECT id FROM run WHERE id != ?", run).fetchall():
                    self._drop(other)
                self.pages.prune(root)
            self._db.execute("COMMIT")

    def _drop(self, run: int) -> None:
        self._drop_progress(run)
        self._db.execute("DELETE FROM run WHERE id = ?", (run,))

    def _drop_progress(self, run: int) -> None:
        self._db.execute("DELETE FROM leaf WHERE run = ?", (run,))
        self.pages.drop(_tail_name(run))


def _tail_name(run: int) -> Name:
    return Name(b"tail %d" % run)


def _lock(file: str) -> int:
    fd = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Busy("another capture of this component is running", hint="wait for it to end") from None
    return fd


def _open_or_replace(file: str) -> sqlite3.Connection:
    try:
        return _open(file)
    except BasisDamaged:
        _unlink(file)
        return _open(file)


def _open(file: str) -> sqlite3.Connection:
    private = 0o600  # the names of files are nobody else's business
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, private))
    db = sqlite3.connect(file, isolation_level=None)
    try:
        with mapped():
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA page_size = 16384")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if not version:
                schema = f"{SCHEMA} {_RUNS} PRAGMA user_version = {_VERSION};"
                db.executescript(f"BEGIN IMMEDIATE; {schema} COMMIT")
    except BaseException:
        db.close()
        raise
    if version not in (0, _VERSION):
        db.close()
        raise BasisDamaged(f"what was remembered has the version {version}")
    return db


def _unlink(file: str) -> None:
    for path in (file, file + "-journal"):
        with suppress(FileNotFoundError):
            os.unlink(path)
