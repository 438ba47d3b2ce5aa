"""Two writers want one log, while it is thinned, folded and collected, step by step in random order; any may be killed
at any step. What was acknowledged is in the log, in its place, with all it refers to; and there is one log only."""

from __future__ import annotations

import os
import random
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.core.errors import Busy
from knowngood.core.ids import Name
from knowngood.core.log import Form, LogRecord
from knowngood.core.model import Position
from knowngood.core.progress import Progress
from knowngood.stores.disk import DiskStore
from knowngood.testing.logs import TIMELINE, SmallLog, records, small_segments
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault import fold as folding
from knowngood.vault.fold import fold
from knowngood.vault.log_writer import LogWriter
from tests.fault.actors import Act, Director, Wire

SEEDS = range(int(os.environ.get("KNOWNGOOD_SEEDS", "4")))  # more of them for a hunt
_POOL = [random.Random(at).randbytes(700) for at in range(6)]
"""Few contents: what thinned records give up, later ones want."""


def batch(seed: int, first: int, chunk: bytes) -> list[LogRecord]:
    """Some records, which refer to a chunk."""
    some = random.Random(seed)
    return records(some, first, some.randrange(2, 7), [chunk])


class Play:
    """The actors' parts, and what is known to be true after what they told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.small = SmallVault(DiskStore(folder))
        self.told: dict[int, list[LogRecord]] = {}  # by the number of the first one
        self.thinned = 0
        self.wins: dict[str, int] = {}

    def hear(self, name: str, words: list[str]) -> None:
        """Take down what an actor tells."""
        if words[0] == "committed":
            first = int(words[2])
            assert first not in self.told, "two writers in one place"
            self.told[first] = batch(int(words[1]), first, bytes.fromhex(words[3]))
            self.wins[name] = self.wins.get(name, 0) + 1
        elif words[0] == "thinning":
            self.thinned = max(self.thinned, int(words[1]))

    def as_seen_by(self, wire: Wire) -> SmallVault:
        """The vault, each of whose operations asks first."""
        return self.small.beside(wire.store(DiskStore(self.folder)))

    def writer(self, rounds: int) -> Act:
        """Commits a few batches in one session; then it lets the other one."""

        def act(wire: Wire, chance: random.Random) -> None:
            done = 0
            for _attempt in range(60 * rounds):
                small = self.as_seen_by(wire)
                try:
                    with small.vault.session("follow", timelines=(TIMELINE,)) as session:
                        log = LogWriter(small.vault, session, small.catalog, TIMELINE)
                        for _ in range(2):
                            with small.vault.ingest(session, Progress()) as sink:
                                chunk = sink.add(chance.choice(_POOL))
                                sink.flush()
                            seed, first = chance.randrange(1 << 30), log.next_sequence
                            log.append(batch(seed, first, chunk))
                            log.commit()
                            wire.tell("committed", str(seed), str(first), chunk.hex())
                except Busy:
                    continue
                done += 1
                if done == rounds:
                    return

        return act

    def merger(self, rounds: int) -> Act:
        """Folds what there is."""

        def act(wire: Wire, _: random.Random) -> None:
            for _round in range(rounds):
                small = self.as_seen_by(wire)
                try:
                    fold(small.vault, small.catalog, Progress())
                except Busy:
                    continue

        return act

    def keeper(self, rounds: int) -> Act:
        """Thins the older half, and collects."""

        def act(wire: Wire, _: random.Random) -> None:
            for _round in range(rounds):
                log = SmallLog(self.as_seen_by(wire))
                bounds = log.bounds()
                if len(bounds) > 5:
                    end = bounds[len(bounds) // 2]
                    wire.tell("thinning", str(end))
                    log.thin(0, end)
                try:
                    log.small.collect()
                except Busy:
                    continue

        return act

    def verify(self) -> int:
        """What was told is there. Returns how many records are."""
        log = SmallLog(self.small.beside())
        log.small.collect_all()
        assert log.small.check().findings == []
        left = log.small.catalog.log.within(TIMELINE, self.thinned, 1 << 62)
        start = left[0] if left else None
        if start is None:
            return 0
        found = {each.sequence: each for each in log.read(Position(start.first, start.previous))}
        for wanted in (each for told in self.told.values() for each in told if each.sequence >= start.first):
            assert found[wanted.sequence] == wanted
        with log.small.vault.session("look") as session:
            reader = log.small.vault.reader(session, log.small.private)
            for each in found.values():
                assert each.form != Form.CHUNK or reader.chunk(Name(each.data)) in _POOL
        return len(found)


@pytest.mark.slow
@pytest.mark.parametrize("kill_one_in", [0, 40], ids=["alive", "killed"])
@pytest.mark.parametrize("seed", SEEDS)
def test_one_log(place: Path, seed: int, kill_one_in: int) -> None:
    chance = random.Random(seed)
    few = patch.object(folding, "FOLD_FROM", 3)
    with few, small_packs(raw=10, group=10), small_segments(frame=150, segment=300):
        play = Play(place / "vault")
        director = Director(chance, play.hear, kill_one_in)
        acts = {"a": play.writer(3), "b": play.writer(3), "keeper": play.keeper(6), "merger": play.merger(8)}
        for name, act in acts.items():
            director.start(name, act)
        again = iter(range(12))

        def on_death(name: str) -> None:
            if next(again, None) is not None:
                director.start(name, acts[name])

        director.run(on_death)
        assert play.verify() > 0
    if not kill_one_in:
        assert play.wins == {"a": 6, "b": 6}
    else:
        assert director.kills
