"""A process is killed at every change that it makes to its spool and, later, to the vault that takes what waited.

After every single kill: what was acknowledged as waiting is in the log once the next process has landed it, each record
once and in its place, with the content that it refers to.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from knowngood.core.errors import StoreFailed
from knowngood.core.log import LogRecord
from knowngood.core.model import Position
from knowngood.flow.spooling import Spooler, SpoolSink
from knowngood.stores.disk import DiskStore
from knowngood.testing.killer import Outcome
from knowngood.testing.logs import TIMELINE, SmallLog, no_point, records, small_segments
from knowngood.testing.vaults import small_packs
from knowngood.vault.spool import Spool
from knowngood.vault.spool_landing import SpoolLanded, land_spool
from tests.fault.test_kill_log import Scene

pytestmark = pytest.mark.slow


class Waiting:
    """Ticks of a log that wait in a spool, each with a chunk of its own, and a file that says which were told."""

    def __init__(self, scene: Scene, place: Path) -> None:
        self.scene = scene
        self.folder = place / "state"
        self.told = place / "acknowledged"
        some = random.Random(12)
        self.contents = [some.randbytes(400) for _ in range(4)]
        namer = scene.log.small.vault.writer.namer
        self.start = Position(*self._end())
        self.batches: list[list[LogRecord]] = []
        at = self.start.sequence
        for content in self.contents:
            self.batches.append(records(some, at, 3, [namer.chunk(content)]))
            at += 3

    def _end(self) -> tuple[int, bytes]:
        newest = self.scene.log.small.catalog.log.newest(TIMELINE)
        assert newest
        return newest.end, newest.last

    def reset(self) -> None:
        """Nothing waits."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.told.write_bytes(b"")

    def opened(self, log: SmallLog) -> Spool:
        """The spool as a process finds it."""
        return Spool(str(self.folder), log.small.vault.id, TIMELINE)

    def fill(self, log: SmallLog, spool: Spool) -> None:
        """Keep all of it, tick by tick."""
        spooler = Spooler(log.small.vault, TIMELINE, spool, lambda: str(self.folder))
        at = self.start
        for content, batch in zip(self.contents, self.batches, strict=True):

            def records_of(
                sink: SpoolSink, content: bytes = content, batch: list[LogRecord] = batch
            ) -> list[LogRecord]:
                sink.add(content)
                return batch

            _, at = spooler.keep(at, records_of)
            with open(self.told, "ab", buffering=0) as file:
                file.write(b".")

    def land(self, log: SmallLog, spool: Spool) -> SpoolLanded:
        """What waits goes into the vault."""
        small = log.small
        with small.vault.session("follow", timelines=(TIMELINE,)) as session:
            return land_spool(spool, small.vault, session, small.catalog, no_point)

    def verify(self, log: SmallLog, outcome: Outcome) -> None:
        """The next process lands it."""
        acknowledged = self.told.stat().st_size
        spool = self.opened(log)
        if spool.ticks:
            assert self.land(log, spool).reason == "", outcome
        spool.close()
        found = log.read()[len(self.scene.log.truth) :]
        whole = [[each for batch in self.batches[:count] for each in batch] for count in range(len(self.batches) + 1)]
        assert found in whole[acknowledged : acknowledged + 2], outcome
        with log.small.vault.session("look") as session:
            reader = log.small.vault.reader(session, log.small.private)
            for each in found:
                assert each.form != 3 or reader.chunk(each.data) in self.contents  # type: ignore[arg-type]


@pytest.fixture
def waiting(place: Path) -> Waiting:
    """A log with a few records, and nothing that waits."""
    scene = Scene(place)
    scene.log.write(records(scene.some, 0, 4))
    return Waiting(scene, place)


def test_filling_and_landing(waiting: Waiting) -> None:
    """In one process, from the first tick that waits to the last that has landed."""
    with small_packs(raw=900, group=10, alone=10), small_segments(frame=200, segment=300):

        def act(log: SmallLog) -> None:
            waiting.reset()
            spool = waiting.opened(log)
            waiting.fill(log, spool)
            waiting.land(log, spool)

        waiting.reset()
        waiting.scene.run(act, waiting.verify)


def test_landing_in_pieces(waiting: Waiting) -> None:
    """Found by another process, and of several commits."""
    with small_packs(raw=900, group=10, alone=10), pytest.MonkeyPatch.context() as patched:
        patched.setattr("knowngood.vault.spool_landing.SEGMENT_BYTES", 1000)
        patched.setattr("knowngood.vault.spool_landing.PACK_BYTES", 600)

        def act(log: SmallLog) -> None:
            waiting.reset()
            spool = waiting.opened(log)
            waiting.fill(log, spool)
            spool.close()
            waiting.land(log, waiting.opened(log))

        waiting.reset()
        waiting.scene.run(act, waiting.verify)


def test_a_vault_that_fails_in_the_middle(waiting: Waiting) -> None:
    """At any object: the rest waits on, and nothing lands twice."""

    class Failing(DiskStore):
        left = 0

        def put(self, key: str, parts: object) -> None:
            if not key.startswith("sessions/"):
                if not Failing.left:
                    raise StoreFailed("away")
                Failing.left -= 1
            super().put(key, parts)  # type: ignore[arg-type]

    with small_packs(raw=900, group=10, alone=10), pytest.MonkeyPatch.context() as patched:
        patched.setattr("knowngood.vault.spool_landing.SEGMENT_BYTES", 1000)
        for good in range(12):
            shutil.rmtree(waiting.scene.folder, ignore_errors=True)
            shutil.copytree(waiting.scene.before, waiting.scene.folder)
            waiting.reset()
            failing = SmallLog(waiting.scene.log.small.beside(Failing(waiting.scene.folder)))
            spool = waiting.opened(failing)
            waiting.fill(failing, spool)
            Failing.left = good
            try:
                waiting.land(failing, spool)
            except StoreFailed:
                Failing.left = 100
                assert waiting.land(failing, spool).reason == ""
            assert not spool.ticks
            waiting.verify(waiting.scene.opened(), Outcome(True, good))
