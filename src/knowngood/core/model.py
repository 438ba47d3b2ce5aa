"""The model: services and policies as people state them, checkpoints and points as a vault keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Level(StrEnum):
    """Consistency of a point across its components (docs/terms.md)."""

    CUT = "L0"
    ORDERED = "L0+"
    HELD = "L1"
    QUIESCED = "L2"


class Status(StrEnum):
    """What is known about a point."""

    RECOVERABLE = "recoverable"
    PROVEN = "proven"
    SUSPECT = "suspect"
    INCOMPLETE = "incomplete"  # some files could not be read
    EXPIRED = "expired"  # hidden; can be brought back until it is collected


class ComponentSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One protected thing of a service.

    `capture` is the level that is asked for, one of `CAPTURES`, or `auto`: the best that can be had without mounting
    anything. `options` belong to its kind, which says where the component is by them when it has no path.
    """

    name: str
    kind: str
    path: str = ""
    exclude: tuple[str, ...] = ()
    exclude_caches: bool = False
    one_file_system: bool = False
    capture: str = "auto"
    options: dict[str, str] = {}

    @property
    def where(self) -> str:
        """Where it is, for people: its path, or what its kind calls it by."""
        return self.path or ", ".join(f"{name}={value}" for name, value in self.options.items())


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """The ladder of a policy: for how many seconds points are kept at each spacing. The newest point always stays."""

    any_moment: float = 48 * 3600
    hourly: float = 7 * 86400
    daily: float = 30 * 86400
    weekly: float = 90 * 86400
    monthly: float = 365 * 86400
    yearly: float = 0

    def rungs(self) -> tuple[tuple[str, float], ...]:
        """Each rung's name and length in seconds, finest first."""
        return (
            ("any-moment", self.any_moment),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
        )


MAX_HOLD = 1.0
"""The longest hold, in seconds."""

MIN_EVERY = 1.0
"""The shortest span between points, and the shortest rpo, in seconds."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Promises of a service. Spans in seconds."""

    keep: Keep = Keep()
    undo: float = 7 * 86400  # how long an expired point can be brought back
    rpo: float = 0  # how much may be lost: the age that the newest recoverable point may reach; 0: nothing is promised
    points: float = 0  # how often points are made; 0: as the rpo asks for
    held: float = 0  # how often one of them is held (L1); 0: never
    quiesced: float = 0  # how often one of them is quiesced (L2); 0: never
    rto: float = 0  # how long a recovery may take; 0: nothing is promised
    drill: float = 0  # how often a recovery is rehearsed; 0: never
    hold: float = 0.1  # for how long writes may stand still for a held point; at most `MAX_HOLD`

    @property
    def every(self) -> float:
        """How often points are made; 0 for never. Half of the rpo leaves the other half for making one, and trying
        again when that fails."""
        usual = self.points or self.held or (max(MIN_EVERY, self.rpo / 2) if self.rpo else 0)
        return min((each for each in (usual, self.held, self.quiesced) if each), default=0)


class Hooks(msgspec.Struct, frozen=True, kw_only=True):
    """Programs that are run around a point and a recovery, each with its arguments; empty for none.

    Each is ended after `timeout` seconds, with all that it started.
    """

    before_point: tuple[str, ...] = ()
    after_point: tuple[str, ...] = ()
    before_recover: tuple[str, ...] = ()
    after_recover: tuple[str, ...] = ()
    timeout: float = 60


HOOKS = ("before_point", "after_point", "before_recover", "after_recover")
"""When a program can be run."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A question to a recovered service: to one component in its own language, to a script, or to a web server.

    `word` is how the question is called in the service file, one of `QUESTIONS`. `expect` is empty, or what the first
    value of the answer has to be (`core/expect.py`). `python` is the path of a script, `http` an address.
    """

    component: str = ""
    word: str = "ask"
    ask: str = ""
    python: str = ""
    http: str = ""
    expect: str = ""
    timeout: float = 60

    @property
    def what(self) -> str:
        """What is asked, for people."""
        if self.python:
            return f"python {self.python}"
        return f"http {self.http}" if self.http else f"{self.component}: {self.ask}"


QUESTIONS = ("ask", "sql", "command")
"""What a question to a component may be called: it means the same."""


class ServiceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A service: what the business names.

    `refers_to` has, for a component, those whose content it names: a database the folder of its uploads. `order` is
    the one in which components are recovered and started; those that it does not name follow as they are defined.
    """

    name: str
    components: tuple[ComponentSpec, ...]
    policy: Policy = Policy()
    refers_to: dict[str, tuple[str, ...]] = {}
    order: tuple[str, ...] = ()
    hooks: Hooks = Hooks()
    checks: tuple[Check, ...] = ()

    def component(self, name: str) -> ComponentSpec | None:
        """The component of this name, if there is one."""
        return next((each for each in self.components if each.name == name), None)

    def ordered(self, names: Iterable[str]) -> list[str]:
        """These components in the order in which they are recovered."""
        places = {name: place for place, name in enumerate(self.order)}
        return sorted(names, key=lambda name: places.get(name, len(places)))


class Totals(msgspec.Struct, kw_only=True):
    """What a checkpoint holds, and what it cost. Bytes."""

    files: int = 0
    directories: int = 0
    others: int = 0
    bytes: int = 0
    changed_files: int = 0
    read_bytes: int = 0
    landed_bytes: int = 0  # sealed bytes that were not in the vault before


class Problem(msgspec.Struct, frozen=True):
    """One thing that could not be read or written as it should; the rest went on. `path` holds raw bytes."""

    path: bytes
    reason: str


class Position(msgspec.Struct, frozen=True):
    """A place in a timeline's log: between two records.

    `sequence` is the number of the record that comes next, `frame` the name of the LOG frame that holds the one before;
    32 zero bytes when there is none.
    """

    sequence: int
    frame: bytes


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one component at one position of its timeline."""

    id: bytes
    timeline: bytes
    root: bytes  # name of the tree's root page
    component: str
    kind: str
    source: str
    host: str
    capture: str  # the level achieved: scan, watch, clone, journal
    started_ns: int
    finished_ns: int
    totals: Totals
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0
    received_ns: int = 0
    position: Position | msgspec.UnsetType = msgspec.UNSET  # on its timeline's log, where it has one


class Mark(msgspec.Struct, frozen=True):
    """A named position: here, a checkpoint of a timeline."""

    timeline: bytes
    checkpoint: bytes


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A recovery point: one mark per component, with its level and the evidence for it."""

    id: bytes
    service_label: bytes
    service: str
    marks: tuple[Mark, ...]
    level: str
    status: str
    moment_ns: int  # when the last component was finished: nothing later is inside
    started_ns: int
    evidence: dict[str, str]
    definition: bytes = b""  # the service as it was then (msgpack of ServiceSpec)
    name: str = ""
    received_ns: int = 0


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody found out about a point after it was made: `status` is proven or suspect.

    `report` is the BLAKE3 of the drill's report, `seconds` how long the recovery took in it; `reason` says why suspect.
    """

    point: bytes
    status: str
    at_ns: int
    seconds: float = 0
    report: bytes = b""
    reason: str = ""
