"""The spool's file: what is acknowledged is found again, and what is damaged is not taken for good."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from knowngood.core.errors import Damaged, NoSpace
from knowngood.core.log import NO_FRAME
from knowngood.core.model import Position
from knowngood.seal.frame import FrameKind
from knowngood.testing.logs import TIMELINE, records
from knowngood.testing.vaults import SmallVault
from knowngood.vault.log_frames import LogFramer
from knowngood.vault.segment import LogSealer
from knowngood.vault.spool import FILE, Spool
from tests.unit.flow.notes import small_vault


class Spooled:
    """A spool that is filled with ticks of a few records each."""

    def __init__(self, folder: Path, small: SmallVault, limit: int = 1 << 30) -> None:
        self.folder = folder
        self.small = small
        self.limit = limit
        self.some = random.Random(4)
        self.spool = self.opened()
        self.sealer = LogSealer(small.vault.writer.public, small.vault.id, small.vault.writer.namer)
        self.at = Position(0, NO_FRAME)

    def opened(self) -> Spool:
        """As another process finds it."""
        return Spool(str(self.folder), self.small.vault.id, TIMELINE, self.limit)

    def add(self, count: int = 3) -> None:
        """One more tick."""
        framer = LogFramer(self.sealer, TIMELINE, self.at)
        for each in records(self.some, self.at.sequence, count):
            framer.add(each)
        framer.end_frame()
        part = framer.take()
        assert part
        keys, log = self.sealer.take()
        self.spool.append(part, part.first, keys, [], log)
        self.at = Position(framer.end, framer.last)


@pytest.fixture
def spooled(tmp_path: Path) -> Spooled:
    """Empty."""
    return Spooled(tmp_path, small_vault())


def _firsts(spool: Spool) -> list[int]:
    for tick in spool.ticks:
        assert [kind for kind, _ in spool.read(tick)] == [FrameKind.LOG]
    return [tick.part.first for tick in spool.ticks]


def test_another_process_finds_all_of_it(spooled: Spooled) -> None:
    """Ticks, where they begin and end, and the keys they were sealed with; for nobody but the owner."""
    for _ in range(4):
        spooled.add()
    found = spooled.opened()
    assert _firsts(found) == [0, 3, 6, 9]
    assert found.ticks == spooled.spool.ticks
    assert (found.keys, found.bytes, found.rejected) == (spooled.spool.keys, spooled.spool.bytes, "")
    assert (found.records, len(found.keys)) == (12, 1)
    assert stat.S_IMODE(os.stat(spooled.folder / FILE).st_mode) == 0o600
    found.clear()
    assert not (spooled.folder / FILE).exists()
    assert spooled.opened().ticks == []


def test_a_torn_end(spooled: Spooled) -> None:
    """Cut anywhere, the whole ticks before are there, and the next ones are added behind them."""
    ends = [0]
    for _ in range(3):
        spooled.add()
        ends.append(spooled.spool.bytes)
    whole = (spooled.folder / FILE).read_bytes()
    for cut in range(0, len(whole), 29):
        (spooled.folder / FILE).write_bytes(whole[:cut])
        found = spooled.opened()
        good = max(number for number, end in enumerate(ends) if end <= cut)
        assert _firsts(found) == [0, 3, 6][:good]
        assert bool(found.rejected) == (cut not in ends and cut != found.bytes)
        found.close()
    spooled.spool.close()
    (spooled.folder / FILE).write_bytes(whole[: ends[2] + 40])
    spooled.spool = spooled.opened()
    spooled.at = spooled.spool.ticks[-1].after
    spooled.add(5)
    found = spooled.opened()
    assert ([tick.part.count for tick in found.ticks], found.rejected) == ([3, 3, 5], "")


def test_any_flipped_bit_is_found(spooled: Spooled) -> None:
    """What comes before it is good; nothing after it counts."""
    ends = []
    for _ in range(3):
        spooled.add()
        ends.append(spooled.spool.bytes)
    whole = (spooled.folder / FILE).read_bytes()
    for at in range(0, len(whole), 37):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << (at % 8)
        (spooled.folder / FILE).write_bytes(flipped)
        found = spooled.opened()
        assert len(found.ticks) == sum(end <= at for end in ends), at
        assert found.rejected
        found.close()


def test_damage_under_an_open_one(spooled: Spooled) -> None:
    """It is found when the tick is read."""
    spooled.add()
    spooled.add()
    with (spooled.folder / FILE).open("r+b") as file:
        file.seek(-30, os.SEEK_END)
        file.write(b"?")
    first, second = spooled.spool.ticks
    assert list(spooled.spool.read(first))
    with pytest.raises(Damaged):
        list(spooled.spool.read(second))


def test_the_limit(tmp_path: Path) -> None:
    """What does not fit leaves no trace; what is there stays, and can be added to again once there is room."""
    spooled = Spooled(tmp_path, small_vault(), limit=4000)
    with pytest.raises(NoSpace):
        for _ in range(100):
            spooled.add()
    there = spooled.spool.ticks
    assert 1 < len(there) < 100
    assert spooled.spool.bytes == (tmp_path / FILE).stat().st_size <= 4000
    assert spooled.opened().ticks == there
    spooled.spool.clear()
    spooled.at = Position(0, NO_FRAME)
    spooled.add()
    assert _firsts(spooled.opened()) == [0]


def test_of_another_vault(spooled: Spooled) -> None:
    """It is told, and counts for nothing; a new one takes its place."""
    spooled.add()
    other = Spooled(spooled.folder, small_vault())
    assert "another vault" in other.spool.rejected
    assert other.spool.ticks == []
    other.add()
    assert _firsts(other.opened()) == [0]
    assert other.opened().rejected == ""


def test_a_home_that_is_gone(spooled: Spooled) -> None:
    """An error of ours, and not of the system's."""
    gone = Spool(str(spooled.folder / "nowhere"), spooled.small.vault.id, TIMELINE)
    assert gone.ticks == []
    spooled.spool = gone
    with pytest.raises(Exception, match="cannot write") as wrong:
        spooled.add()
    assert type(wrong.value).__module__ == "knowngood.core.errors"
