"""Which checkpoint a moment is made from, and when its log counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from knowngood.core.errors import NotFound
from knowngood.core.instants import SECOND
from knowngood.core.log import LogRecord, Operation
from knowngood.core.model import Checkpoint, Point, Position
from knowngood.flow.moment import After, Stand, after, moment_at, moment_of, stands_of
from knowngood.flow.parts import Parts
from knowngood.flow.protect import protect
from knowngood.testing.clock import FakeClock
from knowngood.testing.logs import SmallLog
from knowngood.testing.vaults import SmallVault
from knowngood.vault.log_reader import START
from knowngood.vault.vault import Vault
from tests.unit.flow.notes import service_of


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """The wall clock."""
    with FakeClock() as clock:
        yield clock


def point_on(parts: Parts, position: Position | None) -> Point:
    """A point of the service whose checkpoint stands there on the log."""
    commit = Vault.commit_point

    def placed(vault: Vault, session: object, catalog: object, point: Point, made: tuple[Checkpoint, ...]) -> Point:
        on_log = tuple(replace(each, position=position) for each in made) if position else made
        return commit(vault, session, catalog, point, on_log)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Vault, "commit_point", placed)
        return protect(service_of("a"), parts).point


def write(vault: SmallVault, point: Point, clock: FakeClock, count: int = 1) -> Position:
    """Records that change nothing, now."""
    log = SmallLog(vault, point.marks[0].timeline)
    with log.writer() as writer:
        first = writer.next_sequence
        writer.append(
            LogRecord(sequence=first + at, time_ns=clock(), operation=Operation.MARK, second=bytes(16))
            for at in range(count)
        )
        return writer.commit()


def test_the_nearest_checkpoint_and_the_log_from_there(parts: Parts, vault: SmallVault, clock: FakeClock) -> None:
    """By the time when it was finished."""
    first = point_on(parts, START)
    clock.move(10)
    end = write(vault, first, clock, 3)
    clock.move(10)
    between = clock()
    second = point_on(parts, end)
    clock.move(10)
    write(vault, first, clock)
    for at, base in ((between, first), (clock(), second), (None, second)):
        (aim,) = moment_at(parts, "shop", at).aims
        assert aim.stand.point == base
        assert aim.until is not None
        assert aim.until.moment_ns == at
    (aim,) = moment_of(second, parts).aims
    assert (aim.stand.point, aim.until) == (second, None)
    assert [each.point for each in stands_of(parts, "shop")[first.marks[0].timeline]] == [first, second]


def test_without_a_log_it_is_the_point(parts: Parts, vault: SmallVault, clock: FakeClock) -> None:
    """Also when the log ended where the checkpoint stands."""
    first = point_on(parts, START)
    (aim,) = moment_at(parts, "shop", None).aims
    assert (aim.stand.point, aim.until) == (first, None)
    second = point_on(parts, write(vault, first, clock))
    assert after(Stand(second, aim.stand.checkpoint), parts) == After.LOG
    (aim,) = moment_at(parts, "shop", None).aims
    assert (aim.stand.point, aim.until) == (second, None)


def test_a_newer_checkpoint_that_is_not_on_the_log(parts: Parts, vault: SmallVault, clock: FakeClock) -> None:
    """Which came first, it or the log, nobody knows: what was read as a whole counts."""
    first = point_on(parts, START)
    write(vault, first, clock)
    clock.move(10)
    scanned = point_on(parts, None)
    assert moment_at(parts, "shop", None).aims[0].stand.point == scanned
    assert moment_at(parts, "shop", clock()).aims[0].stand.point == scanned
    (aim,) = moment_at(parts, "shop", scanned.moment_ns - SECOND).aims
    assert aim.stand.point == first
    assert aim.until is not None


def test_hidden_points_are_no_ground(parts: Parts, vault: SmallVault, clock: FakeClock) -> None:
    """They may be collected at any moment."""
    first = point_on(parts, START)
    end = write(vault, first, clock)
    clock.move(1)
    vault.expire(point_on(parts, end))
    assert moment_at(parts, "shop", None).aims[0].stand.point == first


def test_one_component(parts: Parts) -> None:
    """Or an answer that says which there are."""
    moment = moment_of(protect(service_of("a", "b"), parts).point, parts)
    assert [each.stand.checkpoint.component for each in moment.chosen("b")] == ["b"]
    with pytest.raises(NotFound) as caught:
        moment.chosen("c")
    assert caught.value.hint == "it has: a, b"
