"""A log on a disk is killed at every change that writing, thinning, folding and collecting it makes there.

After every single kill: a check finds nothing, the log holds what was acknowledged, and perhaps the one commit that was
under way; the next writer goes on from there, and a collection leaves nothing behind.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.core.errors import NotFound
from knowngood.core.log import LogRecord
from knowngood.core.model import Position
from knowngood.core.progress import Progress
from knowngood.stores.disk import DiskStore
from knowngood.testing.killer import Outcome, every_kill
from knowngood.testing.logs import TIMELINE, SmallLog, records, small_segments
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault import fold as folding
from knowngood.vault.fold import fold
from knowngood.vault.layout import SEGMENTS, SESSIONS
from knowngood.vault.log_reader import START
from knowngood.vault.log_writer import LogWriter

pytestmark = pytest.mark.slow


class Scene:
    """A vault with a log as it is before the verb, in a folder that is copied for each kill."""

    def __init__(self, place: Path) -> None:
        self.before, self.folder = place / "before", place / "vault"
        self.some = random.Random(9)
        self.log = SmallLog(SmallVault(DiskStore(self.before)))
        self.kills = 0

    def opened(self) -> SmallLog:
        """The log in the copy, as another process sees it."""
        return SmallLog(self.log.small.beside(DiskStore(self.folder)))

    def run(self, act: Callable[[SmallLog], object], look: Callable[[SmallLog, Outcome], None]) -> None:
        """Kill `act` everywhere; `look` after each kill."""

        def prepare() -> Callable[[], object]:
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.copytree(self.before, self.folder)
            log = self.opened()
            return lambda: act(log)

        for outcome in every_kill(prepare):
            log = self.opened()
            assert log.small.check().findings == [], outcome
            look(log, outcome)
            self.kills += 1
            self.clean(log)
        assert self.kills > 10

    def clean(self, log: SmallLog) -> None:
        """Collect; nothing of the killed one is left but what is visible."""
        log.small.collect_all()
        assert list(log.small.store.list(SESSIONS)) == []
        assert os.listdir(self.folder / "tmp") == []
        log.small.follow()
        there = {each.key.rpartition("/")[2] for each in log.small.store.list(SEGMENTS)}
        assert there == {each.pack.hex() for each in log.small.catalog.log.within(TIMELINE, 0, 1 << 62)}
        assert log.small.check().findings == []


@pytest.fixture
def scene(place: Path) -> Scene:
    """A log to be killed."""
    return Scene(place)


def test_append_and_commit(scene: Scene, place: Path) -> None:
    """Two commits of several segments each, one of which refers to a chunk that is landed by the same session."""
    some, content, told = scene.some, scene.some.randbytes(900), place / "acknowledged"
    with small_packs(raw=10, group=10), small_segments(frame=200, segment=400):
        scene.log.write(records(some, 0, 4))
        chunk = scene.log.small.vault.writer.namer.chunk(content)
        first, second = records(some, 4, 6), records(some, 10, 8, [chunk])
        assert any(each.data == chunk for each in second)

        def act(log: SmallLog) -> None:
            small = log.small
            told.write_bytes(b"")
            with small.vault.session("follow", timelines=(TIMELINE,)) as session:
                writer = LogWriter(small.vault, session, small.catalog, TIMELINE)
                for batch in (first, second):
                    with small.vault.ingest(session, Progress()) as sink:
                        sink.add(content)
                        sink.flush()
                    writer.append(batch)
                    writer.commit()
                    with open(told, "ab", buffering=0) as file:
                        file.write(b".")

        def look(log: SmallLog, outcome: Outcome) -> None:
            acknowledged = told.stat().st_size
            states = [scene.log.truth, scene.log.truth + first, scene.log.truth + first + second]
            found = log.read()
            assert found in states[acknowledged : acknowledged + 2], outcome
            more = records(some, len(found), 2)
            log.write(more)
            scene.clean(log)
            assert log.read() == found + more
            _chunks_are_there(log, found)

        scene.run(act, look)


def _chunks_are_there(log: SmallLog, found: list[LogRecord]) -> None:
    with log.small.vault.session("look") as session:
        reader = log.small.vault.reader(session, log.small.private)
        for each in found:
            if each.form == 3:
                assert reader.chunk(each.data)  # type: ignore[arg-type]


def _aged(scene: Scene) -> None:
    """Six commits, some of several segments, with chunks of their own."""
    for number in range(6):
        chunks = scene.log.land([scene.some.randbytes(500)])
        scene.log.write(records(scene.some, 4 * number, 4, chunks))


def _position(log: SmallLog, number: int) -> Position:
    return Position(number, log.small.catalog.log.within(TIMELINE, number, 1 << 62)[0].previous)


def test_thin_and_unthin(scene: Scene) -> None:
    with small_packs(raw=10, group=10), small_segments():
        _aged(scene)

        def act(log: SmallLog) -> None:
            log.thin(0, 12, undo_ns=10**18)
            log.unthin(0, 8)

        def look(log: SmallLog, outcome: Outcome) -> None:
            truth = scene.log.truth
            assert log.read(_position(log, 12)) == truth[12:], outcome
            scene.clean(log)
            log.unthin(0, 12)
            assert log.read() == truth
            scene.clean(log)

        scene.run(act, look)


def test_collect(scene: Scene) -> None:
    """Some segments are thinned for good, some can be brought back, some were never committed."""
    with small_packs(raw=10, group=10), small_segments():
        _aged(scene)
        with scene.log.writer() as writer:
            writer.append(records(scene.some, 24, 30))
        scene.log.thin(0, 8)
        scene.log.thin(8, 12, undo_ns=10**18)

        def look(log: SmallLog, outcome: Outcome) -> None:
            truth = scene.log.truth
            assert log.read(_position(log, 12)) == truth[12:], outcome
            with pytest.raises(NotFound):
                log.read(START)
            scene.clean(log)
            assert log.bounds()[0] == 8
            log.unthin(8, 12)
            assert log.read(_position(log, 8)) == truth[8:]
            _chunks_are_there(log, truth[8:])
            log.write(records(scene.some, 24, 1))

        scene.run(lambda log: log.small.collect(), look)


def test_fold(scene: Scene) -> None:
    """Some segments have content of their own, one commit holds several, and some are thinned."""
    with small_packs(raw=10, group=10), small_segments(frame=200, segment=400), patch.object(folding, "FOLD_FROM", 3):
        scene.log.write(records(scene.some, 0, 6))
        for number in range(5):
            chunks = scene.log.land([scene.some.randbytes(500)])
            scene.log.write(records(scene.some, 6 + 2 * number, 2, chunks))
        truth = scene.log.truth

        def act(log: SmallLog) -> None:
            fold(log.small.vault, log.small.catalog, Progress())

        def look(log: SmallLog, outcome: Outcome) -> None:
            assert log.read() == truth, outcome
            assert SmallLog(log.small.beside()).read() == truth
            scene.clean(log)
            act(log)
            scene.clean(log)
            assert log.read() == truth
            _chunks_are_there(log, truth)
            log.write(records(scene.some, 16, 1))
            assert len(log.bounds()) <= 5

        scene.run(act, look)


def test_collect_what_was_folded(scene: Scene) -> None:
    """A reader kept the old segments; they go with the next collection."""
    with small_packs(raw=10, group=10), small_segments(), patch.object(folding, "FOLD_FROM", 3):
        _aged(scene)
        with scene.log.small.vault.session("read"):
            assert fold(scene.log.small.vault, scene.log.small.catalog, Progress()).waiting

        def look(log: SmallLog, outcome: Outcome) -> None:
            assert log.read() == scene.log.truth, outcome
            scene.clean(log)
            assert log.read() == scene.log.truth
            _chunks_are_there(log, scene.log.truth)

        scene.run(lambda log: log.small.collect(), look)
