"""A vault against a plain dictionary and a list: whatever is done to it in whatever order, every visible point recovers
byte for byte, its log reads record for record, a check finds nothing, and nothing is offered to new commits that cannot
be read."""

from __future__ import annotations

import contextlib
import random
from typing import Any
from unittest.mock import patch

from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from knowngood.core.errors import Busy, KnowngoodError, NoSpace, NotFound, StoreFailed
from knowngood.core.ids import Name
from knowngood.core.log import Form, LogRecord
from knowngood.core.model import Point
from knowngood.core.progress import Progress
from knowngood.testing.clock import DAY, FakeClock
from knowngood.testing.logs import SmallLog, records
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault, bury, many_runs, small_packs
from knowngood.vault import fold as folding
from knowngood.vault.catalog import Catalog
from knowngood.vault.fold import fold
from knowngood.vault.layout import INDEX
from knowngood.vault.log_reader import START
from knowngood.vault.rebuild import rebuild_index
from knowngood.vault.session import Session

_POOL = [bytes([at]) * 700 + at.to_bytes(4, "big") * 60 for at in range(12)]
"""Few contents: what one point gives up, the next one wants."""

paths = st.sampled_from([b"a", b"b", b"c", b"d/e", b"d/f"])
contents = st.dictionaries(paths, st.integers(0, len(_POOL) - 1), max_size=5).map(
    lambda chosen: {path: _POOL[at] for path, at in chosen.items()}
)
GONE = StoreFailed("the store is out of reach")
FULL = NoSpace("the disk is full")
faults = st.sampled_from([(GONE, True), (GONE, False), (FULL, True), (FULL, False)])
"""What goes wrong, and whether for good: until it is mended, or only once."""


class VaultMachine(RuleBasedStateMachine):
    """`truth` is the dictionary: point → (files, whether it is hidden, until when it can be brought back)."""

    points = Bundle("points")
    writers = Bundle("writers")

    @initialize()
    def begin(self) -> None:
        """An empty vault."""
        self._stack = contextlib.ExitStack()
        self.clock = self._stack.enter_context(FakeClock())
        self._stack.enter_context(small_packs(raw=1500, alone=400, group=400))
        self._stack.enter_context(many_runs())
        self._stack.enter_context(patch.multiple(folding, FOLD_FROM=2, FULL_BYTES=9000, LARGEST_BYTES=18_000))
        self.faulty = FaultyStore(MemoryStore())
        self.small = SmallVault(self.faulty)
        self.other = self.small.beside()
        self.truth: dict[bytes, dict[bytes, bytes]] = {}
        self.hidden: dict[bytes, int] = {}
        self.open: dict[bytes, tuple[Session, Name, dict[bytes, bytes]]] = {}
        self.log, self.other_log = SmallLog(self.small), SmallLog(self.other)
        self.records: list[LogRecord] = []
        self.thinned = 0
        self.positions = {0: START}

    def teardown(self) -> None:
        """Only what was begun."""
        if hasattr(self, "_stack"):
            self._stack.close()

    def _visible(self) -> dict[bytes, dict[bytes, bytes]]:
        return {point: files for point, files in self.truth.items() if point not in self.hidden}

    # ------------------------------------------------------------------------------------------------------ writing

    @rule(target=points, files=contents, by_other=st.booleans())
    def protect(self, files: dict[bytes, bytes], *, by_other: bool) -> Point:
        """One of two homes makes a point."""
        home = self.other if by_other else self.small
        home.follow()
        point = home.protect(files)
        self.truth[point.id] = files
        return point

    @rule(fault=faults, files=contents, at=st.integers(1, 40), after=st.booleans())
    def protect_fails(
        self, fault: tuple[KnowngoodError, bool], files: dict[bytes, bytes], at: int, *, after: bool
    ) -> None:
        """The store goes away in the middle. What then counts is what the commits say."""
        self.small.follow()
        before = {point.id for point in self.small.catalog.points()}
        self.faulty.fail(at, fault[0], after=after, lasting=fault[1])
        told: set[bytes] = set()
        with contextlib.suppress(StoreFailed, NoSpace):
            told.add(self.small.protect(files).id)
        self.faulty.mend()
        self.small.follow()
        assert told <= {point.id for point in self.small.catalog.points()}
        for point in self.small.catalog.points():
            if point.id not in before:
                self.truth[point.id] = files

    @rule(target=writers, files=contents)
    def begin_protecting(self, files: dict[bytes, bytes]) -> bytes:
        """A writer that lands its data and does not commit yet; collections go on around it."""
        session = Session(self.faulty, self.small.vault.id, self.small.vault.writer.public, "slow")
        with self.small.vault.ingest(session, Progress()) as sink:
            root = self.small.land(sink, files)
        self.open[session.id] = session, root, files
        return session.id

    @rule(target=points, writer=consumes(writers))
    def commit(self, writer: bytes) -> Any:
        """It commits at last: nobody has fenced it, as it lives."""
        session, root, files = self.open.pop(writer)
        self.small.follow()
        point = self.small.commit(session, root)
        session.close()
        self.truth[point.id] = files
        return point

    @rule(writer=consumes(writers))
    def crash(self, writer: bytes) -> None:
        """It is killed."""
        session, _, _ = self.open.pop(writer)
        bury(self.faulty, session)

    # ------------------------------------------------------------------------------------------------- hiding, undoing

    @rule(point=points, days=st.sampled_from([0, 0, 7]), by_other=st.booleans())
    def expire(self, point: Point, days: int, *, by_other: bool) -> None:
        """Hide a point, for good at once or with a window."""
        home = self.other if by_other else self.small
        home.follow()
        home.expire(point, undo_ns=int(days * DAY * 10**9))
        if point.id in self.truth:
            self.hidden[point.id] = self.clock.now_ns + int(days * DAY * 10**9)

    @rule(point=points)
    def undo(self, point: Point) -> None:
        """Bring it back; if that is said to have worked, it has to be there."""
        try:
            self.small.undo(point)
        except NotFound:
            assert point.id not in self._visible()
        else:
            self.hidden.pop(point.id, None)
        self._forget_what_has_gone()

    @rule(point=points)
    def undo_across_a_collection(self, point: Point) -> None:
        """A session that was there before a collector decided to take the point away."""
        self.other.follow()
        with self.small.vault.session("undo") as session:
            self.other.collect()
            try:
                self.small.vault.undo(session, self.small.catalog, (point.id,))
            except NotFound:
                assert point.id not in self._visible()
            else:
                self.hidden.pop(point.id, None)
        self._forget_what_has_gone()

    @rule(days=st.sampled_from([1, 8, -1, 3650, -3650]))
    def move_clock(self, days: int) -> None:
        """Clocks jump."""
        self.clock.move(days * DAY)

    # ---------------------------------------------------------------------------------------------------------- a log

    def _batch(self, content: int) -> list[LogRecord]:
        (name,) = self.log.land([_POOL[content]])
        return records(random.Random(content), len(self.records), 3, [name])

    @rule(content=st.integers(0, len(_POOL) - 1), by_other=st.booleans())
    def append(self, content: int, *, by_other: bool) -> None:
        """One of two homes continues the log; no collector comes between its chunks and its commit."""
        batch = self._batch(content)
        position = (self.other_log if by_other else self.log).write(batch)
        self.records += batch
        self.positions[position.sequence] = position

    @rule(fault=faults, content=st.integers(0, len(_POOL) - 1), at=st.integers(1, 12), after=st.booleans())
    def append_fails(self, fault: tuple[KnowngoodError, bool], content: int, at: int, *, after: bool) -> None:
        """The store goes away in the middle. All of a commit counts, or nothing of it."""
        batch = self._batch(content)
        self.faulty.fail(at, fault[0], after=after, lasting=fault[1])
        told = 0
        with contextlib.suppress(StoreFailed, NoSpace):
            told = self.log.write(batch).sequence
        self.faulty.mend()
        with self.log.writer() as writer:
            assert writer.next_sequence >= told
            assert writer.next_sequence in (len(self.records), len(self.records) + 3)
            self.records += batch if writer.next_sequence > len(self.records) else []
            self.positions[writer.next_sequence] = writer.position

    @rule(keep=st.integers(1, 3))
    def thin(self, keep: int) -> None:
        """Its older segments are let go."""
        end = max(self.thinned, len(self.records) - 3 * keep)
        self.other.follow()
        self.other_log.thin(0, end)
        self.thinned = end

    @rule(by_other=st.booleans(), beside=st.booleans())
    def fold(self, *, by_other: bool, beside: bool) -> None:
        """Small segments become large ones; while somebody is there, the old ones stay for a while."""
        home = self.other if by_other else self.small
        with self.small.vault.session("is there") if beside else contextlib.nullcontext():
            fold(home.vault, home.catalog, Progress())

    @rule(fault=faults, at=st.integers(1, 20), after=st.booleans())
    def fold_fails(self, fault: tuple[KnowngoodError, bool], at: int, *, after: bool) -> None:
        """The store goes away in the middle."""
        self.faulty.fail(at, fault[0], after=after, lasting=fault[1])
        with contextlib.suppress(StoreFailed, NoSpace):
            fold(self.small.vault, self.small.catalog, Progress())
        self.faulty.mend()

    # --------------------------------------------------------------------------------------------------- keeping order

    def _forget_what_has_gone(self) -> None:
        """Hidden points may have been collected: the vault alone knows."""
        self.small.follow()
        there = {point.id for point in (*self.small.catalog.points(), *self.small.catalog.points(expired=True))}
        for point in self.hidden.keys() - there:
            del self.hidden[point], self.truth[point]

    @rule(sifting=st.booleans())
    def collect(self, *, sifting: bool) -> None:
        """Once."""
        self.small.collect(sifting=sifting)
        self._forget_what_has_gone()

    @rule(sifting=st.booleans())
    def collect_and_wait(self, *, sifting: bool) -> None:
        """A collection that has condemned, and has to wait for somebody; others come and go meanwhile."""
        with self.other.vault.session("blocks the collector"):
            self.small.collect(sifting=sifting)
        self._forget_what_has_gone()

    @rule(fault=faults, at=st.integers(1, 60), after=st.booleans(), sifting=st.booleans())
    def collect_fails(self, fault: tuple[KnowngoodError, bool], at: int, *, after: bool, sifting: bool) -> None:
        """The store goes away in the middle of a collection."""
        self.faulty.fail(at, fault[0], after=after, lasting=fault[1])
        with contextlib.suppress(StoreFailed, NoSpace):
            self.small.collect(sifting=sifting)
        self.faulty.mend()
        self._forget_what_has_gone()

    @rule(at=st.integers(1, 30), files=contents, hide=st.booleans())
    def write_in_the_middle_of_a_collection(self, at: int, files: dict[bytes, bytes], *, hide: bool) -> None:
        """Another home makes and hides points between two steps of a collector."""
        count = 0

        def writer(operation: str, _: str) -> None:
            nonlocal count
            count += operation in ("put", "delete", "list")
            if count == at:
                count += 1
                self.faulty.before.clear()
                self.other.follow()
                new = self.other.protect(files)
                self.truth[new.id] = files
                visible = self.other.catalog.points()
                if hide and len(visible) > 1:
                    self.other.expire(visible[-1])
                    self.hidden[visible[-1].id] = 0

        self.faulty.before.append(writer)
        with contextlib.suppress(Busy):
            self.small.collect(sifting=hide)
        self.faulty.before.clear()
        self._forget_what_has_gone()

    @rule()
    def rebuild(self) -> None:
        """The index from the packs."""
        rebuild_index(self.small.vault, Progress())

    @rule(fault=faults, at=st.integers(1, 20), after=st.booleans())
    def rebuild_fails(self, fault: tuple[KnowngoodError, bool], at: int, *, after: bool) -> None:
        """The store goes away in the middle."""
        self.faulty.fail(at, fault[0], after=after, lasting=fault[1])
        with contextlib.suppress(StoreFailed, NoSpace):
            rebuild_index(self.small.vault, Progress())
        self.faulty.mend()

    @precondition(lambda self: not self.open)
    @rule()
    def lose_the_index(self) -> None:
        """Somebody deletes it; who knows what to do rebuilds it."""
        for each in list(self.faulty.list(INDEX)):
            self.faulty.delete(each.key)
        rebuild_index(self.small.vault, Progress())

    @rule()
    def lose_the_catalog(self) -> None:
        """It comes back from the commits."""
        self.small.catalog.close()
        self.small.catalog = Catalog(":memory:")

    # ------------------------------------------------------------------------------------------------------ always true

    @invariant()
    def sound(self) -> None:
        """The three promises."""
        if not hasattr(self, "small"):
            return
        self.small.verify(self._visible())
        self.small.verify_known()
        assert not self.small.check().findings
        self._verify_log()

    def _verify_log(self) -> None:
        wanted = self.records[self.thinned :]
        if not wanted:
            return
        assert self.log.read(self.positions[self.thinned]) == wanted
        with self.small.vault.session("verify the log") as session:
            reader = self.small.vault.reader(session, self.small.private)
            assert all(reader.chunk(Name(each.data)) in _POOL for each in wanted if each.form == Form.CHUNK)


def test_a_vault_is_a_dictionary() -> None:
    """The profile says how many lives it leads."""
    profile = settings()
    lives = max(10, profile.max_examples // 4)
    run_state_machine_as_test(VaultMachine, settings=settings(profile, max_examples=lives, stateful_step_count=25))
