"""A vault: making one, opening it, and the things one does inside: sessions, sinks, readers, points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from knowngood.core.errors import Damaged, Exists, Locked, NotFound, Unsupported
from knowngood.core.ids import new_id
from knowngood.core.instants import iso_text, now_ns
from knowngood.core.model import Checkpoint, Judgement, Point
from knowngood.core.ports import Store
from knowngood.core.progress import Progress
from knowngood.seal.chunker import ChunkSizes
from knowngood.seal.keys import PassphraseLock, PrivateKey, PublicKey
from knowngood.seal.names import Namer
from knowngood.vault.catalog import Catalog
from knowngood.vault.descriptor import (
    FEATURES,
    FOLD,
    LOG,
    PARITY,
    Descriptor,
    KeyFile,
    mend_copies,
    naming_purpose,
    read_descriptor,
    write_descriptor,
    write_key_file,
)
from knowngood.vault.ingest import Ingest
from knowngood.vault.layout import COMMITS, PACK_FOLDERS, commit_key, pack_key
from knowngood.vault.pack import PackKind
from knowngood.vault.reader import Reader
from knowngood.vault.record import Expiry, Hidden, PlainCheckpoint, PlainPoint, Record, Thinned, Undo, Unthinned
from knowngood.vault.reserve import with_reserve
from knowngood.vault.session import Session
from knowngood.vault.standing import read_standing


@dataclass(frozen=True, slots=True, repr=False)
class WriterKey:
    """What a writer holds: enough to name and to seal, not enough to open."""

    vault_id: bytes
    public: PublicKey
    naming: bytes

    @property
    def namer(self) -> Namer:
        """The vault's namer."""
        return Namer.from_secret(self.naming)


class Vault:
    """A vault as its writers see it. Reading takes the private key, which is passed in where it is needed."""

    def __init__(self, store: Store, descriptor: Descriptor, writer: WriterKey) -> None:
        self.store = store
        self.descriptor = descriptor
        self.writer = writer

    @property
    def id(self) -> bytes:
        """The vault's 16 bytes of identity."""
        return self.descriptor.vault_id

    def require_logs(self) -> None:
        """Raise Unsupported when this vault was made before there were logs: it must hold no trace of any."""
        self.descriptor.require("write")
        if LOG not in self.descriptor.features.get("write", ()):
            raise Unsupported(
                "this vault was made by a version that knew no logs, and its programs would not see them",
                hint="make a new vault for continuous protection: knowngood init",
            )

    @property
    def folds(self) -> bool:
        """Whether the segments of its logs may be folded: all programs that read it know what that is."""
        return FOLD in self.descriptor.features.get("write", ())

    @property
    def has_parity(self) -> bool:
        """Whether parity may be kept: who deletes lets go of it first."""
        return PARITY in self.descriptor.features.get("delete", ())

    # -------------------------------------------------------------------------------------------------- sessions

    @contextmanager
    def session(
        self,
        purpose: str,
        *,
        without_index: bool = False,
        exclusive: bool = False,
        freeing: bool = False,
        reading: bool = False,
        timelines: tuple[bytes, ...] = (),
    ) -> Iterator[Session]:
        """Stay in the vault for a while. A fenced or failed stay leaves nothing visible.

        `exclusive` is for those who keep the vault in order: Busy when another one does. They need no index. `freeing`
        is for those who lead to more space: on a full disk, they may use the reserve. Those who are `reading` change
        nothing: they can stay in a vault that nobody can write to. `timelines` are those whose logs it may continue:
        Busy when another session that may be alive does.
        """
        self.descriptor.require("read")

        def begin() -> Session:
            return Session(
                self.store,
                self.id,
                self.writer.public,
                purpose,
                without_index=without_index,
                exclusive=exclusive,
                reading=reading,
                timelines=timelines,
            )

        with with_reserve(self.store, begin) if freeing else begin() as session:
            yield session

    @contextmanager
    def ingest(self, session: Session, progress: Progress) -> Iterator[Ingest]:
        """A sink whose threads end with the block."""
        self.descriptor.require("write")
        sink = Ingest(session, self.writer.namer, self.descriptor.sizes, progress)
        try:
            yield sink
        finally:
            sink.close()

    def reader(self, session: Session, private: PrivateKey) -> Reader:
        """Pages and chunks by name."""
        return Reader(self.store, session.index, private, self.writer.namer, self.id)

    # --------------------------------------------------------------------------------------------------- commits

    def commit_point(
        self, session: Session, catalog: Catalog, point: Point, checkpoints: tuple[Checkpoint, ...]
    ) -> Point:
        """Make a point and its checkpoints visible: the one moment at which they begin to exist. Raises Fenced."""
        self.commit_records(session, catalog, *self.records_of(point, checkpoints))
        return catalog.find_point(point.id.hex())

    def records_of(self, point: Point, checkpoints: tuple[Checkpoint, ...]) -> tuple[tuple[Record, ...], Hidden]:
        """What a commit has to say of a point and its checkpoints, in the plain and hidden."""
        records = (
            *(PlainCheckpoint(each.id, each.timeline, each.root) for each in checkpoints),
            PlainPoint(point.id, point.service_label, point.marks),
        )
        return records, Hidden(checkpoints, (point,), self.writer.naming)

    def expire(self, session: Session, catalog: Catalog, points: tuple[bytes, ...], undo_ns: int) -> None:
        """Hide points; they can be brought back for `undo_ns` and are collected after that."""
        with_reserve(self.store, lambda: self.commit_records(session, catalog, (Expiry(points, undo_ns),)))

    def undo(self, session: Session, catalog: Catalog, points: tuple[bytes, ...]) -> None:
        """Bring hidden points back. Raises NotFound when collection has begun to take one away."""
        decided = set(points) & set(session.epoch.purged)
        if decided - self._brought_back(session, decided):
            raise NotFound("the point is already being collected and cannot be brought back")
        for point in points:
            self.store.stat(catalog.commit_of(point))  # or it went before the catalog looked the last time
        if hidden := tuple(point for point in points if point not in decided):
            self.commit_records(session, catalog, (Undo(hidden),))

    def _brought_back(self, session: Session, decided: set[bytes]) -> set[bytes]:
        """Which of these a session from before that decision has brought back: then the collector leaves them."""
        if not decided or not session.epoch.condemned_at:
            return set()
        standing = read_standing(self.store)
        return decided & standing.there - standing.hidden_until.keys()

    def judge(self, session: Session, catalog: Catalog, judgements: tuple[Judgement, ...]) -> None:
        """Say what was found out about points since they were made. Raises Fenced."""
        self.commit_records(session, catalog, (), Hidden(judgements=judgements))

    def thin(self, session: Session, catalog: Catalog, timeline: bytes, first: int, end: int, undo_ns: int) -> None:
        """Hide the segments of a log that lie wholly within record numbers `first` … `end` (exclusive).

        They can be brought back for `undo_ns` and are collected after that; the newest of the timeline stays. Raises
        Unsupported for a vault without logs.
        """
        self.require_logs()
        with_reserve(
            self.store,
            lambda: self.commit_records(session, catalog, (Thinned(timeline, first, end, undo_ns),)),
        )

    def unthin(self, session: Session, catalog: Catalog, timeline: bytes, first: int, end: int) -> None:
        """Bring such segments back. Raises NotFound when collection has begun to take one away."""
        self.require_logs()
        for segment in catalog.log.within(timeline, first, end):
            if segment.pack in session.epoch.purged:
                raise NotFound("that part of the log is already being collected and cannot be brought back")
            self.store.stat(pack_key(PackKind.SEGMENT, segment.pack))
        self.commit_records(session, catalog, (Unthinned(timeline, first, end),))

    def commit_records(
        self, session: Session, catalog: Catalog, records: tuple[Record, ...], hidden: Hidden | None = None
    ) -> None:
        """Make records visible, all at once, later than all that the catalog has read. Raises Fenced."""
        received = max(now_ns(), catalog.latest_received() + 1)  # a clock that jumps back does not take us along
        commit = session.commit(records, hidden, received)
        catalog.learn(commit_key(commit.session, commit.number), commit, hidden or Hidden())


def create_vault(
    store: Store,
    passphrase: bytes | None,
    sizes: ChunkSizes | None = None,
    keep: Callable[[Vault, PrivateKey], None] = lambda *_: None,
) -> tuple[Vault, PrivateKey]:
    """Make a vault. Without a passphrase its private key is stored nowhere in it. Raises Exists.

    `keep` is called with it before it begins to be a vault, so that none ever is whose key is lost.
    """
    private = PrivateKey.generate()
    vault_id, naming = new_id(), PrivateKey.generate().recovery_key
    lock = PassphraseLock.close(private.recovery_key, passphrase) if passphrase is not None else None
    descriptor = Descriptor(vault_id, sizes or ChunkSizes(), iso_text(now_ns()), FEATURES)
    try:
        read_descriptor(store)
    except NotFound:
        pass
    else:
        raise Exists(
            "there is already a vault here", hint="choose another folder, or use this vault with: knowngood init --join"
        )
    if any(True for folder in (COMMITS, *PACK_FOLDERS.values()) for _ in store.list(folder)):
        raise Damaged(
            "here lies a vault whose descriptor is lost; a new one would take its packs for garbage",
            hint="bring vault.json back from a copy, or choose another folder",
        )
    sealed_naming = private.public.seal(naming, naming_purpose(vault_id))
    vault = Vault(store, descriptor, WriterKey(vault_id, private.public, naming))
    write_key_file(store, KeyFile(private.public, sealed_naming, lock))
    mend_copies(store)  # of key files that were written by halves for a vault that never came about
    keep(vault, private)
    write_descriptor(store, descriptor)  # last: a folder without it is no vault
    return vault, private


def open_vault(store: Store, writer: WriterKey) -> Vault:
    """Open a vault with what a writer holds. Raises NotFound, Damaged, Unsupported, Locked (key of another vault)."""
    descriptor = read_descriptor(store)
    if descriptor.vault_id != writer.vault_id:
        raise Locked(
            "the key in the home folder belongs to another vault than the one that lies here",
            hint="point KNOWNGOOD_HOME at the right home, or join this vault: knowngood init --join",
        )
    return Vault(store, descriptor, writer)
