"""Two writers, a collector, a rebuilder and a reader share a vault on a disk, step by step in random order; any of them
may be killed at any step. What was acknowledged recovers, always."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from knowngood.core.errors import Busy, Fenced, KnowngoodError, NotFound
from knowngood.core.model import Point
from knowngood.core.progress import Progress
from knowngood.stores.disk import DiskStore
from knowngood.testing.vaults import SmallVault, many_runs, small_packs
from knowngood.vault.rebuild import rebuild_index
from tests.fault.actors import Act, Director, Wire

SEEDS = range(int(os.environ.get("KNOWNGOOD_SEEDS", "5")))  # more of them for a hunt
_POOL = [random.Random(at).randbytes(900) for at in range(10)]
"""Few contents, shared by many points: what one point gives up, the next one wants."""


def files_of(number: int) -> dict[bytes, bytes]:
    """What the point of this number holds."""
    chance = random.Random(number)
    files = {b"pool/%d" % at: _POOL[at] for at in chance.sample(range(len(_POOL)), 4)}
    return files | {b"own": b"%d" % number}


class Play:
    """The actors' parts, and what is known to be true after what they told."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.small = SmallVault(DiskStore(folder))
        self.chance = chance
        self.told: dict[bytes, int] = {}  # acknowledged points, and their numbers
        self.maybe_hidden: set[bytes] = set()
        self.numbers = iter(range(1, 100000))
        self.collections = self.recoveries = 0

    def hear(self, _: str, words: list[str]) -> None:
        """Take down what an actor tells."""
        if words[0] == "protected":
            self.told[bytes.fromhex(words[1])] = int(words[2])
        elif words[0] == "expiring":
            self.maybe_hidden.add(bytes.fromhex(words[1]))
        elif words[0] == "collected":
            self.collections += int(words[1])
        elif words[0] == "recovered":
            self.recoveries += 1

    def as_seen_by(self, wire: Wire) -> SmallVault:
        """The vault, each of whose operations asks first."""
        return self.small.beside(wire.store(DiskStore(self.folder)))

    def writer(self, rounds: int) -> Act:
        """Protects, and now and then expires what it sees; sometimes at once for good."""
        numbers = [next(self.numbers) for _ in range(rounds)]

        def act(wire: Wire, chance: random.Random) -> None:
            for number in numbers:
                small = self.as_seen_by(wire)
                visible = small.catalog.points()
                if len(visible) > 3 and chance.random() < 0.6:
                    old = chance.choice(visible)
                    wire.tell("expiring", old.id.hex())
                    small.expire(old, undo_ns=0)
                try:
                    point = small.protect(files_of(number), f"s{number}")
                except Fenced:  # only who is dead may be fenced
                    raise AssertionError("a living writer was fenced") from None
                wire.tell("protected", point.id.hex(), str(number))

        return act

    def collector(self, rounds: int) -> Act:
        """Collects over and over."""

        def act(wire: Wire, _: random.Random) -> None:
            small, done = self.as_seen_by(wire), 0
            for _attempt in range(100 * rounds):
                try:
                    collected = small.collect()
                except Busy:
                    continue
                wire.tell("collected", str(collected.deleted_packs))
                done += not collected.waiting_for
                if done == rounds:
                    return

        return act

    def rebuilder(self, rounds: int) -> Act:
        """Makes the index anew while others use it."""

        def act(wire: Wire, _: random.Random) -> None:
            for _round in range(rounds):
                small = self.as_seen_by(wire)
                try:
                    rebuild_index(small.vault, Progress())
                except Busy:
                    continue

        return act

    def reader(self, rounds: int) -> Act:
        """Recovers a point that it sees, and knows what it has to hold."""

        def act(wire: Wire, chance: random.Random) -> None:
            small, done = self.as_seen_by(wire), 0
            for _attempt in range(100 * rounds):
                small.follow()
                visible = small.catalog.points()
                if not visible:
                    continue
                if done == rounds:
                    return
                done += 1
                point = chance.choice(visible)
                try:
                    assert small.recover(point) == files_of(int(point.service[1:]))
                    wire.tell("recovered")
                except NotFound:
                    small.follow()
                    assert point.id not in {each.id for each in small.catalog.points()}, "lost before it was expired"

        return act

    def finish(self) -> None:
        """All have gone: the vault is sound, and holds what it should."""
        self.small.collect_all()
        self.small.follow()
        visible: dict[bytes, Point] = {point.id: point for point in self.small.catalog.points()}
        assert self.told.keys() - self.maybe_hidden <= visible.keys()
        truth = {point.id: files_of(int(point.service[1:])) for point in visible.values()}
        self.small.verify(truth)
        self.small.verify_known()
        assert not self.small.check().findings
        assert list((self.folder / "tmp").iterdir()) == []
        assert list((self.folder / "sessions").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kill_one_in", [0, 60], ids=["alive", "killed"])
def test_all_at_once(place: Path, seed: int, kill_one_in: int) -> None:
    chance = random.Random(seed)
    with small_packs(raw=1500, alone=400, group=400), many_runs():
        play = Play(place / "vault", chance)
        director = Director(chance, play.hear, kill_one_in)
        parts = {
            "writer one": lambda: play.writer(6),
            "writer two": lambda: play.writer(6),
            "collector": lambda: play.collector(8),
            "another collector": lambda: play.collector(2),
            "reader": lambda: play.reader(8),
            "rebuilder": lambda: play.rebuilder(2),
        }
        left = dict.fromkeys(parts, 4)

        def again(name: str) -> None:
            left[name] -= 1
            if left[name]:
                director.start(name, parts[name]())

        for name, part in parts.items():
            director.start(name, part())
        director.run(again)
        play.finish()
        assert play.told
        assert bool(director.kills) == bool(kill_one_in)
        if not kill_one_in:  # else they may all have been killed too soon
            assert play.recoveries
            assert play.collections
            assert director.steps > 300


def test_an_actor_that_fails_is_heard(place: Path) -> None:
    def act(wire: Wire, _: random.Random) -> None:
        wire.ask("put", "key")
        raise KnowngoodError("no")

    def asks(wire: Wire, _: random.Random) -> None:
        for _time in range(100):
            wire.ask("put", "key")

    director = Director(random.Random(1), lambda *_: None)
    director.start("actor", act)
    director.start("another", asks)
    with pytest.raises(Exception, match="KnowngoodError: no"):
        director.run(lambda _: None)
