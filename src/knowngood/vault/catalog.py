"""The catalog: what the commits say, in SQLite, so that nobody has to read them again. Derived; delete it at will.

It lies in the home folder and not in the vault, because it knows names.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import msgspec

from knowngood.core.errors import Damaged, KnowngoodError, NotFound, UsageError
from knowngood.core.ids import ID_BYTES
from knowngood.core.malformed import MALFORMED
from knowngood.core.model import Checkpoint, Judgement, Point, Status
from knowngood.core.ports import Store
from knowngood.seal.keys import PrivateKey
from knowngood.vault.database import Database, mapped
from knowngood.vault.epoch import latest_epoch_or_blank
from knowngood.vault.harm import Harmed
from knowngood.vault.layout import COMMITS, commit_place
from knowngood.vault.log_catalog import LogCatalog
from knowngood.vault.record import (
    Commit,
    Expiry,
    Hidden,
    PlainCheckpoint,
    PlainPoint,
    PlainSegment,
    Thinned,
    Undo,
    Unthinned,
    decode_commit,
)

_SCHEMA = """
create table if not exists commits (key text primary key, received integer not null, hidden integer not null);
create table if not exists points (id blob primary key, service text, label blob, moment integer, received integer,
  commit_key text not null, body blob);
create table if not exists checkpoints (id blob primary key, root blob not null, commit_key text not null, body blob);
create table if not exists expiries (point blob not null, received integer not null, undo integer not null,
  undone integer not null, commit_key text not null);
create table if not exists judgements (point blob not null, received integer not null, commit_key text not null,
  body blob not null);
create table if not exists vanished (point blob primary key, commit_key text not null);
create table if not exists damaged (key text primary key, reason text not null);
create table if not exists checked (pack blob primary key, at integer not null, verdict text not null);
create table if not exists facts (name text primary key, value text not null);
create index if not exists points_by_service on points (service, received);
create index if not exists expiries_by_point on expiries (point);
create index if not exists commits_by_time on commits (received);
create index if not exists points_by_commit on points (commit_key);
create index if not exists checkpoints_by_commit on checkpoints (commit_key);
create index if not exists expiries_by_commit on expiries (commit_key);
create index if not exists judgements_by_commit on judgements (commit_key);
"""
_POINT = msgspec.msgpack.Decoder(Point)
_CHECKPOINT = msgspec.msgpack.Decoder(Checkpoint)
_JUDGEMENT = msgspec.msgpack.Decoder(Judgement)
VERSION = 1
_ROUNDS = 3
Body = TypeVar("Body")


def _decoded(decoder: msgspec.msgpack.Decoder[Body], body: bytes) -> Body:
    try:
        return decoder.decode(body)
    except (*MALFORMED, TypeError, ValueError):
        raise Damaged("the catalog is damaged: a row cannot be read", hint="run: knowngood vault rebuild") from None


def _as_judged(point: Point, judgement: Judgement | None) -> Point:
    """What speaks against a point counts; what speaks for it does not make it whole."""
    if judgement is None or (point.status == Status.INCOMPLETE and judgement.status == Status.PROVEN):
        return point
    return msgspec.structs.replace(point, status=judgement.status)


class ExpiredPoint(msgspec.Struct, frozen=True):
    """When a point was hidden and until when it can be brought back. Nanoseconds."""

    received_ns: int
    until_ns: int


class Catalog:
    """The catalog of one vault in one home."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._open()

    def _open(self) -> None:
        try:
            self._connect()
        except Damaged:  # it is derived, so it is made anew
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.unlink(self._path + suffix)
            self._connect()

    def _connect(self) -> None:
        if self._path != ":memory:":
            # Only where it is missing: to close a file takes away the locks of all who have it open in this process.
            with mapped(self._path), suppress(FileExistsError):
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        with mapped(self._path):
            self._db = sqlite3.connect(self._path, isolation_level=None, timeout=60, factory=Database)
            self._db.path = self._path
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=normal")
        self._db.executescript(_SCHEMA)
        self.log = LogCatalog(self._db)
        if self._db.execute("pragma quick_check(1)").fetchone() != ("ok",):
            raise Damaged(f"{self._path} is damaged")

    def close(self) -> None:
        """Close it."""
        self._db.close()

    @contextmanager
    def _change(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
            self._db.execute("commit")
        except BaseException:
            with suppress(KnowngoodError):  # a full disk has rolled it back already
                self._db.execute("rollback")
            raise

    # ------------------------------------------------------------------------------------------------ following

    def follow(self, store: Store, private: PrivateKey | None, vault_id: bytes, *, settled: bool = False) -> None:
        """Bring it up to the vault's commits. Without a private key, names of other writers' points stay unknown.

        Who deletes because of what they say takes them `settled` (Store.list): a power cut must undo none of them then.
        """
        for _ in range(_ROUNDS):
            # in this order: what another process commits, and learns, between the two has not gone
            known = dict(self._db.execute("select key, hidden from commits"))
            there = {each.key for each in store.list(COMMITS, settled=settled)}
            self._db.execute("delete from damaged")
            wanted = sorted(key for key in there if not (known.get(key) == 1 or (key in known and private is None)))
            met = [self._try(store, key, private, vault_id) for key in wanted]
            # what is new may say why what is gone went
            self._note_vanished(known.keys() - there, store)
            for key in known.keys() - there:
                self._forget(key)
            if all(met):
                return

    def _try(self, store: Store, key: str, private: PrivateKey | None, vault_id: bytes) -> bool:
        """Take a commit. False when it has gone since the listing: one that is not in it may have taken its place."""
        try:
            self._take(store, key, private, vault_id)
        except NotFound:
            return False
        except Damaged as wrong:
            self._db.execute("insert or replace into damaged values (?, ?)", (key, wrong.message))
        return True

    def _note_vanished(self, keys: Collection[str], store: Store) -> None:
        """Commits that hold points go after their points were hidden, and not before."""
        if not keys:
            return
        excused = {*self.expired(), *latest_epoch_or_blank(store).purged}
        for point, key in self._db.execute("select id, commit_key from points").fetchall():
            if key in keys and point not in excused:
                self._db.execute("insert or replace into vanished values (?, ?)", (point, key))
        self.log.note_vanished(keys, excused)

    def _take(self, store: Store, key: str, private: PrivateKey | None, vault_id: bytes) -> None:
        owner, number = commit_place(key)
        sealed = decode_commit(store.get(key), owner, number)
        hidden = None
        if not sealed.has_hidden:
            hidden = Hidden()
        elif private is not None:
            with suppress(KnowngoodError):
                hidden = sealed.open(private, vault_id)
        self.learn(key, sealed.commit, hidden)

    def learn(self, key: str, commit: Commit, hidden: Hidden | None) -> None:
        """Take over one commit; `hidden` is None when it could not be opened."""
        points = {point.id: point for point in hidden.points} if hidden else {}
        checkpoints = {each.id: each for each in hidden.checkpoints} if hidden else {}
        at = commit.received_ns
        with self._change():
            self._forget(key)
            self._db.execute("insert into commits values (?, ?, ?)", (key, at, int(hidden is not None)))
            for each in hidden.judgements if hidden else ():
                row = (each.point, at, key, msgspec.msgpack.encode(each))
                self._db.execute("insert into judgements values (?, ?, ?, ?)", row)
            for record in commit.records:
                if isinstance(record, PlainPoint):
                    self._add_point(key, record, points.get(record.id), at)
                elif isinstance(record, PlainCheckpoint):
                    self._add_checkpoint(key, record, checkpoints.get(record.id), at)
                elif isinstance(record, Expiry | Undo):
                    undo, undone = (record.undo_ns, 0) if isinstance(record, Expiry) else (0, 1)
                    rows = [(point, at, undo, undone, key) for point in record.points]
                    self._db.executemany("insert into expiries values (?, ?, ?, ?, ?)", rows)
                elif isinstance(record, PlainSegment):
                    self.log.add(key, record, at)
                elif isinstance(record, Thinned | Unthinned):
                    self.log.thin(key, record, at)

    def _add_point(self, key: str, plain: PlainPoint, point: Point | None, at: int) -> None:
        if point is None:
            body, service, moment = None, None, at
        else:
            point = msgspec.structs.replace(point, received_ns=at)
            body, service, moment = msgspec.msgpack.encode(point), point.service, point.moment_ns
        self._db.execute("delete from vanished where point = ?", (plain.id,))
        row = (plain.id, service, plain.service, moment, at, key, body)
        self._db.execute("insert or replace into points values (?, ?, ?, ?, ?, ?, ?)", row)

    def _add_checkpoint(self, key: str, plain: PlainCheckpoint, checkpoint: Checkpoint | None, at: int) -> None:
        body = None
        if checkpoint is not None:
            body = msgspec.msgpack.encode(msgspec.structs.replace(checkpoint, received_ns=at))
        self._db.execute("insert or replace into checkpoints values (?, ?, ?, ?)", (plain.id, plain.root, key, body))

    def _forget(self, key: str) -> None:
        for table in ("points", "checkpoints", "expiries", "judgements"):
            self._db.execute(f"delete from {table} where commit_key = ?", (key,))
        self.log.forget(key)
        self._db.execute("delete from commits where key = ?", (key,))

    # ------------------------------------------------------------------------------------------------ answering

    def latest_received(self) -> int:
        """The newest receive time, 0 when there is none: the vault's own time never goes back."""
        return self._db.execute("select coalesce(max(received), 0) from commits").fetchone()[0]

    def expired(self) -> dict[bytes, ExpiredPoint]:
        """The points that are hidden now."""
        state: dict[bytes, ExpiredPoint] = {}
        for point, received, undo, undone in self._db.execute(
            "select point, received, undo, undone from expiries order by received, commit_key"
        ):
            if undone:
                state.pop(point, None)
            else:
                state[point] = ExpiredPoint(received, received + undo)
        return state

    def points(self, service: str | None = None, *, expired: bool = False) -> list[Point]:
        """Points newest first, in the order of their arrival, which no clock can turn round.

        All services when none is named; with `expired`, only those that are hidden.
        """
        hidden = self.expired()
        where, values = ("service = ? and", (service,)) if service is not None else ("", ())
        rows = self._db.execute(
            f"select id, body from points where {where} body is not null order by received desc, moment desc", values
        )
        judged = self.judgements()
        return [
            _as_judged(_decoded(_POINT, body), judged.get(point))
            for point, body in rows
            if (point in hidden) == expired
        ]

    def judgements(self) -> dict[bytes, Judgement]:
        """What was last found out about each point of which anything was, in the order of arrival."""
        rows = self._db.execute("select point, body from judgements order by received, commit_key")
        found: dict[bytes, Judgement] = {}
        for point, body in rows:
            found.pop(point, None)
            found[point] = _decoded(_JUDGEMENT, body)
        return found

    def nameless(self) -> int:
        """Points that are there but whose names only the private key reveals."""
        return self._db.execute("select count(*) from points where body is null").fetchone()[0]

    def find_point(self, start: str) -> Point:
        """The point whose id begins with these hex digits, hidden ones included. Raises NotFound, UsageError."""
        is_start = 0 < len(start) <= 2 * ID_BYTES and set(start.lower()) <= set("0123456789abcdef")
        query = "select body from points where id between ? and ? and body is not null limit 2"
        ends = [bytes.fromhex(start.ljust(2 * ID_BYTES, digit)) for digit in "0f"] if is_start else []
        rows = self._db.execute(query, ends).fetchall() if is_start else []
        if not rows:
            raise NotFound(f"there is no point '{start}'", hint="see: knowngood points NAME")
        if len(rows) > 1:
            raise UsageError(f"'{start}' begins the id of more than one point", hint="type more digits of it")
        found = _decoded(_POINT, rows[0][0])
        return _as_judged(found, self.judgements().get(found.id))

    def checkpoint(self, identifier: bytes) -> Checkpoint:
        """A checkpoint by its id. Raises NotFound."""
        row = self._db.execute("select body from checkpoints where id = ?", (identifier,)).fetchone()
        if row is None or row[0] is None:
            raise NotFound(
                f"the catalog knows nothing of checkpoint {identifier.hex()[:8]}", hint="run: knowngood vault rebuild"
            )
        return _decoded(_CHECKPOINT, row[0])

    def commit_of(self, point: bytes) -> str:
        """The key of the commit that holds a point. Raises NotFound."""
        row = self._db.execute("select commit_key from points where id = ?", (point,)).fetchone()
        if row is None:
            raise NotFound(f"there is no point {point.hex()[:8]}")
        return row[0]

    def trusted_checkpoints(self, purged: Collection[bytes] = ()) -> frozenset[bytes]:
        """Checkpoints of points that are kept, not hidden, and not from before damage was found.

        Nor are those of points that the epoch of the session has among its `purged`: such a one shows itself when it
        was brought back in time, but when it is hidden once more, it may go at once (INV-6).
        """
        until = int(self._fact("doubted-until", "0"))
        kept = [point for point in self.points() if point.received_ns > until and point.id not in purged]
        return frozenset(mark.checkpoint for point in kept for mark in point.marks)

    def distrust(self) -> None:
        """The vault may have lost something: of what there is now, every name is asked for before it is relied on.

        Whatever the index does not know is then read and stored again, and old points that need it become whole.
        """
        self._note("doubted-until", str(self.latest_received()))

    def harm(self) -> Harmed:
        """What is known of damage: nothing; found by a check; or found, and taken out of the index since."""
        return Harmed(self._fact("harm", Harmed.NONE))

    def note_harm(self, state: Harmed) -> None:
        """Remember it."""
        self._note("harm", state)

    def _fact(self, name: str, default: str) -> str:
        row = self._db.execute("select value from facts where name = ?", (name,)).fetchone()
        return row[0] if row else default

    def _note(self, name: str, value: str) -> None:
        self._db.execute("insert or replace into facts values (?, ?)", (name, value))

    def services(self) -> list[str]:
        """Every service that has a point."""
        rows = self._db.execute("select distinct service from points where service is not null order by service")
        return [row[0] for row in rows]

    def damaged(self) -> dict[str, str]:
        """Commits that could not be read, and why."""
        return dict(self._db.execute("select key, reason from damaged"))

    def vanished(self) -> dict[bytes, str]:
        """Points that were there and are gone, and their commits, though nobody told that they were hidden."""
        return dict(self._db.execute("select point, commit_key from vanished"))

    # ------------------------------------------------------------------------------------------------ scrubbing

    def checked(self) -> dict[bytes, tuple[int, str]]:
        """When each pack was last read in full, and what was found."""
        return {pack: (at, verdict) for pack, at, verdict in self._db.execute("select * from checked")}

    def note_checked(self, rows: Iterable[tuple[bytes, int, str]]) -> None:
        """Remember that packs were read."""
        with self._change():
            self._db.executemany("insert or replace into checked values (?, ?, ?)", rows)

    def forget_checked(self, packs: Iterable[bytes]) -> None:
        """These are gone: when they were read matters no more."""
        with self._change():
            self._db.executemany("delete from checked where pack = ?", [(pack,) for pack in packs])
