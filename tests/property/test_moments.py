"""Whatever was done, whenever points were made, whatever the clock did: each moment is the state that its rule says."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from tempfile import gettempdir

from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from knowngood.core.ids import Name, new_id
from knowngood.core.log import LogRecord
from knowngood.core.model import Checkpoint, Mark, Point, Position, Totals
from knowngood.core.progress import Progress
from knowngood.flow.moment import Moment, moment_at, moment_of
from knowngood.flow.parts import Parts
from knowngood.flow.state import State, states
from knowngood.testing.logs import SmallLog, small_segments
from knowngood.testing.memory import MemoryVault
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault
from knowngood.vault.log_reader import START
from tests.property.test_tree_replay import small, step, steps
from tests.unit.tree.replaying import Model, land, read

TIMELINE = b"timeline of logs"


@dataclass
class World:
    """A model, its log in a vault, its points, and what the model showed before each record."""

    small: SmallVault = field(default_factory=lambda: SmallVault(MemoryStore()))
    model: Model = field(default_factory=Model)
    now: int = 1000
    position: Position = START
    shown: list[dict] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    checkpoints: list[tuple[int, int]] = field(default_factory=list)  # finished, sequence
    waiting: list[LogRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory = MemoryVault(namer=self.small.vault.writer.namer)
        self.log = SmallLog(self.small, TIMELINE)
        self.parts = Parts(
            self.small.vault, self.small.catalog, dict, lambda _: gettempdir(), lambda: self.small.private
        )
        self.shown.append(self.model.shown())

    def record(self, record: LogRecord) -> None:
        self.waiting.append(replace(record, time_ns=self.now))
        self.times.append(self.now)
        self.shown.append(self.model.shown())

    def flush(self) -> None:
        """Chunks, then records: durable."""
        with self.small.vault.session("land") as session, self.small.vault.ingest(session, Progress()) as sink:
            for data in self.memory.chunks.values():
                sink.add(data)
            sink.flush()
        if self.waiting:
            self.position = self.log.write(self.waiting)
            self.waiting = []

    def protect(self) -> Point:
        """A point that stands at the end of the log."""
        self.flush()
        root = land(self.model, self.memory)
        with self.small.vault.session("protect") as session:
            with self.small.vault.ingest(session, Progress()) as sink:
                for data in self.memory.chunks.values():
                    sink.add(data)
                for page in self.memory.pages.values():
                    sink.page(*page)
                sink.flush()
            checkpoint = Checkpoint(
                id=new_id(), timeline=TIMELINE, root=root, component="c", kind="files", source="/c", host="h",
                capture="scan", started_ns=self.now, finished_ns=self.now, totals=Totals(), position=self.position,
            )  # fmt: skip
            point = Point(
                id=new_id(), service_label=b"l" * 16, service="s", marks=(Mark(TIMELINE, checkpoint.id),), level="L0",
                status="recoverable", moment_ns=self.now, started_ns=self.now, evidence={},
            )  # fmt: skip
            self.checkpoints.append((self.now, self.position.sequence))
            return self.small.vault.commit_point(session, self.small.catalog, point, (checkpoint,))

    def expected(self, at: int) -> int:
        """How many records are inside at a moment: the nearest checkpoint, then all up to the first later one."""
        _, sequence = max(each for each in self.checkpoints if each[0] <= at)
        while sequence < len(self.times) and self.times[sequence] <= at:
            sequence += 1
        return sequence

    def check(self, moment: Moment, sequence: int) -> State:
        with states(moment, None, self.parts, "look") as (state,):
            assert read(Name(state.checkpoint.root), state.pages) == self.shown[sequence]
            assert state.checkpoint.position != START or state.changes == sequence
            return state


def play(doing: list[tuple], jumps: bool) -> World:
    """Do it: most steps change something, some are points, some commits; time goes on, or jumps."""
    world = World()
    world.protect()
    for each in doing:
        number = each[4]
        world.now += number % 7 if not jumps else (number % 101) - 30
        record = step(world.model, world.memory, *each)
        if record is not None:
            world.record(record)
        if number % 11 == 0:
            world.protect()
        elif number % 5 == 0:
            world.flush()
    world.flush()
    return world


@settings(max_examples=max(10, settings().max_examples // 4))
@given(steps, st.booleans(), st.lists(st.integers(-20, 40), max_size=4))
def test_every_moment(doing: list[tuple], jumps: bool, asked: list[int]) -> None:
    """Also between, before and after all that happened; `latest` is the end of the log."""
    with small(), small_segments():
        world = play(doing, jumps)
        times = [world.times[number % len(world.times)] for number in asked] if world.times else []
        for at in {*times, *(each + number for each in times for number in (-1, 1)), world.now + 5}:
            if at < world.checkpoints[0][0] and all(finished > at for finished, _ in world.checkpoints):
                continue
            sequence = world.expected(at)
            state = world.check(moment_at(world.parts, "s", at), sequence)
            assert state.covered == (sequence < len(world.times) and state.sequence is not None)
            if not jumps:
                assert world.shown[sequence] == world.shown[bisect_right(world.times, at)]
        assert world.check(moment_at(world.parts, "s", None), len(world.times)).covered is False
        for point, (_, sequence) in zip(reversed(world.small.catalog.points("s")), world.checkpoints, strict=True):
            assert world.check(moment_of(point, world.parts), sequence).changes == 0
