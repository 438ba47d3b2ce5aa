"""What a power cut leaves of a follower's own files: lost, older than the vault, or torn. None of it makes a state that
never was: the next process reads more, or says what is not known.

Clones are no part of it: they have no names, and are gone with the process (`test_kill_clones.py`)."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from knowngood.core.errors import Damaged, NotFound, StoreFailed
from knowngood.core.ids import Name
from knowngood.core.progress import Progress
from knowngood.flow.follow import Following
from knowngood.flow.moment import moment_at
from knowngood.flow.state import states
from knowngood.kinds.files.capture.basis import FILE as BASIS
from knowngood.testing.clock import FakeClock
from knowngood.tree.read import TreeReader
from knowngood.vault.absent import absent_vault
from knowngood.vault.spool import FILE as SPOOL
from tests.unit.flow.stage import Stage, stage_in

_AWAY = StoreFailed("the vault is away")
Files = dict[bytes, bytes]
Harm = Callable[[Path, Path, random.Random], None]


def _lost(folder: Path, before: Path, chance: random.Random) -> None:
    shutil.rmtree(folder)


def _older(folder: Path, before: Path, chance: random.Random) -> None:
    shutil.rmtree(folder)
    shutil.copytree(before, folder)


def _without(name: str) -> Harm:
    return lambda folder, before, chance: (folder / name).unlink(missing_ok=True)


def _older_one(name: str) -> Harm:
    def harm(folder: Path, before: Path, chance: random.Random) -> None:
        (folder / name).unlink(missing_ok=True)
        if (before / name).exists():
            shutil.copy(before / name, folder / name)

    return harm


def _torn(name: str) -> Harm:
    """Some of its blocks are zero, and it may end early."""

    def harm(folder: Path, before: Path, chance: random.Random) -> None:
        path = folder / name
        if not path.exists():
            return
        data = bytearray(path.read_bytes())
        for at in chance.sample(range(0, len(data), 512), max(1, len(data) // 5120)):
            data[at : at + 512] = bytes(len(data[at : at + 512]))
        path.write_bytes(data[: chance.randrange(len(data) // 2, len(data) + 1)])

    return harm


HARMS = {
    "all lost": _lost,
    "all older": _older,
    "basis lost": _without(BASIS),
    "basis older": _older_one(BASIS),
    "basis torn": _torn(BASIS),
    "spool lost": _without(SPOOL),
    "spool older": _older_one(SPOOL),
    "spool torn": _torn(SPOOL),
}


class Story:
    """A folder that changes by chance, and what was there at each moment that was acknowledged."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.stage: Stage = stage_in(folder)
        self.chance = random.Random(seed)
        self.seen: list[tuple[int, Files]] = []

    @property
    def state(self) -> Path:
        """The follower's own folder."""
        return Path(self.stage.parts.state_dir(self.stage.following.timeline))

    def begin(self, *, away: bool) -> None:
        """As a new process does."""
        self.stage.following.close()
        vault, parts = self.stage.small.vault, self.stage.parts
        if away:
            parts = replace(parts, vault=absent_vault(vault.descriptor.encode(), vault.writer, _AWAY))
        self.stage.following = Following(self.stage.service, self.stage.service.components[0], parts)
        if away:
            self.stage.following.base_here(Progress())
            assert not self.stage.following.lacks_base

    def lives(self, clock: FakeClock, *, away: bool) -> None:
        """Some ticks."""
        for _ in range(4):
            clock.move(1)
            for _ in range(self.chance.randrange(1, 4)):
                path = self.stage.tree / self.chance.choice("abcde")
                if path.exists() and self.chance.random() < 0.3:
                    path.unlink()
                else:
                    path.write_bytes(self.chance.randbytes(self.chance.choice([20, 2000, 200_000])))
            ticked = self.stage.following.tick(away=_AWAY if away else None)
            if (ticked.away is None) != away and ticked.kept and not self.stage.following.lacks_base:
                self.seen.append((clock.now_ns, self.stage.files()))

    def verify(self) -> int:
        """Each moment is as it was, or cannot be had; how many can."""
        there = 0
        for moment, files in self.seen:
            try:
                found = self._at(moment)
            except (NotFound, Damaged):
                continue
            assert found == files
            there += 1
        return there

    def _at(self, moment: int) -> Files:
        with states(moment_at(self.stage.parts, "shop", moment), None, self.stage.parts, "look") as (state,):
            tree = TreeReader(Name(state.checkpoint.root), state.pages.page)
            return {
                each.path: each.inline
                or b"".join(bytes(state.pages.chunk(Name(name))) for name, _ in tree.chunks(each))
                for each in tree.entries()
                if each.is_file
            }


@pytest.mark.parametrize("harm", sorted(HARMS))
@pytest.mark.parametrize("away", [(False, False), (True, False), (True, True), (False, True)])
def test_no_state_that_never_was(harm: str, away: tuple[bool, bool], tmp_path: Path) -> None:
    """`away`: whether the vault is, before the cut and after it."""
    story = Story(tmp_path, sum(map(ord, harm)) + 2 * away[0] + away[1])
    stage, before = story.stage, tmp_path / "before"
    with FakeClock() as clock:
        stage.protect()
        story.lives(clock, away=False)
        if away[0]:
            clock.move(5)
            story.begin(away=True)
        shutil.copytree(story.state, before)
        if not away[0]:
            stage.protect()
        story.lives(clock, away=away[0])
        acknowledged = len(story.seen)
        HARMS[harm](story.state, before, story.chance)
        (stage.tree / "unseen").write_bytes(os.urandom(10))
        clock.move(5)
        story.begin(away=away[1])
        story.lives(clock, away=away[1])
        stage.following.move_to(stage.parts)
        stage.following.tick()
        clock.move(1)
        last = stage.protect()
        assert stage.replayed(last) == stage.files()
        story.lives(clock, away=False)
    there = story.verify()
    if "spool" not in harm and "all" not in harm:
        assert there >= len(story.seen) - 2  # the last ones before each end
    assert there >= 4  # those of the last life at least
    assert acknowledged
    assert stage.small.check().findings == []
    stage.following.close()
