"""A machine went away in the middle of its work. Its announcement delays collection until somebody says that it is
over; what that means is said before, and nothing that was committed is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from knowngood.control.home import Home
from knowngood.control.workshop import Workshop
from knowngood.core.errors import Fenced
from knowngood.core.instants import SECOND, now_ns
from knowngood.core.progress import Progress
from knowngood.plugins import PLUGINS
from knowngood.testing.vaults import move_away
from knowngood.vault.session import Session
from tests.user import User


@pytest.fixture
def user(tmp_path: Path) -> User:
    """With a point that is hidden for good, so that there is something to collect."""
    data, user = tmp_path / "data", User(tmp_path)
    data.mkdir()
    (data / "file").write_text("content")
    user.begins("shop", data)
    user.does("policy", "set", "shop", "undo=0")
    user.protects("shop", "--name", "old")
    (data / "file").write_text("new content")
    user.protects()
    user.does("expire", "shop", "old")
    return user


@pytest.fixture
def shop(user: User) -> Iterator[Workshop]:
    """The vault, from another process's side."""
    shop = Workshop(Home.at(str(user.home)), PLUGINS)
    yield shop
    shop.close()


@pytest.fixture
def away(user: User, shop: Workshop) -> Iterator[Session]:
    """A session of a machine that went away three days ago."""
    with shop.vault.session("protect") as session:
        move_away(shop.store, session, since_ns=now_ns() - 3 * 86400 * SECOND)
        yield session


def test_the_way_out_is_named_and_works(user: User, away: Session) -> None:
    """By collection, by the doctor, by the list; then collection does its work."""
    identifier = away.id.hex()[:8]
    command = f"knowngood vault sessions end {identifier}"
    assert command in user.does("vault", "collect").out
    assert command in user.does("doctor").out
    (one,) = user.asks("vault", "sessions")["sessions"]
    assert (one["purpose"], one["host"], one["state"], one["delays_collection"]) == (
        "protect",
        "elsewhere",
        "unknown",
        True,
    )
    assert "delays collection" in user.does("vault", "sessions").out
    told = user.does("vault", "sessions", "end", identifier, "--dry-run").out
    assert "What it has committed stays" in told
    assert user.asks("vault", "collect")["collected"]["waiting_for"]
    assert user.asks("vault", "sessions", "end", identifier)["ended"]
    assert user.asks("vault", "sessions")["sessions"] == []
    assert user.asks("vault", "collect")["collected"]["purged_points"] == 1
    assert user.does("vault", "sessions").out == "nobody is at work in this vault\n"


def test_it_lived_after_all(user: User, away: Session, shop: Workshop) -> None:
    """What it does from now on becomes visible to nobody; what it has committed stays."""
    private, catalog = shop.private, shop.catalog
    before = user.points()
    shop.vault.undo(away, catalog, (next(point.id for point in catalog.points("shop", expired=True)),))
    user.does("vault", "sessions", "end", away.id.hex(), "--yes")
    with pytest.raises(Fenced):
        shop.vault.expire(away, catalog, (catalog.points("shop")[0].id,), 0)
    with pytest.raises(Fenced), shop.vault.ingest(away, Progress()) as sink:
        sink.add(b"more" * 100)
        sink.flush()
    assert len(user.points()) == len(before) + 1
    user.does("vault", "collect")
    user.does("vault", "check", "--read-data")
    assert private is shop.private


def test_a_person_is_asked(user: User, away: Session) -> None:
    """And may decline."""
    user.does("vault", "sessions", "end", away.id.hex(), typed="n\n")
    assert len(user.asks("vault", "sessions")["sessions"]) == 1
    user.does("vault", "sessions", "end", away.id.hex(), typed="y\n")
    assert user.asks("vault", "sessions")["sessions"] == []


def test_one_that_runs_here_is_not_ended(user: User, shop: Workshop) -> None:
    """It can be seen, and ended as processes are."""
    with shop.vault.session("protect") as session:
        answer = user.does("vault", "sessions", "end", session.id.hex(), "--yes", status=7)
        assert answer.next.startswith("let it finish, or end it first: kill ")
        assert user.asks("vault", "sessions")["sessions"][0]["state"] == "here"


def test_a_collector_takes_more_than_silence(user: User, shop: Workshop) -> None:
    """Two that delete at once could do harm. One that was ended and lived deletes nothing more."""
    with shop.vault.session("collect", without_index=True, exclusive=True) as session:
        move_away(shop.store, session)
        user.does("vault", "collect", status=7)
        answer = user.does("vault", "sessions", "end", session.id.hex(), status=2)
        assert "certain" in answer.err
        assert "--yes" in answer.next
        user.does("vault", "sessions", "end", session.id.hex(), "--yes")
        key = next(iter(shop.store.list("pages/"))).key
        with pytest.raises(Fenced):
            session.delete(key)
        shop.store.stat(key)
    user.does("vault", "collect")


def test_sessions_that_are_not_there(user: User, away: Session) -> None:
    """Neither by name nor by too few letters."""
    user.does("vault", "sessions", "end", "0123", status=4)
    user.does("vault", "sessions", "end", "", status=4)
    assert away.id
