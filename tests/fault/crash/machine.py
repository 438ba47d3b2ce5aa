"""Carries out a play, and looks at every state that a power cut may leave of it."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from knowngood.core.errors import KnowngoodError
from knowngood.seal.keys import PrivateKey
from knowngood.stores import disk as disk_store
from knowngood.testing.crash.disk import Disk, Image
from knowngood.testing.crash.folder import Stage
from knowngood.testing.crash.operations import KEPT, LOST, Operation, What
from knowngood.testing.crash.outcomes import by_chance, outcomes
from knowngood.testing.crash.recorder import Recording, record
from tests.fault.crash.bases import Bases
from tests.fault.crash.key_plays import Created, Keys
from tests.fault.crash.ledger import Found
from tests.fault.crash.look import Noted, go_on
from tests.fault.crash.plays import VAULT, Logs, Play, Points, Purged, Relay, Spooled, Together

PLAYS = {each.__name__.lower(): each for each in (Points, Purged, Together, Logs, Relay, Spooled, Bases, Keys, Created)}

_MEMORY = "/dev/shm"
SCRATCH = (f"{VAULT}/tmp",)
GO_ON_EVERY = 40  # states


class Violation(AssertionError):
    """A state that a power cut may leave, and that breaks a promise."""


@dataclass
class Tally:
    """What was done."""

    plays: int = 0
    operations: int = 0
    combinations: int = 0
    states: int = 0  # different ones, each laid down, opened and looked at
    continued: int = 0  # of these, those on which work went on
    most_pending: int = 0
    ends: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Both."""
        self.plays += other.plays
        self.operations += other.operations
        self.combinations += other.combinations
        self.states += other.states
        self.continued += other.continued
        self.most_pending = max(self.most_pending, other.most_pending)
        self.ends += other.ends


class Machine:
    """One play of one seed."""

    def __init__(self, name: str, seed: int, *, most: int | None = None) -> None:
        """From the `most`-th state of a life on, only the two plainest of each operation are made."""
        self._chance = random.Random(f"{name} {seed}")
        self._play: Play = PLAYS[name](random.Random(f"play {name} {seed}"))
        self._title = f"{name} {seed}"
        self._most = most
        self._past_cache = bool(seed % 2)  # as large objects are written
        self._offset = seed % (GO_ON_EVERY // 2)  # short plays get their turn as well
        self._found: dict[int, Found] = {}
        self.tally = Tally(plays=1)

    def run(self) -> Tally:
        """All of it. Raises Violation."""
        folder = Path(tempfile.mkdtemp(prefix="knowngood-crash-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
        try:
            with patch.object(PrivateKey, "open", _remembering(PrivateKey.open)), self._play.conditions():
                with patch.object(disk_store, "DIRECT_FROM", 1 if self._past_cache else disk_store.DIRECT_FROM):
                    self._run(folder)
        finally:
            shutil.rmtree(folder)
        return self.tally

    def _run(self, folder: Path) -> None:
        self._real, self._stage = folder / "real", Stage(folder / "cut")
        self._real.mkdir()
        self._play.begin(self._real)
        disk = Disk(self._real, SCRATCH)
        for life in range(self._play.lives):
            self._life, self._before = life, self.tally.states
            self._play.chance = random.Random(f"{self._title} {life}")  # the child's chance is not ours
            recording = self._record(disk, may_end_early=life + 1 < self._play.lives)
            cut_at = len(recording.operations)
            if recording.finished and life + 1 < self._play.lives and self._chance.random() < 0.6:
                cut_at = self._chance.randrange(cut_at + 1)
            for at, operation in enumerate(recording.operations[:cut_at]):
                self._step(disk, at, operation)
            if cut_at < len(recording.operations):
                disk = self._cut(disk)
            elif wrong := disk.differences():
                raise Violation(f"{self._title}: changes that are not on record: {wrong}")
            self.tally.ends[
                "cut" if cut_at < len(recording.operations) else "end" if recording.finished else "kill"
            ] += 1

    def _record(self, disk: Disk, *, may_end_early: bool) -> Recording:
        kill_at = (
            self._chance.randrange(self._play.kills)
            if may_end_early and self._chance.random() < self._play.killed
            else None
        )
        return record(
            lambda tell: self._play.live(self._real, tell),
            self._real,
            disk.nodes(),
            disk.highest,
            kill_at=kill_at,
            before_sync=self._chance.random() < 0.7,
        )

    def _cut(self, disk: Disk) -> Disk:
        """The power goes, and comes back: the next life begins with what is there."""
        image = disk.image(self._any(disk), by_chance(disk.scratched, self._chance))
        shutil.rmtree(self._real)
        Stage(self._real).show(image)
        return Disk(self._real, SCRATCH)

    def _any(self, disk: Disk) -> tuple[int, ...]:
        return self._chance.choice(list(outcomes(disk.pending, self._chance)))

    def _step(self, disk: Disk, at: int, operation: Operation) -> None:
        disk.feed(operation)
        self.tally.operations += 1
        if operation.what == What.MARK:
            self._play.ledger.hear(operation.mark)
        self.tally.most_pending = max(self.tally.most_pending, len(disk.pending))
        scratch = by_chance(disk.scratched, self._chance)
        for choice in self._outcomes(disk.pending):
            self.tally.combinations += 1
            image = disk.image(choice, scratch)
            found = self._found.get(image.key)
            if found is None:
                found = self._found[image.key] = self._look(image)
            if complaints := self._play.ledger.complaints(found):
                raise Violation(self._tell(disk, at, choice, complaints))

    def _outcomes(self, pending: list[Operation]) -> Iterable[tuple[int, ...]]:
        if self._most is not None and self.tally.states - self._before >= self._most:
            return [(outcome,) * len(pending) for outcome in (LOST, KEPT)]
        return outcomes(pending, self._chance)

    def _look(self, image: Image) -> Found:
        self.tally.states += 1
        self._stage.show(image)
        found = Found()
        store = Noted(self._stage.root / VAULT)
        try:
            small = self._play.look(store, found)
            if small and self.tally.states % GO_ON_EVERY == self._offset and not found.findings:
                self.tally.continued += 1
                found.wrong += go_on(small, found)
        except KnowngoodError as wrong:
            found.wrong.append(f"{type(wrong).__name__}: {wrong}")
        self._stage.touch(f"{VAULT}/{key}" for key in store.touched)
        self._stage.touch(path for path in image.files if not path.startswith(f"{VAULT}/") or path.startswith(SCRATCH))
        self._stage.touch([f"{VAULT}/tmp/any"])
        return found

    def _tell(self, disk: Disk, at: int, choice: tuple[int, ...], complaints: list[str]) -> str:
        lines = [f"{self._title}, life {self._life}, operation {at}:", *(f"  {each}" for each in complaints)]
        lines.append("  what was not synced, and what became of it:")
        for operation, outcome in zip(disk.pending, choice, strict=True):
            became = {LOST: "lost", KEPT: "kept"}.get(outcome, f"torn ({outcome})")
            place = disk.path(operation.node)
            lines.append(f"  {became}: {operation.what.name} {place} {operation.name} {operation.offset or ''}")
        return "\n".join(lines)


def _remembering(real: object) -> object:
    known: dict[tuple[bytes, bytes, bytes], bytes] = {}

    def remembering(self: PrivateKey, sealed: bytes, purpose: bytes) -> bytes:
        key = (self.recovery_key, bytes(sealed), purpose)
        if key not in known:
            known[key] = real(self, sealed, purpose)  # type: ignore[operator]
        return known[key]

    return remembering
