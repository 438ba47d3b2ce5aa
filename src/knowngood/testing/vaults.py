"""A small vault for tests: points are made from plain dictionaries, and recovered into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

import msgspec

from knowngood.core.errors import Damaged, NotFound
from knowngood.core.ids import NAME_BYTES, Name, new_id
from knowngood.core.instants import now_ns
from knowngood.core.model import Checkpoint, Mark, Point, Totals
from knowngood.core.ports import ChunkSink, PageSource, Store
from knowngood.core.progress import Progress
from knowngood.seal.frame import read_frame
from knowngood.tree.block import ROW, BlockWriter, Content, Extra
from knowngood.tree.build import TreeBuilder
from knowngood.tree.read import TreeReader
from knowngood.vault import group as group_module, ingest, session as session_module
from knowngood.vault.catalog import Catalog
from knowngood.vault.check import Checked, check
from knowngood.vault.collect import Collected, Known, collect
from knowngood.vault.ingest import Ingest
from knowngood.vault.layout import pack_key, session_key
from knowngood.vault.record import unwrap_plain, wrap_plain
from knowngood.vault.run import PREFIX_BYTES, Location
from knowngood.vault.session import Session
from knowngood.vault.vault import Vault, create_vault

Tree = Mapping[bytes, bytes]
"""Paths such as `b"folder/file"` and what lies there."""

_FILE = 0o100644


def write_tree(files: Tree, sink: ChunkSink, *, piece: int = 1 << 16) -> Name:
    """Pour files into a sink, each in chunks of `piece` bytes; returns the root of their tree."""
    builder = TreeBuilder(sink.page)
    folders: dict[bytes, list[bytes]] = {}
    for path in files:
        folder, _, name = path.rpartition(b"/")
        folders.setdefault(folder.replace(b"/", b"\0"), []).append(name)
    for folder in sorted(folders):
        writer = BlockWriter(folder, 0)
        for name in sorted(folders[folder]):
            content = files[(folder.replace(b"\0", b"/") + b"/" + name).lstrip(b"/")]
            pieces = [content[at : at + piece] for at in range(0, len(content), piece)] or [b""]
            names = b"".join(sink.add(each) for each in pieces)
            row = ROW.pack(_FILE, 0, 0, 1, len(content), 1, 2, 3)
            writer.add(name, row, Content.CHUNKS, names, extra=Extra(lengths=tuple(map(len, pieces))))
        builder.add(writer.block())
    return builder.finish()


def read_tree(root: bytes, pages: PageSource) -> dict[bytes, bytes]:
    """The files below a root. Raises what the source raises."""
    tree = TreeReader(Name(root), pages.page)
    found: dict[bytes, bytes] = {}
    for entry in tree.entries():
        found[entry.path] = b"".join(bytes(pages.chunk(Name(name))) for name, _ in tree.chunks(entry))
    return found


@contextmanager
def small_packs(raw: int = 4096, group: int = 1024, alone: int = 1024) -> Iterator[None]:
    """While this lasts, sinks make many little packs out of little data. Bytes."""
    with (
        patch.multiple(ingest, PACK_RAW_BYTES=raw),
        patch.multiple(group_module, GROUP_BYTES=group, ALONE_FROM=alone),
    ):
        yield


@contextmanager
def many_runs(rows: int = 3, fan: int = 2) -> Iterator[None]:
    """While this lasts, sinks publish an index run every few rows, and gather them again and again."""
    with patch.object(ingest, "ROWS_IN_MEMORY", rows), patch.object(session_module, "_FAN", fan):
        yield


class SmallVault:
    """A vault, its private key and a catalog (in memory by default). `tell` what a point has to hold, and it checks."""

    def __init__(self, store: Store, catalog: str = ":memory:") -> None:
        self.store = store
        self.vault, self.private = create_vault(store, None)
        self.catalog = Catalog(catalog)

    def beside(self, store: Store | None = None, catalog: str = ":memory:") -> SmallVault:
        """The same vault as another process sees it: with its own catalog, through another store if one is given."""
        other = SmallVault.__new__(SmallVault)
        other.store = store or self.store
        other.vault = Vault(other.store, self.vault.descriptor, self.vault.writer)
        other.private = self.private
        other.catalog = Catalog(catalog)
        other.follow()
        return other

    def follow(self) -> None:
        """Bring the catalog up to the vault's commits."""
        self.catalog.follow(self.store, self.private, self.vault.id)

    # ---------------------------------------------------------------------------------------------------- verbs

    def protect(self, files: Tree, service: str = "s", *, piece: int = 1 << 16) -> Point:
        """Make a point of these files."""
        with self.vault.session(f"protect {service}") as session:
            return self.protect_in(session, files, service, piece=piece)

    def protect_in(self, session: Session, files: Tree, service: str = "s", *, piece: int = 1 << 16) -> Point:
        """Make a point inside a session that is open already."""
        with self.vault.ingest(session, Progress()) as sink:
            root = self.land(sink, files, piece=piece)
        return self.commit(session, root, service)

    @staticmethod
    def land(sink: Ingest, files: Tree, *, piece: int = 1 << 16) -> Name:
        """Land files; nobody sees them until their root is committed."""
        root = write_tree(files, sink, piece=piece)
        sink.flush()
        return root

    def commit(self, session: Session, root: Name, service: str = "s", *, definition: bytes = b"") -> Point:
        """Commit a point with one checkpoint over a root."""
        now = now_ns()
        checkpoint = Checkpoint(
            id=new_id(),
            timeline=b"t" * 16,
            root=root,
            component="c",
            kind="files",
            source="/source",
            host="host",
            capture="scan",
            started_ns=now,
            finished_ns=now,
            totals=Totals(),
        )
        point = Point(
            id=new_id(),
            service_label=self.vault.writer.namer.label("service", service),
            service=service,
            marks=(Mark(checkpoint.timeline, checkpoint.id),),
            level="L0",
            status="recoverable",
            moment_ns=now,
            started_ns=now,
            evidence={},
            definition=definition,
        )
        return self.vault.commit_point(session, self.catalog, point, (checkpoint,))

    def expire(self, *points: Point, undo_ns: int = 0) -> None:
        """Hide points."""
        with self.vault.session("expire", freeing=True) as session:
            self.vault.expire(session, self.catalog, tuple(point.id for point in points), undo_ns)

    def undo(self, *points: Point) -> None:
        """Bring hidden points back."""
        with self.vault.session("undo") as session:
            self.vault.undo(session, self.catalog, tuple(point.id for point in points))

    def collect(self, *, sifting: bool = False) -> Collected:
        """Collect once; `sifting` as one does who has the private key."""
        return collect(self.vault, Progress(), known=Known(private=self.private if sifting else None))

    def collect_all(self, rounds: int = 8, *, sifting: bool = False) -> Collected:
        """Collect until nothing is left to do; returns the last result. Fails when that does not come about."""
        done = self.collect(sifting=sifting)
        for _ in range(rounds):
            purged = done.purged_points + done.purged_segments
            if not (done.deleted_packs or done.copied_bytes or purged or done.waiting_for):
                return done
            done = self.collect(sifting=sifting)
        raise AssertionError(f"collection does not come to an end: {done}")

    def check(self, *, read_data: bool = True) -> Checked:
        """Check it, in full by default."""
        return check(self.vault, self.catalog, Progress(), read_data=read_data)

    # --------------------------------------------------------------------------------------------------- truths

    def recover(self, point: Point, session: Session | None = None) -> dict[bytes, bytes]:
        """The files of a point. Raises what reading raises."""
        if session is not None:
            pages = self.vault.reader(session, self.private)
            return read_tree(self.catalog.checkpoint(point.marks[0].checkpoint).root, pages)
        with self.vault.session("recover") as own:
            return self.recover(point, own)

    def verify(self, truth: Mapping[bytes, Tree]) -> None:
        """Every visible point recovers to exactly what it should hold (point id → files), and all are visible."""
        self.follow()
        assert self.catalog.damaged() == {}
        visible = {point.id: point for point in self.catalog.points()}
        assert visible.keys() == truth.keys()
        with self.vault.session("verify") as session:
            for identifier, point in visible.items():
                assert self.recover(point, session) == dict(truth[identifier])

    def verify_known(self) -> None:
        """Whatever the index offers for new commits can be read."""
        with self.vault.session("verify what is known") as session:
            index, reader = session.index, self.vault.reader(session, self.private)
            known: set[bytes] = set()
            readable: set[bytes] = set()
            for run in index.runs:
                for row in (row for byte in range(256) for row in run.rows(byte)):
                    if index.known(Name(row[:PREFIX_BYTES])):
                        known.add(row[:PREFIX_BYTES])
                    with suppress(NotFound, Damaged):
                        readable |= {name[:PREFIX_BYTES] for name in _names_at(self.store, run.locate(row), reader)}
            assert not known - readable, "known, and cannot be read"


def _names_at(store: Store, place: Location, reader: PageSource) -> Iterator[Name]:
    """The names of a frame, each of them read and proven."""
    frame = read_frame(store.get(pack_key(place.pack_kind, place.pack), place.offset, place.length))
    for at in range(0, len(frame.names), NAME_BYTES):
        name = Name(frame.names[at : at + NAME_BYTES])
        reader.chunk(name)
        yield name


def bury(store: Store, session: Session) -> None:
    """Make a session look as if its process had died: its number belongs to another process now."""
    _rewrite(store, session, lambda card: card | {"start_ticks": card["start_ticks"] + 1})


def move_away(store: Store, session: Session, **more: object) -> None:
    """Make a session look as if it were on another machine, of which nobody here can know; `more` of its card."""
    _rewrite(store, session, lambda card: card | {"host": "elsewhere", "machine": "another"} | more)


def _rewrite(store: Store, session: Session, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    key = session_key(session.id)
    card = change(msgspec.msgpack.decode(unwrap_plain(store.get(key))))
    store.delete(key)
    store.put(key, [wrap_plain(msgspec.msgpack.encode(card))])
