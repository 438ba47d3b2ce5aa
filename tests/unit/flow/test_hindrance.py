"""What hinders a collection is told with the points and the logs that it touches, and the ways out."""

from __future__ import annotations

import random

import pytest

from knowngood.core.errors import Damaged
from knowngood.core.ids import short
from knowngood.flow.parts import Parts
from knowngood.flow.protect import protect
from knowngood.flow.tidy import plan_tidy, take_away, tidy
from knowngood.testing.logs import SmallLog, records
from knowngood.testing.vaults import SmallVault
from knowngood.vault.layout import PAGES, SEGMENTS
from tests.unit.flow.notes import service_of


def _torn_log(vault: SmallVault, timeline: bytes) -> None:
    """A log whose one segment is gone."""
    log = SmallLog(vault, timeline)
    log.write(records(random.Random(1), 0, 3))
    for each in list(vault.store.list(SEGMENTS)):
        vault.store.delete(each.key)


def _told(parts: Parts) -> Damaged:
    with pytest.raises(Damaged, match="nothing was deleted") as raised:
        take_away(parts)
    return raised.value


def test_a_log_is_told_by_its_component(parts: Parts, vault: SmallVault) -> None:
    """What nothing stores again is not said to be stored by a protect."""
    point = protect(service_of("a", "b"), parts).point
    _torn_log(vault, point.marks[1].timeline)
    told = _told(parts)
    assert told.message.endswith("it touches the log of shop, b")
    assert "which moments of a log are lost: knowngood vault check" in told.hint
    assert "knowngood protect" not in told.hint
    assert "knowngood expire" not in told.hint


def test_a_log_that_nobody_here_knows(parts: Parts, vault: SmallVault) -> None:
    _torn_log(vault, b"a strange one...")
    assert _told(parts).message.endswith(f"it touches the log of {short(b'a strange one...')}")


def test_points_and_logs(parts: Parts, vault: SmallVault) -> None:
    point = protect(service_of("a"), parts).point
    for each in list(vault.store.list(PAGES)):
        vault.store.delete(each.key)
    _torn_log(vault, point.marks[0].timeline)
    told = _told(parts)
    assert told.message.endswith(f"it touches points of shop ({short(point.id)}), the log of shop, a")
    assert f"knowngood expire shop {short(point.id)}, then knowngood vault collect --now" in told.hint


def test_tidying_goes_on_without_collecting(parts: Parts, vault: SmallVault) -> None:
    """Measured, and not measured."""
    protect(service_of("a"), parts)
    _torn_log(vault, b"t" * 16)
    assert plan_tidy({}, parts).hindrance is not None
    plan = plan_tidy({}, parts, measure=False)
    assert (plan.collected, plan.hindrance) == (None, None)
    done = tidy(plan, parts)
    assert done.collected is None
    assert done.hindrance is not None
