"""A vault that takes nothing for a while: ticks are in the log afterwards, at their times; or it is said why not."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.core.errors import NotFound, StoreFailed
from knowngood.core.log import Operation
from knowngood.core.model import Checkpoint, ComponentSpec, Position, ServiceSpec
from knowngood.flow.follow import Following
from knowngood.flow.protect import protect
from knowngood.kinds.files.follow.follower import FilesFollower
from knowngood.testing.clock import FakeClock
from knowngood.vault.layout import COMMITS, SEGMENTS
from knowngood.vault.spool import FILE, Spool
from tests.unit.flow.stage import Stage

SECOND = 10**9


def _away(stage: Stage) -> None:
    stage.store.before = "sessions/"


def _back(stage: Stage) -> None:
    stage.store.before = stage.store.after = "none"


def _spool_file(stage: Stage) -> Path:
    return Path(stage.parts.state_dir(stage.following.timeline)) / FILE


def _some_ticks(stage: Stage, clock: FakeClock, count: int) -> list[tuple[int, dict[bytes, bytes]]]:
    """The moments of ticks, and what was there; each changes something small, some something large."""
    found = []
    for number in range(count):
        (stage.tree / "a").write_bytes(b"%d" % number)
        if number % 5 == 0:
            (stage.tree / "large").write_bytes(os.urandom(300_000))
        if number % 7 == 3:
            (stage.tree / "b").rename(stage.tree / f"b{number}")
            (stage.tree / "b").write_bytes(b"another")
        ticked = stage.following.tick()
        assert ticked.away is not None
        assert (ticked.kept, ticked.records > 0) == (True, True)
        found.append((clock.now_ns, stage.files()))
        clock.move(1)
    return found


def _assert_each_moment(stage: Stage, first: Checkpoint, seen: list[tuple[int, dict[bytes, bytes]]]) -> None:
    assert isinstance(first.position, Position)
    log = stage.log(first.position)
    for moment, there in seen[:: 1 + len(seen) // 12] + seen[-1:]:
        upto = next((each.sequence for each in log if each.time_ns > moment), log[-1].sequence + 1)
        assert stage.replayed(first, upto) == there


def test_a_minute_away(stage: Stage) -> None:
    """Sixty ticks wait, and come into few segments and commits; each moment can be had again."""
    with FakeClock() as clock:
        first = stage.protect()
        objects = len(list(stage.store.list(SEGMENTS))), len(list(stage.store.list(COMMITS)))
        _away(stage)
        seen = _some_ticks(stage, clock, 60)
        spool = stage.following.spool
        assert len(spool.ticks) == 60
        assert spool.bytes == _spool_file(stage).stat().st_size
        _back(stage)
        clock.move(1)
        (stage.tree / "c").unlink()
        assert stage.following.tick().away is None
        assert not _spool_file(stage).exists()
        more = [len(list(stage.store.list(each))) for each in (SEGMENTS, COMMITS)]
        assert [after - before for after, before in zip(more, objects, strict=True)] == [2, 2]
        seen.append((clock.now_ns, stage.files()))
        _assert_each_moment(stage, first, seen)
        second = stage.protect()
        assert second.capture == "watch"
        assert stage.replayed(first) == stage.replayed(second) == stage.files()
        assert stage.small.check().findings == []


def test_content_that_the_vault_has_already(stage: Stage) -> None:
    """It waits here, since nobody could ask; it is not stored again."""
    content = os.urandom(400_000)
    (stage.tree / "a").write_bytes(content)
    first = stage.protect()
    _away(stage)
    (stage.tree / "copy").write_bytes(content)
    assert stage.following.tick().kept
    assert stage.following.spool.bytes > 400_000
    _back(stage)
    packs = list(stage.store.list("packs/"))
    stage.following.tick()
    assert list(stage.store.list("packs/")) == packs
    assert stage.replayed(first) == stage.files()


def test_the_process_ends_meanwhile(stage: Stage) -> None:
    """The next one lands what waited, before all else; after that there is a gap, as after any absence."""
    with FakeClock() as clock:
        first = stage.protect()
        _away(stage)
        seen = _some_ticks(stage, clock, 8)
        _back(stage)
        stage.follow()
        clock.move(1)
        (stage.tree / "c").write_bytes(b"unseen")
        assert stage.following.tick().away is None
        assert not _spool_file(stage).exists()
        _assert_each_moment(stage, first, seen)
        second = stage.protect()
        with pytest.raises(NotFound, match="changes were lost"):
            stage.replayed(first)
        assert stage.replayed(second) == stage.files()
        assert stage.small.check().findings == []


def test_it_lands_for_a_point_of_several_components(stage: Stage) -> None:
    """The session of such a point is one for the logs of all of them."""
    (stage.tree.parent / "other").mkdir()
    other = ComponentSpec(name="other", kind="files", path=str(stage.tree.parent / "other"))
    stage.service = ServiceSpec(name="shop", components=(*stage.service.components, other))
    following = Following(stage.service, other, stage.parts)
    followed = {"files": stage.following, "other": following}
    first, _ = protect(stage.service, stage.parts, followed=followed).checkpoints
    _away(stage)
    (stage.tree / "a").write_bytes(b"waits")
    assert stage.following.tick().kept
    _back(stage)
    protect(stage.service, stage.parts, followed=followed)
    assert not stage.following.spool.ticks
    assert stage.replayed(first) == stage.files()
    following.close()


@pytest.mark.parametrize("where", ["segments/", "commits/", "packs/", "index/"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_it_fails_again_while_it_lands(where: str, when: str, stage: Stage) -> None:
    """Whatever had come into the vault is not put there twice, by this process or by the next one."""
    with FakeClock() as clock, patch("knowngood.vault.spool_landing.SEGMENT_BYTES", 3000):
        first = stage.protect()
        _away(stage)
        seen = _some_ticks(stage, clock, 9)
        _back(stage)
        setattr(stage.store, when, where)
        stage.store.calls = 1 if where in ("segments/", "commits/") else 0  # the first one goes well
        seen += _some_ticks(stage, clock, 1)
        _back(stage)
        if when == "after":
            stage.follow()
        assert stage.following.tick().away is None
        _assert_each_moment(stage, first, seen)
        assert stage.small.check().findings == []


def test_a_log_that_ends_elsewhere(stage: Stage) -> None:
    """The vault has come back as an older copy of itself: what waited does not fit, and is said to be lost."""
    first = stage.protect()
    older = dict(stage.store.objects)
    (stage.tree / "a").write_bytes(b"seen")
    stage.following.tick()
    _away(stage)
    (stage.tree / "a").write_bytes(b"waits")
    assert stage.following.tick().kept
    _back(stage)
    stage.store.objects.clear()
    stage.store.objects.update(older)
    assert stage.following.tick().away is None
    assert "are lost" in stage.following.dropped
    assert not stage.following.standing.based
    assert not _spool_file(stage).exists()
    second = stage.protect()
    assert stage.following.dropped == ""
    with pytest.raises(NotFound, match="changes were lost"):
        stage.replayed(first)
    assert stage.replayed(second) == stage.files()
    assert [each.what for each in stage.small.check().findings] == ["commit"]  # the one that the copy does not have


def test_a_flipped_bit(stage: Stage) -> None:
    """What waited before it is in the log; the rest is a gap."""
    with FakeClock() as clock:
        first = stage.protect()
        _away(stage)
        seen = _some_ticks(stage, clock, 6)
        good = stage.following.spool.ticks[3].offset
        with _spool_file(stage).open("r+b") as file:
            file.seek(good + 100)
            byte = file.read(1)
            file.seek(good + 100)
            file.write(bytes([byte[0] ^ 1]))
        _back(stage)
        stage.following.tick()
        assert "damaged" in stage.following.dropped
        _assert_each_moment(stage, first, seen[:3])
        second = stage.protect()
        with pytest.raises(NotFound, match="changes were lost"):
            stage.replayed(first)
        assert stage.replayed(second) == stage.files()


def test_content_that_is_gone(stage: Stage) -> None:
    """A commit whose outcome nobody knew waits without its content. Without that in the vault, it is lost."""
    first = stage.protect()
    (stage.tree / "new").write_bytes(os.urandom(400_000))
    stage.store.before = "commits/"
    ticked = stage.following.tick()
    assert (ticked.kept, ticked.records > 0) == (True, True)
    _back(stage)
    stage.small.collect_all()
    stage.following.tick()
    assert "neither here nor in the vault" in stage.following.dropped
    second = stage.protect()
    assert stage.replayed(second) == stage.files()
    with pytest.raises(NotFound, match="changes were lost"):
        stage.replayed(first)
    assert stage.small.check().findings == []


def test_full(stage: Stage) -> None:
    """Only names are kept; what happened from then on is one change."""
    first = stage.protect()
    with patch.object(Spool, "limit", 9000):
        _away(stage)
        kept = []
        for number in range(40):
            (stage.tree / "a").write_bytes(os.urandom(1000))
            ticked = stage.following.tick()
            kept.append(ticked.kept)
            if ticked.kept:
                last = number, stage.files(), stage.following.spool.ticks[-1].part.end
        assert kept == sorted(kept, reverse=True)
        assert 2 < sum(kept) < 40
        _back(stage)
        assert stage.following.tick().away is None
        assert stage.replayed(first, last[2]) == last[1]
        assert stage.replayed(first) == stage.files()
        assert isinstance(first.position, Position)
        writes = [each for each in stage.log(first.position) if each.operation == Operation.WRITE]
        assert len(writes) <= 2 * (sum(kept) + 1)


def test_what_waits_lands_though_the_component_is_gone(stage: Stage) -> None:
    """One has nothing to do with the other."""
    with FakeClock() as clock:
        first = stage.protect()
        _away(stage)
        seen = _some_ticks(stage, clock, 3)
        _back(stage)
        with patch.object(FilesFollower, "look", side_effect=NotFound("the folder is gone")):
            with pytest.raises(NotFound, match="the folder is gone"):
                stage.following.tick()
        assert not stage.following.spool.ticks
        _assert_each_moment(stage, first, seen)


def test_it_is_not_tried_when_it_is_known_to_be_away(stage: Stage) -> None:
    """Nothing of the vault is touched."""
    first = stage.protect()
    (stage.tree / "a").write_bytes(b"other")
    before = dict(stage.store.objects)
    away = StoreFailed("away")
    assert stage.following.tick(away=away).away is away
    assert stage.store.objects == before
    stage.following.tick()
    assert stage.replayed(first) == stage.files()


def test_what_waits_cannot_be_read_here(stage: Stage) -> None:
    """It is sealed to the vault's key."""
    stage.protect()
    _away(stage)
    (stage.tree / "a").write_bytes(b"the secret of the house" * 20)
    (stage.tree / "large").write_bytes(b"the secret of the house" * 20_000)
    assert stage.following.tick().kept
    found = _spool_file(stage).read_bytes()
    assert b"secret" not in found
    assert b"large" not in found
