"""The pages of trees in the file of what is remembered, and SQLite's errors as ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Busy, Damaged, NoSpace
from knowngood.core.ids import NAME_BYTES, Name
from knowngood.core.malformed import MALFORMED
from knowngood.seal import codec
from knowngood.tree.page import NODE, Child, decode_node, page_kind

# `lists` stands before the large columns, so that asking for it alone does not read them.
SCHEMA = """
CREATE TABLE page (name BLOB PRIMARY KEY, lists BLOB, crc INTEGER, codec INTEGER, length INTEGER,
                   refs BLOB, body BLOB);
"""


class BasisDamaged(Damaged):
    """What was remembered cannot be used. It is thrown away, and everything is read again."""


class RememberedPages:
    """Pages by name. Each carries a checksum: a wrong reference here would become a wrong file there."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def keep(self, name: bytes, refs: bytes, body: bytes, lists: bytes = b"") -> None:
        """Remember a page. `lists` are those names of its references that are list pages. Raises NoSpace."""
        how, packed = codec.encode(body)
        row = (name, lists or None, _crc(name, refs, packed), int(how), len(body), refs, packed)
        with mapped():
            self._db.execute("INSERT OR REPLACE INTO page VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def has(self, name: bytes) -> bool:
        """Whether a page is remembered."""
        with mapped():
            return self._db.execute("SELECT 1 FROM page WHERE name = ?", (name,)).fetchone() is not None

    def get(self, name: Name) -> tuple[bytes, bytes]:
        """References and body of a page. Raises BasisDamaged, when it is not there too."""
        with mapped():
            query = "SELECT crc, codec, length, refs, body FROM page WHERE name = ?"
            row = self._db.execute(query, (name,)).fetchone()
            if row is None:
                raise BasisDamaged("a page is missing in what was remembered")
            crc, how, length, refs, packed = row
            if _crc(name, refs, packed) != crc:
                raise BasisDamaged("a page is damaged in what was remembered")
            return refs, codec.decode(how, packed, length)

    def drop(self, name: bytes) -> None:
        """Forget a page."""
        self._db.execute("DELETE FROM page WHERE name = ?", (name,))

    def prune(self, root: Name) -> None:
        """Forget all pages that this tree does not need."""
        self._db.execute("CREATE TEMP TABLE needed (name BLOB PRIMARY KEY) WITHOUT ROWID")
        insert = "INSERT OR IGNORE INTO needed VALUES (?)"
        self._db.executemany(insert, ((name,) for name in self._tree_pages(root)))
        with_lists = "SELECT lists FROM page WHERE lists IS NOT NULL AND name IN needed"
        for (lists,) in self._db.execute(with_lists).fetchall():
            self._db.executemany(insert, ((name,) for name in names_of(lists)))
        self._db.execute("DELETE FROM page WHERE name NOT IN needed")
        self._db.execute("DROP TABLE needed")

    def _tree_pages(self, root: Name) -> Iterator[bytes]:
        """Names of all nodes and leaves. Leaves are not read."""
        ahead = [Child(root, -1, b"", b"", 0, 0)]
        while ahead:
            child = ahead.pop()
            yield child.page
            if child.level:
                refs, body = self.get(child.page)
                ahead += decode_node(refs, body) if page_kind(body) == NODE else []


def names_of(refs: bytes) -> list[bytes]:
    """Names laid end to end, one by one."""
    return [refs[at : at + NAME_BYTES] for at in range(0, len(refs), NAME_BYTES)]


def _crc(name: bytes, refs: bytes, body: Buffer) -> int:
    return crc32(body, crc32(refs, crc32(name)))


@contextmanager
def mapped() -> Iterator[None]:
    """SQLite's errors, and those of a page that does not decode, as ours."""
    try:
        yield
    except sqlite3.Error as wrong:
        code = getattr(wrong, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            hint = "free some space in the state folder"
            raise NoSpace("no room to remember this capture", hint=hint) from None
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Busy("another capture of this component is running", hint="wait for it to end") from None
        raise BasisDamaged(f"what was remembered is damaged: {wrong}") from None
    except BasisDamaged:
        raise
    except (Damaged, *MALFORMED, ValueError) as wrong:
        raise BasisDamaged(f"what was remembered is damaged: {wrong}") from None
