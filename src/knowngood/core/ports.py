"""The ports: what a store, a vault's receiving side and a kind promise. Plugins meet them and pass their suites."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from knowngood.core.beside import Beside
from knowngood.core.buffers import Buffer
from knowngood.core.errors import KnowngoodError
from knowngood.core.ids import Name
from knowngood.core.log import LogRecord
from knowngood.core.model import Checkpoint, ComponentSpec, Problem, Totals
from knowngood.core.progress import Progress
from knowngood.core.rows import Rows, RowsRequest
from knowngood.core.traits import KindTraits, StoreTraits

# ---------------------------------------------------------------------------------------------------------- stores


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """One object: its key and its length in bytes."""

    key: str
    size: int


class Store(Protocol):
    """Immutable objects under keys such as `packs/ab/abcd…`.

    A key has printable ASCII parts joined by `/`. Foreign exceptions never leave a store: NotFound, Exists, NoSpace,
    Damaged and StoreFailed are all a caller needs to know.
    """

    @property
    def traits(self) -> StoreTraits:
        """What this store can do."""
        ...

    def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """Create an object from its parts, whole or not at all. Raises Exists when the key is taken.

        When it returns and `durable_put` is declared, the object survives a power cut.
        """
        ...

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object from `offset`; fewer than `length` at its end. Raises NotFound."""
        ...

    def view(self, key: str) -> bytes | mmap.mmap:
        """The whole object, read-only; mapped and not read where the store can. Raises NotFound."""
        ...

    def stat(self, key: str) -> ObjectStat:
        """An object's length. Raises NotFound."""
        ...

    def list(self, prefix: str, *, settled: bool = False) -> Iterator[ObjectStat]:
        """Every whole object below a prefix that ends in `/`, in no particular order.

        What a process had put or deleted when it was killed may be seen, and a power cut may still undo it. With
        `settled`, once the listing is at its end, that cannot be any more: what is listed stays, what is not is gone.
        """
        ...

    def delete(self, *keys: str) -> None:
        """Remove objects for good, in no particular order; no error when one is not there."""
        ...

    def free_bytes(self) -> int | None:
        """Room left, None where the question has no answer."""
        ...

    def sweep(self) -> int:
        """Remove what killed writers left unfinished; called only while nobody writes. Returns how many."""
        ...


# ------------------------------------------------------------------------------------------------- into a vault


class ChunkSink(Protocol):
    """Where a kind pours content. It names, deduplicates, compresses and encrypts; the caller only adds bytes."""

    def add(self, data: Buffer) -> Name:
        """Take one chunk; return its name. The buffer must not change afterwards. Blocks while much is under way."""
        ...

    def name(self, data: Buffer) -> Name:
        """The name of a chunk of this content. Nothing is taken."""
        ...

    def page(self, refs: bytes, body: bytes) -> Name:
        """Take one tree page: the names it refers to, laid end to end, and its body."""
        ...

    def known(self, name: Name) -> bool:
        """Whether a chunk or page of this name is in the vault or on its way there in this session."""
        ...

    def cut(self, read_into: FillBuffer) -> Iterator[memoryview]:
        """Cut a stream into chunks at content-defined boundaries."""
        ...

    def flush(self) -> None:
        """Return when all that was added is durable in the vault (not yet visible)."""
        ...


class FillBuffer(Protocol):
    """Reads the next bytes of a stream into a view."""

    def __call__(self, view: memoryview, /) -> int:
        """Number of bytes read, 0 at the end."""
        ...


class PageSource(Protocol):
    """Gives pages and chunks back by name."""

    def page(self, name: Name) -> tuple[bytes, bytes]:
        """References and body of a page. Raises NotFound, Damaged, Locked."""
        ...

    def chunk(self, name: Name) -> Buffer:
        """Content of a chunk. Raises NotFound, Damaged, Locked."""
        ...


# ---------------------------------------------------------------------------------------------------------- kinds


@dataclass(frozen=True, slots=True)
class CaptureContext:
    """What a kind is given to make a checkpoint."""

    sink: ChunkSink
    state_dir: str  # the kind's own folder for what it remembers between checkpoints
    trusted: frozenset[bytes]  # ids of checkpoints that are still kept: what they refer to need not be asked for
    progress: Progress
    checkpoint_id: bytes


@dataclass(slots=True)
class Captured:
    """What a kind returns from `checkpoint`."""

    root: Name
    capture: str
    totals: Totals
    problems: list[Problem] = field(default_factory=list[Problem])
    problem_count: int = 0
    instant: str = ""  # how all of it came to be of one instant; empty where each thing is of an instant of its own


class Holder(Protocol):
    """Holds the writes of one component for a bounded moment, so that all components have one instant in common."""

    def prepare(self, lease: float) -> None:
        """Do all that takes time and holds nothing: connect, ask, say who lets go when we do not. `release` is to
        follow. Raises KnowngoodError."""
        ...

    def hold(self, lease: float) -> None:
        """Return when no write is acknowledged any more. After `lease` seconds writes go on, whatever becomes of us.

        Raises KnowngoodError when they cannot be held; then nothing is held. It prepares itself when nobody has.
        """
        ...

    def mark(self) -> str:
        """Note where the component stands, while it is held: its next checkpoint ends exactly there. For evidence."""
        ...

    def release(self) -> bool:
        """Let writes go on. Whether they were held without a break since `hold` returned."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How well a component is followed. `reason` says why not better; empty when there is nothing better.

    Without a base, only `checkpoint` comes next: nobody knows what changed since the last one. `file` is a descriptor
    that can be read when something may have changed, -1 for none; another one after each checkpoint; with `prompt` it
    is worth looking as soon as it can be. `due`: so much has gathered that a checkpoint ought to come soon. `holder` is
    None where writes cannot be held. With `unheld`, the checkpoint has to be made between mark and release: there is no
    mark to go back to. It may hold no writes, and only tell whether any came. `ahead` reads beforehand what that
    checkpoint would have to read. `beside` makes the base that is wanted; None when none is, or where bases are only
    made within a checkpoint. `unready` is why no checkpoint can be made now. `unsafe` is why writes are acknowledged
    before they are in the vault, though the component asks for it; empty while all wait; None for not asked. `unread`:
    for how many seconds something that has changed was not read, since it rests: it cannot be read all the time.
    """

    level: str
    reason: str = ""
    based: bool = False
    file: int = -1
    prompt: bool = False
    due: bool = False
    holder: Holder | None = None
    unheld: bool = False
    ahead: Callable[[ChunkSink], None] | None = None
    beside: Beside | None = None
    unready: KnowngoodError | None = None
    unsafe: str | None = None
    unread: float = 0.0


class Durable(Enum):
    """Where records are durable: in the log, or on this machine while the vault is away, and later in the log too."""

    LOG = auto()
    HERE = auto()
    MOVED = auto()


@dataclass(frozen=True, slots=True)
class Followed:
    """A checkpoint of a component that is followed, and the records that bring its log there, to be appended first."""

    captured: Captured
    records: Sequence[LogRecord]


class Follower(Protocol):
    """Follows one component. What it knows of it is the state at the end of its log, after each call of `landed`.

    Whatever is raised, nothing is lost: it comes again. For one thread at a time.
    """

    @property
    def standing(self) -> Standing:
        """How well it follows."""
        ...

    def look(self) -> bool:
        """Take in what may have changed; whether anything did. Raises NotFound when the component is gone."""
        ...

    def records(self, sink: ChunkSink, first: int, time_ns: int) -> Sequence[LogRecord]:
        """What changed, in records numbered from `first`; the chunks they refer to are in the sink.

        They are given again, anew, until `landed` is called.
        """
        ...

    def landed(self, where: Durable = Durable.LOG) -> None:
        """The records that were given last are durable, in the log or here. If it was said late, look again.

        MOVED speaks of earlier ones: all that were said to be durable here are in the log now.
        """
        ...

    def checkpoint(self, context: CaptureContext, first: int, time_ns: int) -> Followed:
        """The component's state now; `landed` and `remember` are to follow when records and checkpoint are committed.

        Without a base it is read anew, and the record is a gap: earlier checkpoints do not lead there. Raises NotYet
        while that base is read beside.
        """
        ...

    def remember(self, context: CaptureContext, captured: Captured) -> None:
        """The checkpoint is committed, at the end of the log: what follows begins there."""
        ...

    def lose(self) -> None:
        """The log does not end where it should: begin with a new base."""
        ...

    def close(self) -> None:
        """Follow no longer. What was not recorded is a gap."""
        ...


@dataclass(frozen=True, slots=True)
class RecoveryRequest:
    """What is to be recovered, and how. `target` is a folder, or empty for where its kind knows that it was; `paths`
    are exact paths or patterns, all when empty. `until` is a place in the component's own log, one of its kind's
    `untils` and a value: what came later is left out.

    What the component excludes from its checkpoints is no extra: it is never deleted.
    """

    checkpoint: Checkpoint
    target: str
    paths: tuple[str, ...] = ()
    delete_extra: bool = False
    exclude: tuple[str, ...] = ()
    exclude_caches: bool = False
    until: tuple[str, str] | None = None
    component: ComponentSpec | None = None  # as it is defined here


@dataclass(slots=True)
class RecoveryPlan:
    """What a recovery would do; the real run executes this same object. Bytes."""

    request: RecoveryRequest
    create: int = 0
    rewrite: int = 0
    attributes: int = 0
    same: int = 0
    delete: int = 0
    write_bytes: int = 0
    hindrance: str = ""  # why it cannot be carried out as things are
    notes: tuple[str, ...] = ()  # what to know before it is
    place: str = ""  # where it goes, when the request leaves that to the kind
    samples: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])  # (what, path), a few of each


@dataclass(slots=True)
class Recovered:
    """What a recovery did."""

    files: int = 0
    bytes: int = 0
    written_bytes: int = 0
    deleted: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])
    problem_count: int = 0
    kept: str = ""  # where what was replaced is kept


class Sandbox(Protocol):
    """A throw-away server that runs on recovered files, reachable by nobody but this host's own user."""

    @property
    def address(self) -> Mapping[str, str]:
        """How to reach it, by the words that checks use: `host`, `port`, `dsn`, `url`, `path`."""
        ...

    def ask(self, question: str, timeout: float) -> list[tuple[str, ...]]:
        """Put a question in the component's own language: rows of text. Raises KnowngoodError, Busy when it hangs."""
        ...

    def stop(self) -> None:
        """End it, and all that it started. Its files stay."""
        ...


class Kind(Protocol):
    """One kind of component; eight verbs are the limit."""

    @property
    def traits(self) -> KindTraits:
        """What this kind can do."""
        ...

    def probe(self, component: ComponentSpec) -> None:
        """Raise UsageError, with the fix, when the component cannot be protected as it is described."""
        ...

    def checkpoint(self, component: ComponentSpec, context: CaptureContext) -> Captured:
        """Read the component's state now; pour it into the sink. Single unreadable things become problems."""
        ...

    def remember(self, component: ComponentSpec, context: CaptureContext, captured: Captured) -> None:
        """Called once the checkpoint is committed: what was learnt may now be trusted next time."""
        ...

    def follow(self, component: ComponentSpec, state_dir: str) -> Follower:
        """Follow a component from now on; nobody else may make checkpoints of it in this state folder meanwhile.

        Raises Unsupported where this cannot be, Busy when it is followed or captured already.
        """
        ...

    def plan(self, request: RecoveryRequest, pages: PageSource, progress: Progress) -> RecoveryPlan:
        """Compare the checkpoint with what is there; change nothing."""
        ...

    def materialize(self, plan: RecoveryPlan, pages: PageSource, progress: Progress) -> Recovered:
        """Carry out a plan."""
        ...

    def sandbox(self, component: ComponentSpec, folder: str) -> Sandbox:
        """Start a throw-away server on a recovered folder; return when it answers. Unsupported: there is none."""
        ...

    def rows(self, component: ComponentSpec, found: Mapping[str, str], request: RowsRequest) -> Rows:
        """Some rows of what runs in a sandbox at this address. Raises NotFound, Unsupported where there are none."""
        ...
