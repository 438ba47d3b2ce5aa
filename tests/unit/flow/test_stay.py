"""A stay: the ticks of a database share one session, which is in nobody's way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.core.errors import Fenced
from knowngood.core.progress import Progress
from knowngood.flow import stay
from knowngood.flow.protect import protect
from knowngood.vault.collect import collect
from knowngood.vault.layout import COMMITS, SESSIONS, session_key
from knowngood.vault.session import list_sessions
from tests.unit.flow.test_spool_of_a_database import Served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Followed, and in nobody's way."""
    made = Served(tmp_path)
    made.following.rest()
    yield made
    made.following.close()


@contextmanager
def noted(served: Served) -> Iterator[list[str]]:
    """The keys that are put while the block runs, but for what they end in."""
    keys: list[str] = []
    put = served.store.put

    def note(key: str, parts: object) -> None:
        keys.append(key.partition("/")[0])
        put(key, parts)

    with patch.object(served.store, "put", note):
        yield keys


def test_each_tick_costs_its_segment_and_its_commit(served: Served) -> None:
    """The session is announced once."""
    with noted(served) as keys:
        for _ in range(5):
            served.writes(b"some ")
            assert served.following.tick().records
    assert keys == ["sessions", *["segments", "commits"] * 5]
    assert served.log() == served.written


def test_it_lasts_for_a_while_only(served: Served) -> None:
    """Then the next tick ends it and begins another one; one that finds nothing ends it."""
    with patch.object(stay, "SECONDS", -1.0), noted(served) as keys:
        for _ in range(3):
            served.writes(b"some ")
            served.following.tick()
        assert len(list(served.store.list(SESSIONS))) == 1
        served.following.tick()
    assert not list(served.store.list(SESSIONS))
    assert keys.count("sessions") == 3
    assert served.log() == served.written


def test_a_point_is_made_beside_it(served: Served) -> None:
    """It leaves first: the point's own session writes the log."""
    served.writes(b"some ")
    served.following.tick()
    assert list_sessions(served.store)
    protect(served.following.service, served.parts, followed={"a": served.following})
    served.writes(b"more ")
    assert served.following.tick().records
    assert served.log() == served.written


def test_who_is_ended_goes_on_in_another_one(served: Served) -> None:
    """Somebody took it for dead: the tick that finds out waits in the spool, and nothing is lost or twice there."""
    served.writes(b"some ")
    served.following.tick()
    (card,) = list_sessions(served.store)
    served.store.delete(session_key(card.id))
    served.writes(b"more ")
    ticked = served.following.tick()
    assert isinstance(ticked.away, Fenced)
    assert ticked.kept
    served.following.tick()
    assert served.log() == served.written


def test_a_collector_waits_for_it(served: Served) -> None:
    """Under load there is always one, and never the same for long; whoever else is there is told of at once."""
    served.writes(b"some ")
    served.following.tick()
    looks = 0

    def leave(_: float) -> None:
        nonlocal looks
        looks += 1
        served.following.rest()
        served.writes(b"more ")
        served.following.tick()

    points = tuple(each.id for each in served.parts.catalog.points())
    with served.small.vault.session("expire") as session:
        served.small.vault.expire(session, served.parts.catalog, points, 0)
    with patch("time.sleep", leave):
        done = collect(served.small.vault, Progress(), now=1 << 62)
    assert not done.waiting_for
    assert looks == 1
    assert list(served.store.list(COMMITS))
