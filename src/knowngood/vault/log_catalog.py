"""The catalog's part about logs: which segments each timeline has, and which of them are hidden."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from knowngood.vault.database import Database
from knowngood.vault.record import FoldedSegment, PlainSegment, Thinned, Unthinned
from knowngood.vault.thinning import HiddenPart, hide, is_hidden

_SCHEMA = """
create table if not exists segments (pack blob primary key, timeline blob not null, first integer not null,
  count integer not null, previous blob not null, last blob not null, refs integer not null, received integer not null,
  commit_key text not null);
create table if not exists thinnings (timeline blob not null, first integer not null, ends integer not null,
  received integer not null, undo integer, commit_key text not null);
create table if not exists vanished_segments (pack blob primary key, timeline blob not null, commit_key text not null);
create table if not exists folds (pack blob primary key, timeline blob not null, first integer not null,
  ends integer not null, commit_key text not null);
create index if not exists folds_by_place on folds (timeline, first);
create table if not exists replaced (pack blob primary key, whole blob not null);
create index if not exists segments_by_place on segments (timeline, first, received);
create index if not exists segments_by_commit on segments (commit_key);
create index if not exists folds_by_commit on folds (commit_key);
create index if not exists thinnings_by_commit on thinnings (commit_key);
create index if not exists replaced_by_whole on replaced (whole);
"""
_FIELDS = "timeline, pack, first, count, previous, last, refs"
_SEEN = "pack not in (select pack from replaced)"
_WIDTH = len(_FIELDS.split(", "))
_PAGE = 256


def _fields(table: str) -> str:
    return ", ".join(f"{table}.{each}" for each in _FIELDS.split(", "))


class LogCatalog:
    """Segments by timeline. Its changes happen inside the transactions of the catalog."""

    def __init__(self, db: Database) -> None:
        self._db = db
        db.executescript(_SCHEMA)

    # ------------------------------------------------------------------------------------------------ following

    def add(self, key: str, segment: PlainSegment, received_ns: int) -> None:
        """A segment that a commit makes visible."""
        self._db.execute("delete from vanished_segments where pack = ?", (segment.pack,))
        row = (
            segment.pack,
            segment.timeline,
            segment.first,
            segment.count,
            segment.previous,
            segment.last,
            segment.references,
            received_ns,
            key,
        )
        self._db.execute("insert or replace into segments values (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        if isinstance(segment, FoldedSegment):
            place = (segment.pack, segment.timeline, segment.first, segment.end, key)
            self._db.execute("insert or replace into folds values (?, ?, ?, ?, ?)", place)
        self._replace(segment.timeline, segment.first, segment.end)

    def _replace(self, timeline: bytes, first: int, end: int) -> None:
        """Note which segments between these numbers were folded into wider ones."""
        self._db.execute(
            "insert or replace into replaced select s.pack, f.pack from segments s join folds f"
            " on f.timeline = s.timeline and f.first <= s.first and f.ends >= s.first + s.count"
            " and f.ends - f.first > s.count where s.timeline = ? and s.first >= ? and s.first < ?"
            " and s.first + s.count <= ? order by f.ends - f.first",
            (timeline, first, end, end),
        )

    def thin(self, key: str, record: Thinned | Unthinned, received_ns: int) -> None:
        """A part that is hidden or brought back."""
        undo = record.undo_ns if isinstance(record, Thinned) else None
        row = (record.timeline, record.first, record.end, received_ns, undo, key)
        self._db.execute("insert into thinnings values (?, ?, ?, ?, ?, ?)", row)

    def forget(self, key: str) -> None:
        """All that a commit said."""
        gone = self._db.execute("select pack, timeline, first, ends from folds where commit_key = ?", (key,)).fetchall()
        self._db.execute("delete from folds where commit_key = ?", (key,))
        self._db.execute("delete from replaced where pack in (select pack from segments where commit_key = ?)", (key,))
        self._db.execute("delete from segments where commit_key = ?", (key,))
        for pack, timeline, first, ends in gone:
            self._db.execute("delete from replaced where whole = ?", (pack,))
            self._replace(timeline, first, ends)
        self._db.execute("delete from thinnings where commit_key = ?", (key,))

    def note_vanished(self, keys: Collection[str], excused: Collection[bytes]) -> None:
        """Commits that hold segments go after those were thinned, and not before."""
        for key in keys:
            rows = self._db.execute(f"select {_FIELDS} from segments where commit_key = ?", (key,)).fetchall()
            for segment in (PlainSegment(*row) for row in rows):
                excuse = segment.pack in excused or self._is_replaced(segment.pack)
                if not excuse and not is_hidden(segment, self.hidden(segment.timeline)):
                    row = (segment.pack, segment.timeline, key)
                    self._db.execute("insert or replace into vanished_segments values (?, ?, ?)", row)

    def _is_replaced(self, pack: bytes) -> bool:
        return self._db.execute("select 1 from replaced where pack = ?", (pack,)).fetchone() is not None

    # ------------------------------------------------------------------------------------------------ answering

    def newest(self, timeline: bytes) -> PlainSegment | None:
        """The segment at the end of a timeline's log, whether hidden or not; None when it has none."""
        row = self._db.execute(
            f"select {_FIELDS} from segments where timeline = ? and {_SEEN} order by first desc, received desc limit 1",
            (timeline,),
        ).fetchone()
        return PlainSegment(*row) if row else None

    def holds(self, pack: bytes) -> bool:
        """Whether a pack is a segment that a commit holds, hidden, folded into another, or not."""
        return self._db.execute("select 1 from segments where pack = ?", (pack,)).fetchone() is not None

    def within(self, timeline: bytes, first: int, end: int) -> list[PlainSegment]:
        """The segments that lie wholly within these record numbers, hidden or not."""
        rows = self._db.execute(
            f"select {_FIELDS} from segments where timeline = ? and first >= ? and first + count <= ? and {_SEEN}"
            " order by first",
            (timeline, first, end),
        )
        return [PlainSegment(*row) for row in rows.fetchall()]

    def covering(self, timeline: bytes, first: int, end: int | None = None) -> Iterator[PlainSegment]:
        """The segments that hold a record from `first` to before `end`, in order, without hidden ones."""
        after, received = -1, -1
        hidden = self.hidden(timeline)
        while True:
            rows = self._db.execute(
                f"select {_FIELDS}, received from segments where timeline = ? and (first, received) > (?, ?)"
                f" and first + count > ? and first < ? and {_SEEN} order by first, received limit {_PAGE}",
                (timeline, after, received, first, (1 << 63) - 1 if end is None else end),
            ).fetchall()
            for row in rows:
                segment = PlainSegment(*row[:-1])
                after, received = segment.first, row[-1]
                if not is_hidden(segment, hidden):
                    yield segment
            if len(rows) < _PAGE:
                return

    def hidden(self, timeline: bytes) -> list[HiddenPart]:
        """The parts of a timeline's log that are hidden now."""
        parts: list[HiddenPart] = []
        for first, end, received, undo in self._db.execute(
            "select first, ends, received, undo from thinnings where timeline = ? order by received, commit_key",
            (timeline,),
        ).fetchall():
            record = Unthinned(timeline, first, end) if undo is None else Thinned(timeline, first, end, undo)
            parts = hide(parts, received, record)
        return parts

    def replaced(self, timeline: bytes) -> list[tuple[str, PlainSegment, PlainSegment]]:
        """The segments that were folded into others: (commit that holds it, segment, the one that replaced it)."""
        rows = self._db.execute(
            f"select s.commit_key, {_fields('s')}, {_fields('w')} from replaced r join segments s on s.pack = r.pack"
            " join segments w on w.pack = r.whole where s.timeline = ? order by s.commit_key",
            (timeline,),
        ).fetchall()
        return [(key, PlainSegment(*rest[:_WIDTH]), PlainSegment(*rest[_WIDTH:])) for key, *rest in rows]

    def count(self, timeline: bytes) -> int:
        """How many segments a timeline has, without those that were folded into others."""
        query = f"select count(*) from segments where timeline = ? and {_SEEN}"
        return self._db.execute(query, (timeline,)).fetchone()[0]

    def sees(self, pack: bytes) -> bool:
        """Whether a pack is a segment that a commit holds, and that was not folded into another."""
        query = f"select 1 from segments where pack = ? and {_SEEN}"
        return self._db.execute(query, (pack,)).fetchone() is not None

    def timelines(self) -> list[bytes]:
        """Every timeline that has a log."""
        return [row[0] for row in self._db.execute("select distinct timeline from segments").fetchall()]

    def vanished(self) -> dict[bytes, tuple[bytes, str]]:
        """Segments that were there and whose commits are gone though nobody thinned them: (timeline, commit)."""
        rows = self._db.execute("select pack, timeline, commit_key from vanished_segments").fetchall()
        return {pack: (timeline, key) for pack, timeline, key in rows}
